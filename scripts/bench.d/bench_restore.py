"""What a restore costs before its guest runs, and until its agent answers."""
import json
import os
import socket
import struct
import subprocess
import time

import common

ENTRY = 0x1000000
# mov $0xfe, %al; out %al, $0x64: the keyboard controller's reset, which ends the machine.
RESET = bytes([0xB0, 0xFE, 0xE6, 0x64, 0xF4])
STAGES_TO_AGENT = ("restore", "load", "vCPUs", "resume", "kernel", "agent")


def run(options):
    tables = common.Tables()
    with common.scratch() as directory:
        bundle = common.make_bundle(os.path.join(directory, "bundle"), ["/bin/true"])
        templates, template = common.make_template(directory)
        kernel = write_kernel(os.path.join(directory, "kernel"))
        machine = ["--cpus", str(template["cpus"]), "--memory", str(template["memory"])]
        machine += ["--host-kind", "software" if common.interprets_guests() else "hardware"]

        def first_instruction(row, *what):
            tables.add("process start to the first KVM_RUN", "ms", row, start(directory, machine, *what))

        def agent(row, *how):
            state = ["--root", os.path.join(directory, "state")]
            subprocess.run([common.MICROVM, *state, "run", *templates, *how, bundle], check=True)
            spans = json.loads(subprocess.run([common.MICROVM, *state, "why", "--json"], check=True, capture_output=True).stdout)["spans"]
            took = sum(span["end"] - span["start"] for span in spans if span["name"] in STAGES_TO_AGENT)
            tables.add("the VMM in its jail to the agent's answer", "ms", row, took / 1e6)

        rows = {
            "empty machine": lambda: first_instruction("empty machine", kernel),
            "restore": lambda: first_instruction("restore", common.KERNEL, template["path"], common.prefault(template)),
        }
        common.in_turn(tables, rows, options.runs * 4)
        common.in_turn(tables, {"boot": lambda: agent("boot", "--cold"), "restore": lambda: agent("restore")}, options.runs)
    return tables


def write_kernel(path):
    """An ELF file for the VMM that is over at once."""
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, ENTRY, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, 4096, ENTRY, ENTRY, len(RESET), 4096, 4096)
    with open(path, "wb") as file:
        file.write((header + segment).ljust(4096, b"\0") + RESET)
    return path


def start(directory, machine, kernel, snapshot=None, more=()):
    """Milliseconds from the call that makes a VMM's process until all its vCPUs stand ready."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(directory, "vsock"))
    listener.listen()
    paths = {"kernel": kernel, "image": common.IMAGE, "directory": directory}
    if snapshot:
        paths["restore"] = snapshot
    files = {name: os.open(path, os.O_RDONLY) for name, path in paths.items()}
    files["console"] = os.open(os.path.join(directory, "console"), os.O_WRONLY | os.O_CREAT)
    began = time.monotonic_ns()
    monitor = common.start_vmm([*machine, "--vsock-path", "vsock", *more], {**files, "vsock": listener.fileno(), "control": theirs.fileno()})
    theirs.close()
    try:
        ours.settimeout(60)
        # `event started STARTED BEGAN JAILED LOADED`, by the monotonic clock.
        words = ours.recv(4096).split()
        if words[:2] != [b"event", b"started"]:
            raise RuntimeError(monitor.communicate()[1].decode(errors="replace"))
        return (int(words[2]) - began) / 1e6
    finally:
        monitor.kill()
        monitor.wait()
        for file in files.values():
            os.close(file)
        os.unlink(os.path.join(directory, "vsock"))
