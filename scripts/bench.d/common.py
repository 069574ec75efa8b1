"""What the benches share: timing, tables, bundles, guests of peers."""
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.environ.get("MICROVM_CACHE", os.path.join(REPOSITORY, ".cache"))
DIST = os.environ.get("MICROVM_DIST", os.path.join(CACHE, "dist"))
MICROVM = os.path.join(DIST, "bin", "microvm")
VMM = os.path.join(DIST, "bin", "microvm-vmm")
KERNEL = os.path.join(DIST, "share", "microvm", "vmlinux")
IMAGE = os.path.join(DIST, "share", "microvm", "guest.erofs")


def host():
    """Where the figures were taken."""
    return {
        "kernel": os.uname().release,
        "cpus": os.cpu_count(),
        "lab": os.environ.get("MICROVM_LAB") == "1",
        "kvm": os.access("/dev/kvm", os.R_OK | os.W_OK),
    }


def interprets_guests():
    """Whether this host's KVM interprets the guest's kernel."""
    checks = subprocess.run([MICROVM, "check", "--json"], stdout=subprocess.PIPE).stdout
    return any(check["state"] == "slow" for check in json.loads(checks))


class Table:
    """Rows of measurements with their medians, spread and ratio to the first row."""

    def __init__(self, unit, smaller_is_better=True):
        self.unit = unit
        self.smaller_is_better = smaller_is_better
        self.rows = {}
        self.notes = []

    def add(self, row, value):
        self.rows.setdefault(row, []).append(value)

    def leave_out(self, row, why):
        self.notes.append(f"{row}: left out, {why}")

    def print(self):
        if self.rows:
            width = max(map(len, self.rows))
            print(f"  {'':{width}}  {'median':>10}  {'min':>10}  {'max':>10}  {'n':>3}  ratio")
            base = statistics.median(next(iter(self.rows.values())))
            for row, values in self.rows.items():
                median = statistics.median(values)
                ratio = median / base if base else 0
                cells = "  ".join(f"{value:10.2f}" for value in (median, min(values), max(values)))
                print(f"  {row:{width}}  {cells}  {len(values):3}  {ratio:5.2f}  {self.unit}")
        for note in self.notes:
            print(f"  ({note})")

    def as_json(self):
        return {"unit": self.unit, "rows": self.rows, "notes": self.notes}


class Tables:
    """Several quantities measured by one bench: a table each."""

    def __init__(self):
        self.tables = {}
        self.notes = []

    def add(self, quantity, unit, row, value):
        self.tables.setdefault(quantity, Table(unit)).add(row, value)

    def leave_out(self, row, why):
        self.notes.append(f"{row}: left out, {why}")

    def print(self):
        for quantity, table in self.tables.items():
            print(f"  {quantity}")
            table.print()
        for note in self.notes:
            print(f"  ({note})")

    def as_json(self):
        return {quantity: table.as_json() for quantity, table in self.tables.items()} | {"notes": self.notes}


def milliseconds(command, timeout=120, expect=(0,), **options):
    """Runs a command and returns how long it took; raises when it fails."""
    started = time.monotonic()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **options
    )
    took = (time.monotonic() - started) * 1000
    if done.returncode not in expect:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}")
    return took


def in_turn(table, rows, runs):
    """Takes a measurement of each row in turn, `runs` times; a row that fails twice running is left out with its reason."""
    rows = dict(rows)
    for _ in range(runs):
        for name, measure in list(rows.items()):
            try:
                measure()
            except Exception:
                try:
                    measure()
                except Exception as error:
                    table.leave_out(name, str(error).strip().replace("\n", " ")[-300:])
                    del rows[name]


def runtimes(table, directory, templates, cpus=1):
    """Each OCI runtime that is here, by its row's name: the words its commands begin with, runc's own verbs behind them."""
    found = {"microvm": [MICROVM, "--root", os.path.join(directory, "state")]}
    for name, command in {
        "runc": ["runc", "--root", os.path.join(directory, "runc")],
        "crun": ["crun", "--root", os.path.join(directory, "crun")],
        "runsc ptrace": [
            "runsc", "--root", os.path.join(directory, "runsc"), "--network=none", "--platform=ptrace", "--ignore-cgroups",
        ],
    }.items():  # fmt: skip
        if shutil.which(command[0]):
            found[name] = command
        else:
            table.leave_out(name, "not installed")
    # Made once, and not measured.
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*found["microvm"], "template", "build", "--templates", templates, "--cpus", str(cpus)], **quiet)
    return found


