#!/usr/bin/env bats
# The verbs of an OCI runtime, as engines call them: what they print, return and leave.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # the guest expands; bats and the helper assign
load helper

setup_file() { setup_file_common; }
setup() { setup_common; }
teardown() {
    microvm delete --force c
    microvm delete --force d
    nothing_left
}

@test "create, start, kill, delete: each state, and the words for what it does not allow" {
    script_is 'echo hello; trap "exit 5" TERM; while :; do sleep 0.1; done'
    create c
    [ "$(microvm state c | jq -r '[.id, .status, .bundle, .pid] | join(" ")')" = "c created $BUNDLE $(pid_of c)" ]
    [ ! -s "$BATS_TEST_TMPDIR/c.out" ]
    run -1 create c
    [[ $(cat "$BATS_TEST_TMPDIR/c.err") == *'container with id exists: c'* ]]
    is c created
    run -0 --separate-stderr microvm start c
    [ -z "$output$stderr" ]
    wait_for 20 said c hello
    is c running
    run -1 microvm start c
    [[ $output == *'cannot start an already running container'* ]]
    run -1 microvm delete c
    [[ $output == *'not stopped'* ]]
    microvm kill c 0
    microvm kill c TERM
    wait_for 20 is c stopped
    [ "$(microvm state c | jq .pid)" = 0 ]
    run -1 microvm kill c 9
    [[ $output == *'container not running'* ]]
    run -1 microvm kill c 0
    run -1 microvm start c
    [[ $output == *'cannot start a container that has stopped'* ]]
    run -0 --separate-stderr microvm delete c
    [ -z "$output$stderr" ]
    run -1 microvm state c
    [[ $output == *'does not exist'* ]]
    microvm delete --force c
}

@test "the pid file has digits only, and its process is adopted by a subreaper that gets the container's status" {
    script_is 'exit 42'
    run -0 python3 - "$microvm_program" "$STATE" "$BUNDLE" "$BATS_TEST_TMPDIR/pid" <<'PYTHON'
import ctypes, os, subprocess, sys
program, state, bundle, pid_file = sys.argv[1:]
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
call = lambda *words: subprocess.run([program, "--root", state, *words], stdin=subprocess.DEVNULL, check=True)
call("create", "--bundle", bundle, "--pid-file", pid_file, "c")
pid = int(open(pid_file, "rb").read())
assert open(pid_file, "rb").read() == str(pid).encode()
call("start", "c")
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status))
while True:
    try: os.waitpid(-1, 0)
    except ChildProcessError: break
call("delete", "c")
PYTHON
    [ "$output" = 42 ]
}

@test "the container's process is in namespaces of its own, and in those the spec names" {
    command_is sleep 1000
    configure "$BUNDLE" '.linux.namespaces |= map(select(.type != "network" and .type != "cgroup")) + [{type: "network", path: "/proc/self/ns/net"}, {type: "cgroup"}]'
    launch c
    pid=$(pid_of c)
    for name in mnt pid uts ipc cgroup; do [ "$(readlink "/proc/$pid/ns/$name")" != "$(readlink "/proc/self/ns/$name")" ]; done
    [ "$(readlink "/proc/$pid/ns/net")" = "$(readlink /proc/self/ns/net)" ]
    [ "$(readlink "/proc/$pid/ns/user")" = "$(readlink /proc/self/ns/user)" ]
    # Another container joins all of them.
    mkdir "$BATS_TEST_TMPDIR/other"
    BUNDLE=$BATS_TEST_TMPDIR/other/bundle
    make_bundle "$BUNDLE"
    command_is sleep 1000
    configure "$BUNDLE" '.linux.namespaces = [{type: "mount"}, ({pid: "pid", ipc: "ipc", uts: "uts", network: "net"} | to_entries[]
        | {type: .key, path: "/proc/\($pid)/ns/\(.value)"})]' --arg pid "$pid"
    create d
    for name in pid uts ipc net; do [ "$(readlink "/proc/$pid/ns/$name")" = "$(readlink "/proc/$(pid_of d)/ns/$name")" ]; done
}

