"""Guest and host over vsock: a byte to and fro, and 32 MiB each way; the host's end is the same Python for both."""
import glob
import os
import shutil
import socket
import subprocess
import time

import common

PORT = 5000
ROUNDS = 1000
TOTAL = 32 << 20


def run(options):
    tables = common.Tables()
    with common.scratch() as directory:
        program = common.compile_static("vsock.c", directory)

        def ours():
            bundle = os.path.join(directory, "bundle")
            shutil.rmtree(bundle, ignore_errors=True)
            # The container starts at once; its first connection waits for the listener below.
            common.make_bundle(bundle, ["/bin/sh", "-c", f"read go; exec /bin/vsock {PORT}"])
            shutil.copy(program, os.path.join(bundle, "rootfs", "bin", "vsock"))
            state = os.path.join(directory, "state")
            runner = subprocess.Popen([common.MICROVM, "--root", state, "run", bundle], stdin=subprocess.PIPE)
            try:
                listener = listen_beside(state)
                runner.stdin.write(b"go\n")
                runner.stdin.flush()
                serve(listener, lambda quantity, unit, value: tables.add(quantity, unit, "microvm", value))
                runner.wait(timeout=60)
            finally:
                runner.kill()
                runner.wait()

        rows = {"microvm": ours}
        if os.path.exists("/dev/vhost-vsock") and shutil.which("qemu-system-x86_64"):
            archive = common.initrd(directory, program)
            rows["vhost-vsock"] = lambda: peer(archive, options, tables)
        else:
            tables.leave_out("vhost-vsock", "no /dev/vhost-vsock or no QEMU here")
        common.in_turn(tables, rows, options.runs)
    return tables


def listen_beside(state):
    """A listener for the guest's connections to PORT, beside the sandbox's own socket."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in glob.glob(os.path.join(state, "*", "**", "vsock.sock"), recursive=True):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(f"{path}_{PORT}")
            listener.listen()
            return listener
        time.sleep(0.02)
    raise RuntimeError("the sandbox did not come up")


def peer(archive, options, tables):
    listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    listener.bind((socket.VMADDR_CID_ANY, PORT))
    listener.listen()
    guest = subprocess.Popen(common.qemu("", 128, options.cpus, "-initrd", archive, "-device", "vhost-vsock-device,guest-cid=5"))
    try:
        serve(listener, lambda quantity, unit, value: tables.add(quantity, unit, "vhost-vsock", value))
        guest.wait(timeout=60)
    finally:
        guest.kill()
        guest.wait()
        listener.close()


def serve(listener, add):
    listener.settimeout(120)
    for _ in range(3):
        connection, _ = listener.accept()
        connection.settimeout(120)
        with connection:
            mode = connection.recv(1)
            started = time.monotonic()
            if mode == b"r":
                for _ in range(ROUNDS):
                    connection.sendall(b"x")
                    connection.recv(1)
                add("round trip", "us", (time.monotonic() - started) / ROUNDS * 1e6)
            elif mode == b"o":
                left = TOTAL
                while left > 0 and (part := connection.recv(1 << 16)):
                    left -= len(part)
                add("32 MiB guest to host", "ms", (time.monotonic() - started) * 1e3)
            elif mode == b"i":
                block = bytes(1 << 16)
                for _ in range(TOTAL // len(block)):
                    connection.sendall(block)
                connection.recv(1)
                add("32 MiB host to guest", "ms", (time.monotonic() - started) * 1e3)