def compile_static(source, into):
    """A static executable of a C program in Tests/bench."""
    path = os.path.join(into, os.path.splitext(source)[0])
    subprocess.run(["gcc", "-O2", "-static", "-s", "-o", path, os.path.join(REPOSITORY, "Tests", "bench", source)], check=True)
    return path


def make_bundle(directory, arguments, mounts=()):
    """A bundle of busybox, with a spec that every runtime takes."""
    rootfs = os.path.join(directory, "rootfs")
    for name in ("bin", "proc", "sys", "dev", "tmp", "etc", "mnt"):
        os.makedirs(os.path.join(rootfs, name), exist_ok=True)
    shutil.copy("/bin/busybox", os.path.join(rootfs, "bin", "busybox"))
    for name in ("sh", "true", "sleep", "cat"):
        os.symlink("busybox", os.path.join(rootfs, "bin", name))
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": list(arguments),
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
        },
        "root": {"path": "rootfs"},
        "hostname": "bench",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            *mounts,
        ],
        "linux": {"namespaces": [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount")]},
    }
    with open(os.path.join(directory, "config.json"), "w") as file:
        json.dump(config, file)
    return directory


def make_template(directory):
    """A template as starts find it, its working set known from the first; the options that name it, and what `list` says of it with its `path`."""
    path = os.path.join(directory, "templates")
    options = ["--templates", path]
    subprocess.run([MICROVM, "template", "build", *options], check=True, stdout=subprocess.DEVNULL)
    bundle = make_bundle(os.path.join(directory, "first"), ["/bin/true"])
    subprocess.run([MICROVM, "--root", os.path.join(directory, "first-state"), "run", *options, bundle], check=True)
    (template,) = json.loads(subprocess.run([MICROVM, "template", "list", "--format", "json", *options], check=True, capture_output=True).stdout)
    return options, {**template, "path": os.path.join(path, template["key"])}


def prefault(template):
    """What its working set tells a template's VMM beforehand."""
    with open(os.path.join(template["path"], "working-set")) as file:
        written = json.load(file)["written"]
    return ["--prefault", ",".join(f"{first}+{count}" for first, count in zip(written[::2], written[1::2]))] if written else []


def start_vmm(options, files):
    """A VMM in its jail; descriptors go to it by the options named for them."""
    words = [word for name, file in files.items() for word in (f"--{name}-fd", str(file))]
    return subprocess.Popen(
        [VMM, *options, *words, "--jail", "--kill-with-parent"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=tuple(files.values()))  # fmt: skip


def scratch():
    """A directory for a bench, on the lab's disk if there is one: its root is an overlay with no user xattrs."""
    return tempfile.TemporaryDirectory(prefix="microvm-bench.", dir=os.environ.get("MICROVM_LAB_SCRATCH"))


def initrd(directory, init):
    """An uncompressed cpio archive with one program."""
    tree = os.path.join(directory, "initrd.d")
    os.makedirs(os.path.join(tree, "mnt"), exist_ok=True)
    os.makedirs(os.path.join(tree, "dev"), exist_ok=True)
    shutil.copy(init, os.path.join(tree, "init"))
    path = os.path.join(directory, "initrd")
    with open(path, "wb") as archive:
        names = b"./init\n./mnt\n./dev\n"
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=names, stdout=archive, cwd=tree, check=True)
    return path


def qemu(machine, memory, cpus, *arguments, command_line=""):
    """QEMU's microvm with our kernel: a guest without ACPI, and nothing it does not need."""
    return [
        "qemu-system-x86_64", "-M", f"microvm,accel=kvm,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=off,acpi=off{machine}",
        "-cpu", "host", "-m", str(memory), "-smp", str(cpus), "-no-reboot", "-nodefaults", "-no-user-config",
        "-display", "none", "-serial", "none", "-global", "virtio-mmio.force-legacy=false", "-kernel", KERNEL,
        "-append", f"reboot=t panic=-1 quiet cryptomgr.notests {command_line}", *arguments,
    ]  # fmt: skip