@test "a namespace that cannot be joined is an error, and nothing is left" {
    configure "$BUNDLE" '.linux.namespaces |= map(select(.type != "cgroup")) + [{type: "cgroup", path: "/no/such"}]'
    run -1 create c
    grep -q 'cgroup: /no/such' "$BATS_TEST_TMPDIR/c.err"
    configure "$BUNDLE" '.linux.namespaces |= map(if .type == "cgroup" then .path = "/etc/passwd" else . end)'
    run -1 create c
    grep -q '/etc/passwd' "$BATS_TEST_TMPDIR/c.err"
}

@test "killing the container's process ends the container" {
    script_is 'echo ready; sleep 1000'
    launch c
    wait_for 20 said c ready
    kill -KILL "$(pid_of c)"
    wait_for 20 is c stopped
    microvm delete c
}

@test "signals sent to the container's process are the container's" {
    script_is 'trap "echo term" TERM; trap "echo usr1" USR1; trap "echo hup; exit 3" HUP; echo ready; while :; do sleep 0.1; done'
    launch c
    wait_for 20 said c ready
    kill -TERM "$(pid_of c)"
    wait_for 10 said c term
    kill -USR1 "$(pid_of c)"
    wait_for 10 said c usr1
    kill -HUP "$(pid_of c)"
    wait_for 20 is c stopped
    said c hup
}

@test "kill: names, numbers, --all, and what is no signal" {
    script_is 'trap "echo usr2" USR2; trap "echo rt" RTMIN+1; echo ready; sleep 1000 & while :; do sleep 0.1; done'
    launch c
    wait_for 20 said c ready
    microvm kill c SIGUSR2
    wait_for 10 said c usr2
    run -1 microvm kill c NOSIG
    [[ $output == *NOSIG* ]]
    microvm kill --all c KILL
    wait_for 20 is c stopped
}

@test "a container that is seen to be created can be started: its monitor listens before it says so" {
    create c
    [ -S "$STATE/c/control.sock" ]
    [ ! "$STATE/c/control.sock" -nt "$STATE/c/state.json" ]
}

@test "delete: created ones at once, running ones by force" {
    command_is sleep 1000
    create c
    microvm delete c
    launch c
    microvm delete --force c
    run -1 microvm state c
}

@test "delete --regex: every container whose id it is found in, and no other" {
    command_is sleep 1000
    create c
    launch d
    microvm delete --regex '^e|cc|dd'
    is c created
    is d running
    run -1 microvm delete --regex '('
    [[ $output == *'no regular expression'* ]]
    # One that cannot be deleted does not keep the others.
    run -1 microvm delete --regex '^[cd]$'
    [[ $output == *'d that is not stopped'* ]]
    [ "$(microvm list -q)" = d ]
    microvm delete --force --regex d
    [ -z "$(microvm list -q)" ]
}

@test "delete: what cgroups there are below the container's, made in the guest or on this host, go with it" {
    configure "$BUNDLE" '.mounts |= map(if .type == "cgroup" then .options -= ["ro"] else . end) | .linux.cgroupsPath = "/microvm-bats/above"'
    command_is sleep 1000
    launch c
    microvm exec c sh -ec 'cd /sys/fs/cgroup; echo +pids >cgroup.subtree_control; mkdir below; cd below; echo threaded >cgroup.type; echo 1 >cgroup.threads'
    # The guest's is not this host's.
    [ -z "$(find /sys/fs/cgroup -type d -name below)" ]
    find /sys/fs/cgroup -type d -path '*/microvm-bats/above' -exec mkdir -p {}/below/below \;
    microvm delete --force c
    [ -z "$(find /sys/fs/cgroup -type d -path '*/microvm-bats/*')" ]
    find /sys/fs/cgroup -type d -name microvm-bats -exec rmdir {} +
}

