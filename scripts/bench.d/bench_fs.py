"""Files of the host in a guest: the same program, the same kernel, our file server and virtiofsd.

A guest under QEMU hangs now and then in the lab, before its init: it is given two minutes, and a second try."""
import os
import shutil
import subprocess
import time

import common

FILES = 5000
CACHES = ("auto", "always")
VIRTIOFSD = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd")


def run(options):
    tables = common.Tables()
    with common.scratch() as directory:
        program = common.compile_static("files.c", directory)
        share = os.path.join(directory, "share")
        prepare(share)

        def collect(row):
            with open(os.path.join(share, "results")) as file:
                results = dict(line.split(maxsplit=1) for line in file)
            if "done" not in results:
                raise RuntimeError(f"the guest did not finish: {results.get('failed', 'no reason')}".strip())
            for quantity, value in results.items():
                if quantity != "done":
                    name, unit = quantity.rsplit("_", 1)
                    tables.add(name, unit, row, float(value))

        def ours(cache):
            clean(share)
            bundle = os.path.join(directory, "bundle")
            shutil.rmtree(bundle, ignore_errors=True)
            common.make_bundle(
                bundle, ["/bin/files", "/mnt", str(FILES)], [{"destination": "/mnt", "source": share, "options": ["rbind", "rw"]}]
            )
            shutil.copy(program, os.path.join(bundle, "rootfs", "bin", "files"))
            command = [common.MICROVM, "--root", os.path.join(directory, "state"), "run", "--memory", "256M", "--share-cache", cache, bundle]
            common.milliseconds(command, timeout=300)
            collect(f"microvm {cache}")

        daemon = next((path for path in VIRTIOFSD if os.path.exists(path)), None)
        rows = {f"microvm {cache}": lambda cache=cache: ours(cache) for cache in CACHES}
        if daemon and shutil.which("qemu-system-x86_64"):
            archive = common.initrd(directory, program)
            for cache in CACHES:
                rows[f"virtiofsd {cache}"] = lambda cache=cache: peer(daemon, cache, directory, share, archive, options, collect)
        else:
            tables.leave_out("virtiofsd", "not installed")
        common.in_turn(tables, rows, options.runs)
    return tables


def peer(daemon, cache, directory, share, archive, options, collect):
    clean(share)
    socket = os.path.join(directory, "virtiofsd.sock")
    server = subprocess.Popen(
        [daemon, f"--socket-path={socket}", "-o", f"source={share}", "-o", f"cache={cache}", "--thread-pool-size=0"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 10
        while not os.path.exists(socket) and time.monotonic() < deadline:
            time.sleep(0.02)
        common.milliseconds(
            common.qemu(
                ",memory-backend=mem", 256, options.cpus, "-initrd", archive,
                "-object", "memory-backend-memfd,id=mem,size=256M,share=on",
                "-chardev", f"socket,id=c0,path={socket}", "-device", "vhost-user-fs-device,chardev=c0,tag=fs,queue-size=1024",
            ),
            timeout=120,
        )  # fmt: skip
    finally:
        server.kill()
        server.wait()
        if os.path.exists(socket):
            os.unlink(socket)
    collect(f"virtiofsd {cache}")


def prepare(share):
    os.makedirs(os.path.join(share, "many"))
    for number in range(FILES):
        with open(os.path.join(share, "many", str(number)), "w") as file:
            file.write("some text\n" * 20)
    with open(os.path.join(share, "large"), "wb") as file:
        for _ in range(64):
            file.write(os.urandom(1 << 20))


def clean(share):
    shutil.rmtree(os.path.join(share, "made"), ignore_errors=True)
    for name in ("written", "results"):
        if os.path.exists(os.path.join(share, name)):
            os.unlink(os.path.join(share, name))
