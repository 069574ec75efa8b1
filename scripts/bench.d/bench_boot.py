"""From the start of the VMM to the guest's init, which switches the machine off at once."""
import os
import shutil
import subprocess

import common

QEMU = "QEMU -M microvm"


def run(options):
    table = common.Table("ms")
    with common.scratch() as directory:
        init = common.compile_static("poweroff.c", directory)
        image = guest_image(directory, init)
        kernel = os.open(common.KERNEL, os.O_RDONLY)
        root = os.open(image, os.O_RDONLY)
        ours = [
            common.VMM, "--cpus", str(options.cpus), "--memory", str(128 << 20), "--kernel-fd", str(kernel), "--image-fd", str(root),
        ]  # fmt: skip
        rows = {"microvm-vmm": lambda: table.add("microvm-vmm", common.milliseconds(ours, pass_fds=(kernel, root)))}
        if peer := qemu(table, directory, init, options.cpus):
            rows[QEMU] = lambda: table.add(QEMU, common.milliseconds(peer))
        common.in_turn(table, rows, options.runs)
    return table


def qemu(table, directory, init, cpus):
    """The command that boots our kernel to `init`; None: the table says why not."""
    if shutil.which("qemu-system-x86_64"):
        return common.qemu("", 128, cpus, "-initrd", common.initrd(directory, init))
    table.leave_out(QEMU, "not installed")
    return None


def guest_image(directory, init):
    tree = os.path.join(directory, "image.d")
    for name in ("sbin", "dev", "proc", "sys", "run"):
        os.makedirs(os.path.join(tree, name))
    shutil.copy(init, os.path.join(tree, "sbin", "init"))
    path = os.path.join(directory, "image")
    subprocess.run(["mkfs.erofs", path, tree], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    size = os.path.getsize(path)
    os.truncate(path, -(-size // (2 << 20)) * (2 << 20))
    return path
