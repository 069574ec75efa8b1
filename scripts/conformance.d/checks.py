"""What the runtime-spec (1.2) asks for, a check each; names begin with the file of the specification and the field."""
import json
import os
import stat

from runtime import holds, same

_checks = []


def check(name):
    def add(function):
        _checks.append((name, function))
        return function

    return add


def all_checks():
    return list(_checks)


# config.md: process


@check("config: process.args, and its exit status")
def exit_status(case):
    same(case.run(shell="exit 7")[0], 7)


@check("config: an executable that is missing ends with 127 or 1, one that is none with 126 or 1")
def executables(case):
    same(case.run("/bin/nothing")[0] in (1, 127), True)
    same(case.run("/etc")[0] in (1, 126), True)


@check("config: process.env and cwd")
def environment(case):
    case.process["env"].append("A=b c")
    case.process["cwd"] = "/tmp"
    same(case.output(shell='echo "$A" $PWD'), "b c /tmp")


@check("config: process.cwd is made when it is missing")
def missing_cwd(case):
    case.process["cwd"] = "/made/deep"
    same(case.output(shell="pwd"), "/made/deep")


@check("config: process.user with additional groups")
def user(case):
    case.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 6]}
    same(case.output("/bin/id", "-G"), "1001 5 6")
    same(case.output("/bin/id", "-u"), "1000")


@check("config: process.user.umask")
def umask(case):
    case.process["user"]["umask"] = 0o027
    same(case.output(shell="umask"), "0027")


@check("config: process.rlimits")
def rlimits(case):
    case.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    same(case.output(shell="ulimit -Sn; ulimit -Hn").split(), ["100", "200"])


@check("config: process.capabilities, each set")
def capabilities(case):
    case.process["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
    }  # fmt: skip
    case.process["user"] = {"uid": 1000, "gid": 1000}
    found = dict(line.split(":\t") for line in case.output(shell="grep ^Cap /proc/self/status").splitlines())
    same({name: int(value, 16) for name, value in found.items()}, {"CapInh": 32, "CapPrm": 32, "CapEff": 32, "CapBnd": 33, "CapAmb": 32})


@check("config: process.noNewPrivileges")
def no_new_privileges(case):
    case.process["noNewPrivileges"] = True
    same(case.output(shell="grep NoNewPrivs /proc/self/status").split()[1], "1")


@check("config: process.oomScoreAdj")
def oom_score(case):
    case.process["oomScoreAdj"] = 321
    same(case.output("/bin/cat", "/proc/self/oom_score_adj"), "321")


@check("config: standard input reaches the process to its end")
def standard_input(case):
    same(case.run("/bin/wc", "-c", stdin=b"x" * 100_000), (0, "100000\n"))


# config.md: root, mounts, hostname


@check("config: root.readonly")
def read_only_root(case):
    case.config["root"]["readonly"] = True
    holds(case.run("/bin/touch", "/x")[0] != 0, "the root could be written")
    holds(not os.path.exists(os.path.join(case.rootfs, "x")), "a file appeared")


@check("config: a writable root is the bundle's")
def writable_root(case):
    case.output(shell="echo text > /tmp/x")
    with open(os.path.join(case.rootfs, "tmp", "x")) as file:
        same(file.read(), "text\n")


@check("config: hostname")
def hostname(case):
    case.config["hostname"] = "somebody"
    same(case.output("/bin/hostname"), "somebody")


@check("config: mounts in their order, the later over the earlier")
def mount_order(case):
    case.mount("/mnt", "tmpfs", "one", "size=1m")
    case.mount("/mnt/in", "tmpfs", "two", "size=2m")
    same(case.output(shell="grep ' /mnt' /proc/mounts | cut -d' ' -f1,2").split("\n"), ["one /mnt", "two /mnt/in"])


@check("config: mounts of tmpfs with mode, size and flags")
def tmpfs(case):
    case.mount("/mnt", "tmpfs", "tmpfs", "nosuid", "noexec", "mode=1770", "size=64k")
    line = case.output(shell="grep ' /mnt ' /proc/mounts; stat -c %a /mnt").split()
    holds({"nosuid", "noexec", "size=64k"} <= set(line[3].split(",")), line[3])
    same(line[-1], "1770")


@check("config: a bind mount is writable, with ro it is not")
def bind(case):
    directory = os.path.join(case.directory, "shared")
    os.mkdir(directory)
    case.mount("/mnt", "bind", directory, "rbind", "rw")
    case.mount("/srv", "bind", directory, "rbind", "ro")
    same(case.output(shell="echo hello > /mnt/file; cat /srv/file; touch /srv/x 2>/dev/null || echo refused").split(), ["hello", "refused"])
    holds(os.path.exists(os.path.join(directory, "file")), "the file is not on the host")


@check("config: a bind mount of a single file")
def bind_file(case):
    path = os.path.join(case.directory, "single")
    with open(path, "w") as file:
        file.write("content")
    case.mount("/etc/single", "bind", path, "bind", "ro")
    same(case.output("/bin/cat", "/etc/single"), "content")


