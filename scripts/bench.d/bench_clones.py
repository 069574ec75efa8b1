"""What machines that idle side by side take: clones of one template, and machines that booted."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import time

import common

MACHINES = 20


def run(options):
    tables = common.Tables()
    unit = f"MiB PSS, {MACHINES} machines"
    with common.scratch() as directory:
        templates, _ = common.make_template(directory)
        for row, machines in (("clones", clones(directory, templates)), ("booted", booted(directory))):
            with machines as pids:
                tables.add("machines alone", unit, row, megabytes(pids))

        bundle = common.make_bundle(os.path.join(directory, "bundle"), ["/bin/sleep", "1000"])
        for row, how in (("clones", []), ("booted", ["--cold"])):
            with containers(["--root", os.path.join(directory, "state-" + row), "run", *templates, *how, bundle]) as monitors:
                machines = [pid for monitor in monitors for pid in children(monitor, "-x", "microvm-vmm")]
                others = [pid for monitor in monitors for pid in [monitor, *children(monitor, "-x", "microvm")]]
                tables.add("machines with a container that sleeps", unit, row, megabytes(machines))
                tables.add("these with their monitors and stand-ins", unit, row, megabytes(machines + others))
    return tables


# Each of these gives the ids of processes that have come to rest, and ends them.


@contextlib.contextmanager
def clones(directory, templates):
    """VMMs of a pool: restored, greeted by their keepers, and waiting for a container."""
    pool = [common.MICROVM, "--root", os.path.join(directory, "state-pool"), "pool"]
    subprocess.run([*pool, "fill", "--size", str(MACHINES), *templates], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        status = subprocess.run([*pool, "status", "--format", "json", *templates], check=True, capture_output=True)
        machines = [pid for row in json.loads(status.stdout) for pid in children(row["keeper"], "-x", "microvm-vmm")]
        rest(machines)
        yield machines
    finally:
        subprocess.run([*pool, "drain", *templates], check=True)


@contextlib.contextmanager
def booted(directory):
    """VMMs whose guest has booted as a template's does, its agent waiting."""
    machines = []
    try:
        for index in range(MACHINES):
            machines.append(boot(os.path.join(directory, f"machine-{index}")))
            rest([machines[-1].pid])
        yield [machine.pid for machine in machines]
    finally:
        end(machines)


def boot(directory):
    os.mkdir(directory)
    sockets = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for listener, name in zip(sockets, ("vsock", "vsock_1024")):
        listener.bind(os.path.join(directory, name))
        listener.listen()
    files = {name: os.open(path, os.O_RDONLY) for name, path in (("kernel", common.KERNEL), ("image", common.IMAGE), ("directory", directory))}
    memory = 128 << 20 if common.interprets_guests() else 256 << 20
    machine = common.start_vmm(["--cpus", "1", "--memory", str(memory), "--vsock-path", "vsock"], {**files, "vsock": sockets[0].fileno()})
    for file in files.values():
        os.close(file)
    # The other takes the agent's call as long as this lives.
    machine.listener = sockets[1]
    return machine


@contextlib.contextmanager
def containers(arguments):
    """Monitors of containers."""
    runners = []
    try:
        for _ in range(MACHINES):
            runner = subprocess.Popen([common.MICROVM, *arguments], stdin=subprocess.DEVNULL, start_new_session=True)
            runners.append(runner)
            rest([runner.pid], with_children=True)
        time.sleep(5)
        yield [runner.pid for runner in runners]
    finally:
        end(runners)


def end(processes):
    for process in processes:
        process.send_signal(signal.SIGKILL)
    for process in processes:
        process.wait()


def rest(pids, with_children=False):
    """Returns when processes have used next to no CPU time for a second."""
    deadline = time.monotonic() + 120
    used = -1
    while time.monotonic() < deadline:
        time.sleep(1)
        now = sum(cpu_time(pid) for parent in pids for pid in (children(parent) if with_children else [parent]))
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


def megabytes(pids):
    return sum(pss(pid) for pid in pids) / 1024


def pss(pid):
    """KiB of a process, pages it shares counted in shares."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
