#!/usr/bin/env bats
# microvm exec: further processes in a container, in the foreground and for engines.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load helper

setup_file() { setup_file_common; }

setup() {
    setup_common
    script_is 'echo ready; sleep 1000'
    launch c
    wait_for 20 said c ready
}

teardown() {
    microvm delete --force c
    nothing_left
}

@test "it runs in the container's guest, not on this host, and its status comes back" {
    run -9 --separate-stderr microvm exec c sh -c 'cat /proc/sys/kernel/random/boot_id; echo err >&2; exit 9'
    [ "$output" != "$(cat /proc/sys/kernel/random/boot_id)" ]
    [ "$stderr" = err ]
    [[ $(microvm exec c sh -c 'tr "\000" " " </proc/1/cmdline') == *'sleep 1000'* ]]
    run -137 microvm exec c sh -c 'kill -9 $$'
}

@test "environment, directory, user, groups, capabilities" {
    run -0 microvm exec -e GREETING='hello world' --env B=2 --cwd /tmp --user 1000:1001 -g 5 --additional-gids 6 c \
        sh -c 'echo "$GREETING $B $(pwd) $(id -u):$(id -g) $(id -G)"'
    [ "$output" = 'hello world 2 /tmp 1000:1001 1001 5 6' ]
    run -0 microvm exec --cap CAP_SYS_TIME c grep CapEff /proc/self/status
    [[ $output == *'2'* ]]
    run -0 microvm exec --no-new-privs c grep NoNewPrivs /proc/self/status
    [[ $output == *1 ]]
}

@test "-t in the foreground: the process has a terminal of the guest's, with the caller's size" {
    run -0 script -qec "stty rows 31 cols 91; '$microvm_program' --root '$STATE' exec -t c sh -c 'tty; stty size'" /dev/null </dev/null
    [[ $output == *'/dev/pts/0'*'31 91'* ]]
}

@test "--preserve-fds: open files of the caller's are the process's, their numbers kept" {
    echo carried >"$BATS_TEST_TMPDIR/in"
    # Not in this shell, whose own descriptors bats uses.
    export IN=$BATS_TEST_TMPDIR/in OUT=$BATS_TEST_TMPDIR/out
    run -0 bash -c 'exec "$0" --root "$STATE" exec --preserve-fds 2 c sh -c "cat <&3 >&4; cd /proc/\$\$/fd; echo *" 3<"$IN" 4>"$OUT"' "$microvm_program"
    # 5 is the directory that is being read.
    [ "$output" = '0 1 2 3 4 5' ]
    [ "$(cat "$BATS_TEST_TMPDIR/out")" = carried ]
}

@test "--cgroup: the process is in a cgroup below the container's, which must be there" {
    configure "$BUNDLE" '.mounts |= map(if .type == "cgroup" then .options -= ["ro"] else . end)'
    launch d
    microvm exec d mkdir /sys/fs/cgroup/below
    [[ $(microvm exec --cgroup below d cat /proc/self/cgroup) == */below ]]
    run -255 microvm exec --cgroup none d true
    [[ $output == *none* ]]
    run -255 microvm exec --cgroup .. d true
    microvm delete --force d
}

@test "standard input and its end" {
    [ "$(head -c 100000 /dev/zero | microvm exec c wc -c)" = 100000 ]
}

@test "what is not there: 255, in runc's words" {
    run -255 microvm exec c /no/such
    [[ $output == *'/no/such'*'no such file or directory'* ]]
    run -255 microvm exec c nothing-of-the-kind
    [[ $output == *'executable file not found in $PATH'* ]]
    run -255 microvm exec nobody true
    [[ $output == *'does not exist'* ]]
    run -255 microvm exec c /etc/passwd
    [[ $output == *'permission denied'* ]]
}

