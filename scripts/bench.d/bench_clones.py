"""What machines that idle side by side take: clones of one template, and machines that booted."""
import os
import signal
import subprocess
import time

import common

MACHINES = 20


def run(options):
    tables = common.Tables()
    with common.scratch() as directory:
        bundle = common.make_bundle(os.path.join(directory, "bundle"), ["/bin/sleep", "1000"])
        size = ["--templates", os.path.join(directory, "templates"), "--memory", "128M"]
        subprocess.run([common.MICROVM, "template", "build", *size], check=True, stdout=subprocess.DEVNULL)
        for row, how in (("clones", []), ("booted", ["--cold"])):
            arguments = ["--root", os.path.join(directory, "state-" + row), "run", *size, *how, bundle]
            for part, kib in together(arguments).items():
                tables.add(part, f"MiB PSS, {MACHINES} machines", row, kib / 1024)
    return tables


def together(arguments):
    """KiB that the machines take once all of them idle, by part."""
    runners = []
    try:
        for _ in range(MACHINES):
            runner = subprocess.Popen([common.MICROVM, *arguments], stdin=subprocess.DEVNULL, start_new_session=True)
            runners.append(runner)
            wait_for_container(runner)
        time.sleep(5)
        machines = sum(pss(pid) for runner in runners for pid in children(runner.pid, "-x", "microvm-vmm"))
        others = sum(pss(pid) for runner in runners for pid in [runner.pid, *children(runner.pid, "-x", "microvm")])
        return {"machines": machines, "with monitors and stand-ins": machines + others}
    finally:
        for runner in runners:
            runner.send_signal(signal.SIGKILL)
        for runner in runners:
            runner.wait()


def wait_for_container(runner):
    """Returns when the machine has used next to no CPU time for a second."""
    deadline = time.monotonic() + 120
    used = -1
    while time.monotonic() < deadline:
        time.sleep(1)
        now = sum(cpu_time(pid) for pid in children(runner.pid))
        if used > 0 and now - used < 0.1:
            return
        used = now
    raise RuntimeError("a machine did not come to rest in two minutes")


def children(pid, *which):
    return subprocess.run(["pgrep", "-P", str(pid), *which], capture_output=True, text=True).stdout.split()


def cpu_time(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss(pid):
    """KiB of a process, pages it shares counted in shares."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