@test "a small share of CPU time holds the program up, not its creation" {
    configure "$BUNDLE" '.linux.resources.cpu = {quota: 1000, period: 100000} | .linux.cgroupsPath = "/microvm-bats/slow"'
    MICROVM_TIMEOUT=30 create c
    [ ! -e /sys/fs/cgroup/cgroup.controllers ] || [ "$(cat /sys/fs/cgroup/microvm-bats/slow/cpu.max)" = '1000 100000' ]
    microvm delete --force c
    find /sys/fs/cgroup -type d -name microvm-bats -exec rmdir {} +
}

@test "--systemd-cgroup: the container's cgroup is where systemd would make it" {
    configure "$BUNDLE" '.linux.cgroupsPath = "bats-lab.slice:unit:c"'
    command_is sleep 1000
    microvm --systemd-cgroup create --bundle "$BUNDLE" --pid-file "$BATS_TEST_TMPDIR/c.pid" c </dev/null >/dev/null 2>&1
    grep -q ':/bats.slice/bats-lab.slice/unit-c.scope$' "/proc/$(pid_of c)/cgroup"
    microvm delete c
    [ -z "$(find /sys/fs/cgroup -type d -name unit-c.scope)" ]
    find /sys/fs/cgroup -type d -path '*/bats.slice*' -delete
}

@test "--config: another file than config.json, from the bundle on or absolute" {
    command_is false
    mkdir "$BUNDLE/config"
    jq '.process.args = ["echo", "other"]' "$BUNDLE/config.json" >"$BUNDLE/config/other.json"
    [ "$(microvm run --config config/other.json --bundle "$BUNDLE" c)" = other ]
    [ "$(microvm run --config "$BUNDLE/config/other.json" "$BUNDLE")" = other ]
}

@test "list and ps: tables, JSON and ids only" {
    [ "$(microvm list --format json)" = null ]
    command_is sleep 1000
    launch c
    [ "$(microvm list -q)" = c ]
    [[ $(microvm list) == *ID*PID*STATUS*BUNDLE*c*running* ]]
    [ "$(microvm list --format=json | jq -r '.[0] | [.id, .status] | join(" ")')" = 'c running' ]
    [ "$(microvm ps --format json c)" = "[$(pid_of c)]" ]
    run -0 microvm ps c
    [[ ${lines[0]} =~ ^UID\ +PID\ +PPID\ +C\ +STIME\ +TTY\ +TIME\ +CMD$ ]]
    [[ ${lines[1]} =~ ^root\ +[0-9]+.*\?\ +00:00:0[0-9]\ +sleep\ 1000$ ]]
    run -0 microvm ps --format table c -e -x
    [[ ${lines[0]} =~ ^\ +PID\ +TTY\ +STAT\ +TIME\ +COMMAND$ ]]
    [[ ${lines[1]} =~ ^\ +[0-9]+\ +\?\ +[A-Z][a-z]*\ +0:0[0-9]\ +sleep\ 1000$ ]]
    run -0 microvm ps c -o user=WHO,comm
    [[ ${lines[0]} =~ ^WHO\ +COMMAND$ ]]
    [[ ${lines[1]} =~ ^root\ +sleep$ ]]
    run -1 microvm ps c -Z
    [[ $output == *'-Z'* ]]
    microvm kill c KILL
    wait_for 20 is c stopped
    [ "$(microvm ps c | wc -l)" = 1 ]
}

@test "a link where proc or sysfs goes is refused" {
    rmdir "$BUNDLE/rootfs/proc"
    ln -s /tmp "$BUNDLE/rootfs/proc"
    run -1 microvm run --detach --bundle "$BUNDLE" c </dev/null
    run -1 microvm create --bundle "$BUNDLE" c
    [[ $output == *'must be mounted on ordinary directory'* ]]
    nothing_left
}

