#!/usr/bin/env bats
# containerd, whose shim for runc runs microvm in runc's place.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load engines

setup_file() {
    only_in_lab
    start_containerd
    make_oci_image "$BATS_FILE_TMPDIR/image.tar" local/busybox:1
    ctr image import "$BATS_FILE_TMPDIR/image.tar"
    # As the CRI plugin passes it on, of what `microvm install` wrote.
    RUNTIME=$(containerd config dump | sed -n '/runtimes.microvm.options/,/^$/s/^ *BinaryName = "\(.*\)"/\1/p')
    RUNTIME_ROOT=$(containerd config dump | sed -n '/runtimes.microvm.options/,/^$/s/^ *Root = "\(.*\)"/\1/p')
    export RUNTIME RUNTIME_ROOT
    # Makes the template and the directory of the containers' state.
    run_in --rm local/busybox:1 first true
}

teardown_file() { stop_containerd; }

setup() { remember; }

teardown() {
    local name
    for name in $(ctr container list --quiet); do
        ctr task kill --signal SIGKILL --all "$name" 2>/dev/null || true
        wait_for 20 sh -c "! ctr task list | grep -q '^$name .*RUNNING'"
        ctr task rm --force "$name" 2>/dev/null || true
        ctr container rm "$name"
    done
    as_before
}

run_in() { ctr run --runtime io.containerd.runc.v2 --runc-binary "$RUNTIME" --runc-root "$RUNTIME_ROOT" "$@"; }

is() { ctr task list | grep -q "^$1 .*$2"; }

@test "install names the runtime to the CRI plugin" {
    [ "$RUNTIME" = "$(realpath "$microvm_program")" ]
    ctr plugins list | grep -q 'io.containerd.grpc.v1 *cri .*ok'
}

@test "run: output, input and status are the container's, in a kernel of its own" {
    run -7 --separate-stderr run_in --rm local/busybox:1 box sh -c 'read line; echo $line; echo err >&2; cat /proc/sys/kernel/random/boot_id; exit 7' <<<hello
    [ "${lines[0]}" = hello ]
    [ "${lines[1]}" != "$(cat /proc/sys/kernel/random/boot_id)" ]
    [ "$stderr" = err ]
}

@test "a task: exec, ps, pause, resume, metrics, signals, and its end" {
    run_in --detach local/busybox:1 box sh -c 'trap "exit 3" TERM; while :; do sleep 0.1; done' 3>&-
    is box RUNNING
    run -5 ctr task exec --exec-id one box sh -c 'hostname; exit 5'
    [ -n "$output" ]
    [ "$(ctr task exec --exec-id two --cwd /tmp --user 1000 box sh -c 'pwd; id -u' | tr '\n' ' ')" = '/tmp 1000 ' ]
    [[ $(ctr task ps box) == *PID*[0-9]* ]]
    ctr task pause box
    is box PAUSED
    ctr task resume box
    is box RUNNING
    metrics=$(ctr task metrics box)
    [[ $metrics == *memory.usage* && $metrics == *cpu.usage_usec* ]]
    ctr task kill --signal SIGTERM box
    wait_for 20 is box STOPPED
    run ctr task rm box
    [[ $output == *'exit code 3'* ]]
}

@test "an exec is killed by its id, and the container goes on" {
    run_in --detach local/busybox:1 box sleep 1000 3>&-
    ctr task exec --exec-id one box sleep 1000 3>&- &
    exec=$!
    wait_for 20 sh -c 'ctr task ps box | grep -q one'
    ctr task kill --exec-id one --signal SIGKILL box
    ended 137 "$exec"
    is box RUNNING
}

@test "-t: a terminal, in the foreground and for exec" {
    run -0 script -qec "stty rows 31 cols 71; ctr run --rm -t --runc-binary $RUNTIME --runc-root $RUNTIME_ROOT local/busybox:1 box sh -c 'tty; sleep 1; stty size'" /dev/null
    [[ $output == *'/dev/'* ]]
    [[ $output == *'31 71'* ]]
    run_in --detach local/busybox:1 box sleep 1000 3>&-
    run -0 script -qec 'ctr task exec --exec-id one -t box tty' /dev/null
    [[ $output == *'/dev/pts/'* ]]
}

@test "a memory limit holds" {
    run -137 run_in --rm --memory-limit 33554432 local/busybox:1 box tail /dev/zero
}

@test "mounts, a read-only root, environment" {
    mkdir "$BATS_TEST_TMPDIR/volume"
    run -0 run_in --rm --read-only --env A=b --mount "type=bind,src=$BATS_TEST_TMPDIR/volume,dst=/mnt,options=rbind:rw" \
        local/busybox:1 box sh -c 'touch /file 2>&1; echo $A >/mnt/file'
    [[ $output == *'Read-only'* ]]
    [ "$(cat "$BATS_TEST_TMPDIR/volume/file")" = b ]
}

@test "--rm leaves nothing; a program that is not there leaves nothing" {
    run_in --rm local/busybox:1 box true
    run ! run_in --rm local/busybox:1 box /no/such
    [[ $output == *'/no/such'* ]]
    [ -z "$(ctr container list --quiet)$(ctr task list --quiet)" ]
    as_before
}