@test "a process of engines: --process, --detach, --pid-file; ps lists it and its end is told" {
    jq '.process | .args = ["sh", "-c", "echo from exec; sleep 2; exit 4"]' "$BUNDLE/config.json" >"$BATS_TEST_TMPDIR/process"
    run -0 python3 - "$microvm_program" "$STATE" "$BATS_TEST_TMPDIR" <<'PYTHON'
import ctypes, json, os, subprocess, sys
program, state, place = sys.argv[1:]
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
with open(place + "/exec.out", "w") as out:
    subprocess.run([program, "--root", state, "exec", "--process", place + "/process", "--detach", "--pid-file", place + "/exec.pid", "c"],
        stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True)
os.remove(place + "/process")
pid = int(open(place + "/exec.pid").read())
listed = json.loads(subprocess.run([program, "--root", state, "ps", "--format", "json", "c"], capture_output=True, check=True).stdout)
assert pid in listed, listed
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), open(place + "/exec.out").read().strip())
PYTHON
    [ "$output" = '4 from exec' ]
}

@test "a terminal for a detached process goes to the console socket, with the size its process asks for" {
    python3 - "$microvm_program" "$STATE" "$BATS_TEST_TMPDIR" <<'PYTHON'
import array, json, os, select, socket, subprocess, sys, time
program, state, place = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX); listener.bind(place + "/console"); listener.listen()
process = {"terminal": True, "consoleSize": {"height": 10, "width": 110}, "args": ["sh", "-c", "stty size; tty; sleep 1"], "cwd": "/", "env": ["PATH=/bin"]}
reading, writing = os.pipe()
with os.fdopen(writing, "w") as file: json.dump(process, file)
run = subprocess.Popen([program, "--root", state, "exec", "--tty", "--detach", "--console-socket", place + "/console", "--process", f"/dev/fd/{reading}", "c"],
    stdin=subprocess.DEVNULL, pass_fds=[reading])
connection, _ = listener.accept()
_, ancillary, _, _ = connection.recvmsg(100, socket.CMSG_SPACE(4))
(master,) = array.array("i", ancillary[0][2])
assert run.wait() == 0
text, end = b"", time.time() + 20
while b"/dev/pts/" not in text:
    assert time.time() < end, text
    if select.select([master], [], [], 1)[0]: text += os.read(master, 4096)
assert b"10 110" in text, text
PYTHON
}

@test "ending the process on this host ends the one in the guest" {
    jq '.process | .args = ["sh", "-c", "exec sleep 4321"]' "$BUNDLE/config.json" >"$BATS_TEST_TMPDIR/process"
    microvm exec --process "$BATS_TEST_TMPDIR/process" -d --pid-file "$BATS_TEST_TMPDIR/exec.pid" c </dev/null >/dev/null 2>&1
    wait_for 10 sh -c "'$microvm_program' --root '$STATE' ps c | grep -q 4321"
    kill -KILL "$(cat "$BATS_TEST_TMPDIR/exec.pid")"
    wait_for 10 sh -c "! '$microvm_program' --root '$STATE' ps c | grep -q 4321"
    is c running
}

@test "twenty at once" {
    for number in {1..20}; do
        microvm exec c sh -c "sleep 0.5; echo $number" >"$BATS_TEST_TMPDIR/$number.txt" 3>&- &
        pids[number]=$!
    done
    for number in {1..20}; do
        wait "${pids[number]}"
        [ "$(cat "$BATS_TEST_TMPDIR/$number.txt")" = "$number" ]
    done
}

@test "what a process leaves behind does not hold the command up" {
    MICROVM_TIMEOUT=9 run -0 microvm exec c sh -c 'sleep 1000 & echo fine'
    [ "$output" = fine ]
}

@test "exec in a container that is created: its own program waits on" {
    create d
    [ "$(microvm exec d echo here)" = here ]
    is d created
    microvm start d
    wait_for 20 said d ready
    microvm delete --force d
}

@test "exec in a stopped container" {
    microvm kill c KILL
    wait_for 20 is c stopped
    run -255 microvm exec c true
    [[ $output == *'not running'* ]]
}