@test "a cgroup with processes of others is told of, a frozen one is refused and stays" {
    command_is sleep 1000
    configure "$BUNDLE" '.linux.cgroupsPath = "/microvm-bats/shared"'
    launch c
    create d
    [[ $(cat "$BATS_TEST_TMPDIR/d.err") == *"container's cgroup is not empty"* ]]
    microvm delete --force d
    microvm delete --force c
    find /sys/fs/cgroup -type d -name microvm-bats -exec rmdir {} +
    [ -e /sys/fs/cgroup/cgroup.controllers ] || return 0
    mkdir -p /sys/fs/cgroup/microvm-bats/frozen
    echo 1 >/sys/fs/cgroup/microvm-bats/frozen/cgroup.freeze
    configure "$BUNDLE" '.linux.cgroupsPath = "/microvm-bats/frozen"'
    run -1 microvm create --bundle "$BUNDLE" c
    [[ $output == *"container's cgroup unexpectedly frozen"* ]]
    rmdir /sys/fs/cgroup/microvm-bats/frozen /sys/fs/cgroup/microvm-bats
}

@test "pause and resume" {
    script_is 'i=0; while :; do i=$((i + 1)); echo $i; sleep 0.1; done'
    launch c
    wait_for 20 said c 2
    microvm pause c
    is c paused
    sleep 0.5
    before=$(wc -l <"$BATS_TEST_TMPDIR/c.out")
    sleep 1
    [ "$(wc -l <"$BATS_TEST_TMPDIR/c.out")" = "$before" ]
    run -255 microvm exec c true
    [[ $output == *paused* ]]
    run -1 microvm pause c
    microvm exec --ignore-paused c echo resumed >"$BATS_TEST_TMPDIR/exec.out" &
    exec=$!
    sleep 0.5
    [ ! -s "$BATS_TEST_TMPDIR/exec.out" ]
    microvm resume c
    ended 0 "$exec"
    [ "$(cat "$BATS_TEST_TMPDIR/exec.out")" = resumed ]
    wait_for 10 said c "$((before + 3))"
    run -1 microvm resume c
    # SIGKILL reaches one that is paused, too.
    microvm pause c
    microvm kill c KILL
    wait_for 20 is c stopped
}

@test "update: flags, a file and standard input change the guest's cgroup and the host's; zero is not set" {
    configure "$BUNDLE" '.mounts |= map(select(.destination != "/sys/fs/cgroup")) + [{destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup"}]
        | .linux.cgroupsPath = "/microvm-bats/update" | .linux.resources.memory.limit = 134217728 | .linux.resources.pids.limit = 20'
    command_is sleep 1000
    launch c
    guest() { microvm exec c cat "/sys/fs/cgroup/$1"; }
    [ "$(guest memory.max)" = 134217728 ]
    [ "$(guest pids.max)" = 20 ]
    microvm update --memory 96M --pids-limit 30 --cpu-quota 50000 --cpu-share 512 c
    [ "$(guest memory.max) $(guest pids.max) $(guest cpu.max)" = '100663296 30 50000 100000' ]
    echo '{"memory": {"limit": 67108864, "swap": 0}, "cpu": {"shares": 0, "quota": 0}, "pids": {"limit": 0}}' | microvm update --resources - c
    [ "$(guest memory.max) $(guest pids.max) $(guest cpu.max)" = '67108864 30 50000 100000' ]
    echo '{"pids": {"limit": 44}}' >"$BATS_TEST_TMPDIR/resources"
    microvm update -r "$BATS_TEST_TMPDIR/resources" c
    [ "$(guest pids.max)" = 44 ]
    microvm update --memory 64M --memory-reservation 16M --memory-swap 96M --cpuset-cpus 0 --cpuset-mems 0 --blkio-weight 100 c
    [ "$(guest memory.low) $(guest memory.swap.max)" = '16777216 33554432' ]
    # A period alone leaves the quota.
    microvm update --cpu-period 50000 c
    [ "$(guest cpu.max)" = '50000 50000' ]
    microvm update --cpu-period 100000 --cpu-quota -1 c
    [ "$(guest cpu.max)" = 'max 100000' ]
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        cd /sys/fs/cgroup/microvm-bats/update
        [ "$(cat memory.max pids.max cpu.max | tr '\n' ' ')" = '67108864 44 max 100000 ' ]
        # These name the host's, for the machine beside it too.
        [ "$(cat {.,../update.microvm}/cpuset.{cpus,mems} | tr '\n' ' ')" = '0 0 0 0 ' ]
        cd /
    fi
    run -1 microvm update --memory lots c
    microvm delete --force c
    [ -z "$(find /sys/fs/cgroup -type d -path '*/microvm-bats/*')" ]
    find /sys/fs/cgroup -type d -name microvm-bats -exec rmdir {} +
}

