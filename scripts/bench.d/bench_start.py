"""How long a whole `run` of true takes."""
import os
import shutil
import subprocess
import uuid

import common


def run(options):
    table = common.Table("ms")
    with common.scratch() as directory:
        bundle = common.make_bundle(os.path.join(directory, "bundle"), ["/bin/true"])

        def runtime(*command):
            def measure():
                name = "bench-" + uuid.uuid4().hex[:8]
                table.add(command[0], common.milliseconds([*command[1:], name], cwd=bundle))

            return measure

        microvm = [common.MICROVM, "--root", os.path.join(directory, "state")]
        machine = ["--templates", os.path.join(directory, "templates"), "--cpus", str(options.cpus)]
        # Made once, and not measured.
        subprocess.run([*microvm, "template", "build", *machine], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rows = {
            "microvm": lambda: table.add("microvm", common.milliseconds([*microvm, "run", *machine, bundle])),
            "microvm --cold": lambda: table.add("microvm --cold", common.milliseconds([*microvm, "run", "--cold", *machine, bundle])),
            "runc": runtime("runc", "runc", "run"),
            "crun": runtime("crun", "crun", "run"),
            "runsc ptrace": runtime("runsc ptrace", "runsc", "--network=none", "--platform=ptrace", "--ignore-cgroups", "run"),
        }
        for name in [name for name in rows if not name.startswith("microvm")]:
            if not shutil.which(name.split()[0]):
                table.leave_out(name, "not installed")
                del rows[name]
        common.in_turn(table, rows, options.runs)
    return table
