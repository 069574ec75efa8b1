"""An OCI runtime, and a case: a bundle with the containers made from it, which are gone afterwards."""
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid

import common


class Unmet(Exception):
    """Something was not as the specification says."""


class Runtime:
    def __init__(self, name, command, directory):
        self.name = name
        self.command = command
        self.directory = directory

    @classmethod
    def installed(cls, directory):
        commands = {
            "microvm": [common.MICROVM, "--root", os.path.join(directory, "microvm")],
            "runc": ["runc", "--root", os.path.join(directory, "runc")],
            "crun": ["crun", "--root", os.path.join(directory, "crun")],
        }
        return [cls(name, command, directory) for name, command in commands.items() if shutil.which(command[0])]

    @contextlib.contextmanager
    def case(self):
        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            case = Case(self.command, directory)
            try:
                yield case
            finally:
                case.clean()


class Case:
    def __init__(self, command, directory):
        self.command = command
        self.directory = directory
        self.bundle = common.make_bundle(os.path.join(directory, "bundle"), ["/bin/true"])
        self.rootfs = os.path.join(self.bundle, "rootfs")
        with open(os.path.join(self.bundle, "config.json")) as file:
            self.config = json.load(file)
        self.config["mounts"].append({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]})
        for name in ("ls", "id", "grep", "stat", "touch", "wc", "hostname", "dd", "env", "mkdir", "kill", "date", "readlink", "head", "cut"):
            os.symlink("busybox", os.path.join(self.rootfs, "bin", name))
        self.ids = []

    @property
    def process(self):
        return self.config["process"]

    @property
    def linux(self):
        return self.config["linux"]

    def mount(self, destination, type, source, *options):
        self.config["mounts"].append({"destination": destination, "type": type, "source": source, "options": list(options)})

    def cgroup(self):
        """Mounts the container's own cgroup at /sys/fs/cgroup."""
        self.linux["namespaces"].append({"type": "cgroup"})
        self.mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev", "relatime")

    # Commands

    def call(self, *arguments, stdin=None, timeout=60):
        """A command of the runtime: its exit status, and what it printed."""
        # To files, not pipes: a container that goes on would hold a pipe open.
        with tempfile.TemporaryFile(dir=self.directory) as output, tempfile.TemporaryFile(dir=self.directory) as errors:
            done = subprocess.run(
                [*self.command, *arguments], input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                stdout=output, stderr=errors, timeout=timeout, check=False,
            )  # fmt: skip
            output.seek(0)
            errors.seek(0)
            return done.returncode, output.read().decode(errors="replace"), errors.read().decode(errors="replace")

    def must(self, *arguments, **options):
        status, output, errors = self.call(*arguments, **options)
        if status != 0:
            raise Unmet(f"{arguments[0]} ended with {status}: {errors}")
        return output

    def refused(self, *arguments):
        status, _, errors = self.call(*arguments)
        if status == 0:
            raise Unmet(f"{arguments[0]} was not refused")
        return errors

    # Containers

    def write(self):
        with open(os.path.join(self.bundle, "config.json"), "w") as file:
            json.dump(self.config, file)

    def name(self):
        self.ids.append("c" + uuid.uuid4().hex[:10])
        return self.ids[-1]

    def run(self, *arguments, shell=None, stdin=None):
        """Runs a container to its end: its exit status and output."""
        if shell is not None:
            arguments = ("/bin/sh", "-c", shell)
        if arguments:
            self.process["args"] = list(arguments)
        self.write()
        status, output, errors = self.call("run", "--bundle", self.bundle, self.name(), stdin=stdin)
        if errors and status != 0 and not output:
            return status, errors
        return status, output

    def output(self, *arguments, shell=None):
        status, output = self.run(*arguments, shell=shell)
        if status != 0:
            raise Unmet(f"the container ended with {status}: {output}")
        return output.strip()

    def create(self, *arguments, flags=()):
        if arguments:
            self.process["args"] = list(arguments)
        self.write()
        name = self.name()
        self.must("create", "--bundle", self.bundle, *flags, name)
        return name

    def started(self, *arguments):
        name = self.create(*(arguments or ("/bin/sleep", "1000")))
        self.must("start", name)
        return name

    def state(self, name):
        return json.loads(self.must("state", name))

    def wait(self, name, status, seconds=20):
        deadline = time.monotonic() + seconds
        while (found := self.state(name)["status"]) != status:
            if time.monotonic() > deadline:
                raise Unmet(f"still {found}, not {status}, after {seconds} s")
            time.sleep(0.05)

    def exec(self, name, *arguments, flags=()):
        return self.must("exec", *flags, name, *arguments).strip()

    def clean(self):
        for name in self.ids:
            subprocess.run([*self.command, "delete", "--force", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def same(found, wanted):
    if found != wanted:
        raise Unmet(f"found {found!r}, not {wanted!r}")


def holds(condition, otherwise):
    if not condition:
        raise Unmet(otherwise)