@test "events --stats: one object with the guest's figures; the stream tells of memory running out" {
    configure "$BUNDLE" '.linux.resources.memory = {limit: 33554432, swap: 33554432}'
    script_is 'echo ready; read -r line; head -c 100m /dev/zero | tail; echo survived; sleep 1000'
    mkfifo "$BATS_TEST_TMPDIR/in"
    sleep 100 >"$BATS_TEST_TMPDIR/in" 3>&- &
    holder=$!
    microvm create --bundle "$BUNDLE" --pid-file "$BATS_TEST_TMPDIR/c.pid" c <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/c.out" 2>&1
    microvm start c
    wait_for 20 said c ready
    run -0 microvm events --stats c
    [ "$(jq -r '[.type, .id, (.data.memory.usage.usage > 0), .data.memory.usage.limit] | join(" ")' <<<"$output")" = 'stats c true 33554432' ]
    timeout 100 "$microvm_program" --root "$STATE" events --interval 1s c >"$BATS_TEST_TMPDIR/events" 2>&1 3>&- &
    events=$!
    wait_for 20 grep -q stats "$BATS_TEST_TMPDIR/events"
    echo go >"$BATS_TEST_TMPDIR/in"
    wait_for 40 grep -q '"type":"oom"' "$BATS_TEST_TMPDIR/events"
    microvm delete --force c
    wait "$events" || true
    kill "$holder"
}

@test "a terminal goes to the console socket, with its size and its changes" {
    configure "$BUNDLE" '.process.terminal = true'
    script_is 'tty; trap "stty size" WINCH; stty size; until read -r line && [ "$line" ]; do :; done; echo "got $line"; sleep 1; exit 3'
    run -1 create c
    grep -q 'cannot allocate tty' "$BATS_TEST_TMPDIR/c.err"
    python3 - "$microvm_program" "$STATE" "$BUNDLE" "$BATS_TEST_TMPDIR" <<'PYTHON'
import array, fcntl, os, select, socket, struct, subprocess, sys, termios, time
program, state, bundle, place = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX); listener.bind(place + "/console"); listener.listen()
call = lambda *words: subprocess.run([program, "--root", state, *words], stdin=subprocess.DEVNULL, check=True)
create = subprocess.Popen([program, "--root", state, "create", "--bundle", bundle, "--console-socket", place + "/console", "c"], stdin=subprocess.DEVNULL)
connection, _ = listener.accept()
data, ancillary, _, _ = connection.recvmsg(100, socket.CMSG_SPACE(4))
(master,) = array.array("i", ancillary[0][2])
assert data and create.wait() == 0
size = lambda rows, columns: fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
size(33, 77)
call("start", "c")
text = b""
def until(wanted):
    global text
    end = time.time() + 30
    while wanted not in text:
        assert time.time() < end, text
        if select.select([master], [], [], 1)[0]: text += os.read(master, 4096)
