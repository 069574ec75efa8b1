"""What a VMM takes besides its guest's RAM, from /proc/PID/smaps."""
import os
import re
import signal
import subprocess
import time
import uuid

import common

GUEST = re.compile(r"memfd:guest-memory|/templates/\w+/memory|/guest\.erofs|guest image")


def run(options):
    table = common.Table("KiB PSS")
    with common.scratch() as directory:
        bundle = common.make_bundle(os.path.join(directory, "bundle"), ["/bin/sleep", "1000"])
        for _ in range(max(1, min(options.runs, 3))):
            command = [common.MICROVM, "--root", os.path.join(directory, "state-" + uuid.uuid4().hex[:6]), "run", bundle]
            runner = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            try:
                parts = settled(runner.pid)
            finally:
                runner.send_signal(signal.SIGKILL)
                runner.wait()
            table.add("all besides guest RAM", sum(size for name, size in parts.items() if not name.startswith("guest")))
            for name in sorted(parts, key=parts.get, reverse=True):
                table.add("  " + name, parts[name])
    return table


def settled(parent):
    """The VMM's parts once the container runs: when they have not grown for two seconds."""
    deadline = time.monotonic() + 60
    before, since = None, time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.5)
        pids = subprocess.run(["pgrep", "-P", str(parent), "-x", "microvm-vmm"], capture_output=True, text=True).stdout.split()
        if not pids:
            continue
        now = parts_of(pids[0])
        if now != before:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > 2:
            return now
    return before or {}


def parts_of(pid):
    parts = {}
    name = ""
    with open(f"/proc/{pid}/smaps") as file:
        for line in file:
            if match := re.match(r"[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ \S+ *(.*)", line):
                name = part(match.group(1), match.group(2).strip())
            elif line.startswith("Pss:"):
                parts[name] = parts.get(name, 0) + int(line.split()[1])
    return {name: size for name, size in parts.items() if size > 0}


def part(access, path):
    if GUEST.search(path):
        return "guest RAM and image"
    if path.endswith("microvm-vmm"):
        return "program: " + ("code" if "x" in access else "data" if "w" in access else "constants")
    if "kvm-vcpu" in path:
        return "vCPU pages"
    if path in ("[heap]", "[stack]", "[vdso]", "[vvar]"):
        return path.strip("[]")
    return "allocations and thread stacks" if not path else path