# config-linux.md


@check("config-linux: default devices and links are there")
def default_devices(case):
    names = "null zero full random urandom tty ptmx fd stdin stdout stderr".split()
    same(case.output(shell=f"cd /dev; for n in {' '.join(names)}; do [ -e $n ] || [ -L $n ] || echo $n; done"), "")


@check("config-linux: new pid, ipc, uts, mount, network and cgroup namespaces")
def namespaces(case):
    case.linux["namespaces"].append({"type": "cgroup"})
    own = case.output(shell="for n in pid ipc uts mnt net cgroup; do readlink /proc/self/ns/$n; done").split()
    same(len(own), 6)
    same(case.output(shell="echo $$"), "1")


@check("config-linux: a user namespace with its mappings")
def user_namespace(case):
    case.linux["namespaces"].append({"type": "user"})
    for mapping in ("uidMappings", "gidMappings"):
        case.linux[mapping] = [{"containerID": 0, "hostID": 100000, "size": 2000}]
    os.chmod(case.directory, 0o755)
    same(case.output("/bin/cat", "/proc/self/uid_map").split(), ["0", "100000", "2000"])


@check("config-linux: devices are made with mode and owner")
def devices(case):
    case.linux["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4}]
    same(case.output("/bin/stat", "-c", "%a %u %g %t %T", "/dev/mine"), "640 3 4 1 5")


@check("config-linux: a device that the cgroup denies cannot be opened")
def denied_device(case):
    case.linux["devices"] = [{"path": "/dev/other", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]
    case.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    holds(case.run("/bin/head", "-c1", "/dev/other")[0] != 0, "it was opened")


@check("config-linux: maskedPaths and readonlyPaths")
def paths(case):
    case.linux["maskedPaths"] = ["/etc/secret", "/nowhere", "/tmp"]
    case.linux["readonlyPaths"] = ["/proc/sys"]
    for name in ("etc/secret", "tmp/secret"):
        with open(os.path.join(case.rootfs, name), "w") as file:
            file.write("secret")
    found = case.output(shell="ls /tmp | wc -l; wc -c < /etc/secret; (echo x > /proc/sys/kernel/domainname) 2>/dev/null || echo refused")
    same(found.split(), ["0", "0", "refused"])


@check("config-linux: sysctl")
def sysctl(case):
    case.linux["sysctl"] = {"kernel.shm_rmid_forced": "1", "net.ipv4.ip_forward": "1"}
    same(case.output(shell="cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_forward").split(), ["1", "1"])


@check("config-linux: seccomp answers with the errno asked for")
def seccomp(case):
    case.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }  # fmt: skip
    status, text = case.run(shell="mkdir /tmp/x 2>&1")
    holds(status != 0 and "No space" in text, f"{status} {text}")


@check("config-linux: rootfsPropagation")
def propagation(case):
    case.linux["rootfsPropagation"] = "rshared"
    holds("shared:" in case.output(shell="grep ' / / ' /proc/self/mountinfo || grep ' / ' /proc/self/mountinfo"), "the root is not shared")


@check("config-linux: resources.memory.limit, in the container's cgroup")
def memory_limit(case):
    case.cgroup()
    case.linux["resources"] = {"memory": {"limit": 64 << 20}}
    same(case.output("/bin/cat", "/sys/fs/cgroup/memory.max"), str(64 << 20))


@check("config-linux: resources.cpu and pids, in the container's cgroup")
def cpu_limit(case):
    case.cgroup()
    case.linux["resources"] = {"cpu": {"quota": 50000, "period": 100000, "shares": 512}, "pids": {"limit": 33}}
    found = case.output(shell="cd /sys/fs/cgroup; cat cpu.max cpu.weight pids.max").split()
    same(found, ["50000", "100000", "20", "33"])


@check("config-linux: resources.unified")
def unified(case):
    case.cgroup()
    case.linux["resources"] = {"unified": {"memory.high": str(32 << 20)}}
    same(case.output("/bin/cat", "/sys/fs/cgroup/memory.high"), str(32 << 20))


# runtime.md: life


@check("runtime: created, running and stopped, as state says")
def life(case):
    name = case.create("/bin/sh", "-c", "exit 0")
    state = case.state(name)
    same((state["id"], state["status"], state["bundle"]), (name, "created", case.bundle))
    holds(state["pid"] > 0 and os.path.exists(f"/proc/{state['pid']}"), "there is no such process")
    case.must("start", name)
    case.wait(name, "stopped")
    case.must("delete", name)
    case.refused("state", name)


@check("runtime: annotations are in the state")
def annotations(case):
    case.config["annotations"] = {"a.b": "c"}
    same(case.state(case.create())["annotations"]["a.b"], "c")


@check("runtime: an id that is taken is refused")
def taken(case):
    name = case.create()
    case.refused("create", "--bundle", case.bundle, name)
    same(case.state(name)["status"], "created")


@check("runtime: what runs can neither be started again nor deleted")
def running(case):
    name = case.started()
    case.refused("start", name)
    case.refused("delete", name)
    same(case.state(name)["status"], "running")


@check("runtime: kill sends the signal, and to what has stopped none")
def kill(case):
    name = case.started("/bin/sh", "-c", "trap 'exit 0' USR1; while :; do sleep 0.1; done")
    case.must("kill", name, "USR1")
    case.wait(name, "stopped")
    case.refused("kill", name, "TERM")


@check("runtime: commands on a container that does not exist are refused")
def absent(case):
    for command in ("start", "state", "delete", "kill", "pause"):
        case.refused(command, "nobody")


@check("runtime: config.json may change after create, without effect")
def changed(case):
    name = case.create("/bin/sh", "-c", "echo first > /tmp/out")
    case.process["args"] = ["/bin/sh", "-c", "echo second > /tmp/out"]
    case.write()
    case.must("start", name)
    case.wait(name, "stopped")
    with open(os.path.join(case.rootfs, "tmp", "out")) as file:
        same(file.read(), "first\n")


@check("runtime: the pid file has the state's pid")
def pid_file(case):
    path = os.path.join(case.directory, "pid")
    name = case.create(flags=("--pid-file", path))
    with open(path) as file:
        same(int(file.read()), case.state(name)["pid"])


@check("runtime: pause and resume")
def pause(case):
    name = case.started()
    case.must("pause", name)
    same(case.state(name)["status"], "paused")
    case.must("resume", name)
    same(case.state(name)["status"], "running")


@check("runtime: update changes a limit")
def update(case):
    case.cgroup()
    case.linux["resources"] = {"pids": {"limit": 50}}
    name = case.started()
    case.must("update", "--pids-limit", "60", name)
    same(case.exec(name, "/bin/cat", "/sys/fs/cgroup/pids.max"), "60")


# runtime.md: exec, which is runc's


@check("exec: in the container's namespaces and root")
def exec_place(case):
    case.config["hostname"] = "place"
    name = case.started()
    same(case.exec(name, "/bin/hostname"), "place")
    same(case.exec(name, "/bin/readlink", "/proc/self/ns/pid"), case.exec(name, "/bin/readlink", "/proc/1/ns/pid"))


@check("exec: user, cwd and environment of its own, and its exit status")
def exec_process(case):
    name = case.started()
    shown = case.exec(name, "/bin/sh", "-c", "id -u; pwd; echo $X", flags=("--user", "12:34", "--cwd", "/tmp", "--env", "X=y"))
    same(shown.split(), ["12", "/tmp", "y"])
    same(case.call("exec", name, "/bin/sh", "-c", "exit 9")[0], 9)


@check("exec: a process of a file")
def exec_file(case):
    name = case.started()
    path = os.path.join(case.directory, "process.json")
    with open(path, "w") as file:
        json.dump({**case.process, "args": ["/bin/sh", "-c", "echo $Z"], "env": ["Z=file"]}, file)
    same(case.must("exec", "--process", path, name).strip(), "file")


@check("exec: ps lists the container's processes")
def processes(case):
    name = case.started()
    holds(len(json.loads(case.must("ps", "--format", "json", name))) >= 1, "none")


# config.md: hooks


def script(case, name, text):
    path = os.path.join(case.directory, name)
    with open(path, "w") as file:
        file.write("#!/bin/sh\n" + text)
    os.chmod(path, stat.S_IRWXU)
    return path


@check("hooks: those of the host run in order, with the state on standard input")
def hooks(case):
    log = os.path.join(case.directory, "log")
    case.config["hooks"] = {
        kind: [{"path": script(case, kind, f"echo {kind} $(grep -o '\"status\": *\"[a-z]*\"' | grep -o '[a-z]*\"$') >> {log}\n")}]
        for kind in ("prestart", "createRuntime", "poststart", "poststop")
    }
    case.run("/bin/true")
    with open(log) as file:
        lines = [line.split() for line in file]
    same([line[0] for line in lines], ["prestart", "createRuntime", "poststart", "poststop"])
    holds(all(len(line) == 2 for line in lines), f"a hook had no state: {lines}")


@check("hooks: one that fails before the start fails the container, one after it does not")
def failing_hooks(case):
    bad = script(case, "bad", "exit 1\n")
    case.config["hooks"] = {"createRuntime": [{"path": bad}]}
    holds(case.run("/bin/true")[0] != 0, "a failing createRuntime hook was ignored")
    case.config["hooks"] = {"poststop": [{"path": bad}]}
    same(case.run("/bin/true")[0], 0)


@check("hooks: startContainer runs in the container before its program")
def start_container(case):
    path = os.path.join(case.rootfs, "bin", "hook")
    with open(path, "w") as file:
        file.write("#!/bin/sh\necho hook > /tmp/hook\n")
    os.chmod(path, 0o755)
    case.config["hooks"] = {"startContainer": [{"path": "/bin/hook"}]}
    same(case.output("/bin/cat", "/tmp/hook"), "hook")
