"""An exec in a container that runs, and a container's whole life by single commands."""
import json
import os
import subprocess
import time
import uuid

import common

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def run(options):
    tables = common.Tables()
    with common.scratch() as directory:
        templates = os.path.join(directory, "templates")
        runtimes = common.runtimes(tables, directory, templates)
        short = common.make_bundle(os.path.join(directory, "short"), ["/bin/true"])
        long = common.make_bundle(os.path.join(directory, "long"), ["/bin/sleep", "100000"])

        def create(command, bundle):
            name = "bench-" + uuid.uuid4().hex[:8]
            flags = ["--templates", templates] if command[0] == common.MICROVM else []
            subprocess.run([*command, "create", *flags, "--bundle", bundle, name], check=True, **QUIET)
            return name

        def execs(row, command, name):
            return lambda: tables.add("exec true", "ms", row, common.milliseconds([*command, "exec", name, "/bin/true"]))

        def life(row, command):
            def measure():
                started = time.monotonic()
                name = create(command, short)
                subprocess.run([*command, "start", name], check=True, **QUIET)
                while state(command, name) != "stopped":
                    pass
                subprocess.run([*command, "delete", name], check=True, **QUIET)
                tables.add("create, start, wait, delete", "ms", row, (time.monotonic() - started) * 1000)

            return measure

        common.in_turn(tables, {row: life(row, command) for row, command in runtimes.items()}, options.runs)
        running = {}
        try:
            for row, command in runtimes.items():
                running[row] = create(command, long)
                subprocess.run([*command, "start", running[row]], check=True, **QUIET)
            common.in_turn(tables, {row: execs(row, runtimes[row], name) for row, name in running.items()}, options.runs * 3)
        finally:
            for row, name in running.items():
                subprocess.run([*runtimes[row], "delete", "--force", name], **QUIET)
    return tables


def state(command, name):
    done = subprocess.run([*command, "state", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(done.stdout)["status"]