until(b"33 77")
size(20, 50)
until(b"20 50")
os.write(master, b"words\r")
until(b"got words")
PYTHON
    wait_for 20 is c stopped
}

@test "open files of the caller do not live on in what create starts" {
    command_is sleep 1000
    mkfifo "$BATS_TEST_TMPDIR/leak"
    exec 7<>"$BATS_TEST_TMPDIR/leak"
    create c
    exec 7>&-
    # Nobody has it open for writing any more.
    for fd in $(pgrep -f "^microvm" | sed 's|.*|/proc/&/fd|'); do
        [ -z "$(find "$fd" -lname '*leak' 2>/dev/null)" ]
    done
}

@test "engines' environment: no PATH, no HOME, an empty XDG_RUNTIME_DIR" {
    command_is true
    create c
    for words in 'state c' 'start c' 'list -q'; do
        # shellcheck disable=SC2086 # words
        run -0 env -i XDG_RUNTIME_DIR= "$microvm_program" --root "$STATE" $words
    done
    wait_for 20 is c stopped
    run -0 env -i "$microvm_program" --root "$STATE" delete --force c
}

@test "--debug: each step of a start and of an exec, in the log if there is one and else on standard error" {
    run -0 --separate-stderr microvm --debug run "$BUNDLE"
    [[ $stderr == *level=debug*': parse"'*': start"'*'ended with status 0"'* ]]
    launch c --debug --log "$BATS_TEST_TMPDIR/log"
    wait_for 20 is c stopped
    [ ! -s "$BATS_TEST_TMPDIR/c.err" ]
    grep -q 'level=debug msg="c: start"' "$BATS_TEST_TMPDIR/log"
    microvm delete c
    script_is 'while :; do sleep 1; done'
    launch c
    run -3 --separate-stderr microvm --debug exec c sh -c 'exit 3'
    [[ $stderr == *'level=debug msg="c: exec '*'ended with status 3"'* ]]
    run -3 --separate-stderr microvm exec c sh -c 'exit 3'
    [ -z "$stderr" ]
}

@test "--log --log-format json: a line in the file, the words on standard error" {
    run -1 --separate-stderr microvm --log "$BATS_TEST_TMPDIR/log" --log-format json state nobody
    [[ $stderr == *'does not exist'* ]]
    [ "$(jq -r .level "$BATS_TEST_TMPDIR/log")" = error ]
    [[ $(jq -r .msg "$BATS_TEST_TMPDIR/log") == *'does not exist'* ]]
    run -1 --separate-stderr microvm state nobody
    [[ $stderr == 'time="'*'" level=error msg="'* ]]
    command_is /no/such
    run -1 microvm --log "$BATS_TEST_TMPDIR/log2" --log-format=json create --bundle "$BUNDLE" c
    [[ $(jq -r .msg "$BATS_TEST_TMPDIR/log2") == *'/no/such'*'no such file or directory'* ]]
}

@test "run --detach leaves a running container behind, run --keep a stopped one" {
    command_is sleep 1000
    microvm run --detach --bundle "$BUNDLE" --pid-file "$BATS_TEST_TMPDIR/c.pid" c </dev/null >"$BATS_TEST_TMPDIR/c.out" 2>&1
    is c running
    kill -0 "$(pid_of c)"
    microvm delete --force c
    script_is 'exit 6'
    run -6 microvm run --keep --bundle "$BUNDLE" c
    is c stopped
    microvm delete c
}

@test "single-dash long options and flags that mean nothing here are taken" {
    command_is sleep 1000
    microvm -systemd-cgroup --rootless auto create -bundle "$BUNDLE" -no-pivot -no-new-keyring -pid-file "$BATS_TEST_TMPDIR/c.pid" c \
        </dev/null >/dev/null 2>&1
    [ "$(microvm ps -format json c)" = "[$(pid_of c)]" ]
    microvm delete -force c
}
