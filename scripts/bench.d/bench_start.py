"""How long a whole `run` of true takes, and QEMU's boot to an init that switches off at once."""
import os
import uuid

import bench_boot
import common


def run(options):
    table = common.Table("ms")
    with common.scratch() as directory:
        bundle = common.make_bundle(os.path.join(directory, "bundle"), ["/bin/true"])
        templates = os.path.join(directory, "templates")
        runtimes = common.runtimes(table, directory, templates, options.cpus)
        machine = ["--templates", templates, "--cpus", str(options.cpus)]

        def measure(row, command, *flags):
            name = "bench-" + uuid.uuid4().hex[:8]
            table.add(row, common.milliseconds([*command, "run", *flags, name], cwd=bundle))

        microvm = runtimes.pop("microvm")
        rows = {
            "microvm": lambda: measure("microvm", microvm, *machine, "--bundle", bundle),
            "microvm --cold": lambda: measure("microvm --cold", microvm, *machine, "--cold", "--bundle", bundle),
        }
        rows |= {row: lambda row=row, command=command: measure(row, command) for row, command in runtimes.items()}
        init = common.compile_static("poweroff.c", directory)
        if peer := bench_boot.qemu(table, directory, init, options.cpus):
            rows[bench_boot.QEMU] = lambda: table.add(bench_boot.QEMU, common.milliseconds(peer))
        common.in_turn(table, rows, options.runs)
    return table
