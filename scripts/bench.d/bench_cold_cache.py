"""A start of true from a template that the page cache has nothing of, on a disk like those of clouds."""
import contextlib
import json
import os
import shutil
import subprocess
import time

import common

# What clouds give the smallest of their disks: microseconds until an answer, requests and megabytes a second.
DISKS = {"1 ms, 3,000 requests/s, 125 MB/s": (1000, 3000, 125), "2 ms, 500 requests/s, 40 MB/s": (2000, 500, 40)}
SIZE = 512 << 20
READAHEAD_KB = 128


def run(options):
    tables = common.Tables()
    for name, disk in DISKS.items():
        with common.scratch() as directory:
            try:
                with slow_disk(directory, *disk) as mounted:
                    measure(tables, name, directory, mounted, options.runs)
            except (OSError, subprocess.CalledProcessError) as error:
                tables.leave_out(name, f"no slow disk can be made here ({error}): it takes root, FUSE and loop devices")
    return tables


def measure(tables, disk, directory, mounted, runs):
    bundle = common.make_bundle(os.path.join(directory, "bundle"), ["/bin/true"])
    templates = ["--templates", os.path.join(mounted, "templates")]
    subprocess.run([common.MICROVM, "template", "build", *templates], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (template,) = json.loads(subprocess.run([common.MICROVM, "template", "list", "--format", "json", *templates], check=True, capture_output=True).stdout)
    files = os.path.join(mounted, "templates", template["key"])
    record = os.path.join(files, "working-set")
    command = [common.MICROVM, "--root", os.path.join(directory, "state"), "run", *templates, bundle]

    def start(row, is_cached, is_recorded):
        if not is_recorded:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(record)
        if not is_cached:
            forget(os.path.join(files, "memory"))
        tables.add(f"a whole `run` of true, its template on a disk of {disk}", "ms", row, common.milliseconds(command))
        if not os.path.exists(record):
            raise RuntimeError("the start recorded no working set")

    start_rows = {}
    for cache, is_cached in (("cached", True), ("not cached", False)):
        for text, is_recorded in (("first start, which records the working set", False), ("later start, which reads it ahead", True)):
            row = f"{cache}: {text}"
            start_rows[row] = lambda row=row, is_cached=is_cached, is_recorded=is_recorded: start(row, is_cached, is_recorded)
    common.in_turn(tables, start_rows, runs)


def forget(path):
    """Takes a file out of the page cache."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


@contextlib.contextmanager
def slow_disk(directory, microseconds, requests, megabytes):
    """The directory where such a disk is mounted."""
    program = common.compile_static("slow-disk.c", directory)
    # Built in, or loaded, or to be had: what is not is told by what fails.
    for module in ("fuse", "loop") if shutil.which("modprobe") else ():
        subprocess.run(["modprobe", "--quiet", module], stderr=subprocess.DEVNULL)
    image, place, mounted = (os.path.join(directory, name) for name in ("image", "place", "disk"))
    os.mkdir(mounted)
    for path, size in ((image, SIZE), (place, 0)):
        with open(path, "wb") as file:
            file.truncate(size)
    with contextlib.ExitStack() as undo:
        server = subprocess.Popen([program, image, place, str(microseconds), str(requests), str(megabytes)])
        undo.callback(server.wait)
        undo.callback(server.kill)
        undo.callback(subprocess.run, ["umount", "--lazy", place], stderr=subprocess.DEVNULL)
        while os.path.getsize(place) == 0:
            if server.poll() is not None:
                raise OSError("slow-disk ended")
            time.sleep(0.01)
        # Past the page cache: what is not in the file system's own is read from the server.
        device = subprocess.run(["losetup", "--direct-io=on", "--show", "--find", place], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        undo.callback(subprocess.run, ["losetup", "--detach", device])
        with open(f"/sys/block/{os.path.basename(device)}/queue/read_ahead_kb", "w") as file:
            file.write(str(READAHEAD_KB))
        subprocess.run(["mkfs.ext4", "-q", "-E", "nodiscard", device], check=True)
        subprocess.run(["mount", device, mounted], check=True)
        undo.callback(subprocess.run, ["umount", mounted], check=True)
        yield mounted
