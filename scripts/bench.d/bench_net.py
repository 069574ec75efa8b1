"""Guest and host by TCP: a byte to and fro, and 32 MiB each way. Both guests have a tap that is joined to one end of a veth pair, whose
other end is the host's."""
import json
import os
import shutil
import socket
import subprocess

import common
from bench_vsock import serve

NAMESPACE = "microvm-bench"
HOST, GUEST, LENGTH = "10.79.0.1", "10.79.0.2", 24
PORT = 5000
ADDRESS = "02:00:5e:10:00:02"


def run(options):
    tables = common.Tables()
    with common.scratch() as directory, Cable():
        program = common.compile_static("tcp.c", directory)
        with socket.create_server((HOST, PORT)) as listener:

            def ours():
                bundle = os.path.join(directory, "bundle")
                shutil.rmtree(bundle, ignore_errors=True)
                common.make_bundle(bundle, ["/bin/tcp", HOST, str(PORT)])
                shutil.copy(program, os.path.join(bundle, "rootfs", "bin", "tcp"))
                join_namespace(os.path.join(bundle, "config.json"))
                runner = subprocess.Popen([common.MICROVM, "--root", os.path.join(directory, "state"), "run", bundle], stdin=subprocess.DEVNULL)
                measure(listener, runner, lambda quantity, unit, value: tables.add(quantity, unit, "microvm", value))

            rows = {"microvm": ours}
            if shutil.which("qemu-system-x86_64"):
                archive = common.initrd(directory, program)
                rows["QEMU"] = lambda: peer(archive, options, listener, tables, "QEMU", "off")
                if os.path.exists("/dev/vhost-net"):
                    rows["QEMU, vhost-net"] = lambda: peer(archive, options, listener, tables, "QEMU, vhost-net", "on")
            else:
                tables.leave_out("QEMU", "not installed")
            common.in_turn(tables, rows, options.runs)
    return tables


class Cable:
    """A veth pair: one end the host's, the other in a network namespace of its own."""

    def __enter__(self):
        ip("netns", "add", NAMESPACE)
        ip("link", "add", "mvbench", "type", "veth", "peer", "name", "eth0", "netns", NAMESPACE)
        ip("address", "add", f"{HOST}/{LENGTH}", "dev", "mvbench")
        ip("link", "set", "mvbench", "up")
        inside("ip", "link", "set", "eth0", "address", ADDRESS)
        inside("ip", "address", "add", f"{GUEST}/{LENGTH}", "dev", "eth0")
        inside("ip", "link", "set", "eth0", "up")

    def __exit__(self, *_):
        ip("netns", "del", NAMESPACE)


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def inside(*command):
    subprocess.run(["ip", "netns", "exec", NAMESPACE, *command], check=True)


def join_namespace(path):
    with open(path) as file:
        config = json.load(file)
    for namespace in config["linux"]["namespaces"]:
        if namespace["type"] == "network":
            namespace["path"] = f"/run/netns/{NAMESPACE}"
    with open(path, "w") as file:
        json.dump(config, file)


def peer(archive, options, listener, tables, row, vhost):
    inside("ip", "tuntap", "add", "dev", "tap0", "mode", "tap", "vnet_hdr")
    try:
        inside("ip", "link", "set", "tap0", "up")
        for source, target in (("eth0", "tap0"), ("tap0", "eth0")):
            inside("tc", "qdisc", "add", "dev", source, "ingress")
            inside(
                "tc", "filter", "add", "dev", source, "parent", "ffff:", "protocol", "all", "u32", "match", "u8", "0", "0", "action", "mirred",
                "egress", "redirect", "dev", target,
            )  # fmt: skip
        command = common.qemu(
            "", 128, options.cpus, "-initrd", archive, "-netdev", f"tap,id=net,ifname=tap0,script=no,downscript=no,vhost={vhost}", "-device",
            f"virtio-net-device,netdev=net,mac={ADDRESS}", command_line=f"tcp={HOST},{PORT},{GUEST},{LENGTH}",
        )  # fmt: skip
        guest = subprocess.Popen(["ip", "netns", "exec", NAMESPACE, *command])
        measure(listener, guest, lambda quantity, unit, value: tables.add(quantity, unit, row, value))
    finally:
        inside("tc", "qdisc", "del", "dev", "eth0", "ingress")
        inside("ip", "link", "del", "tap0")


def measure(listener, guest, add):
    try:
        serve(listener, add)
        guest.wait(timeout=60)
    finally:
        guest.kill()
        guest.wait()
