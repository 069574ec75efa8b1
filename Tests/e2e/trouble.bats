#!/usr/bin/env bats
# When something breaks while a container runs: the caller hears what, and nothing is left.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load helper

setup_file() { setup_file_common; }
setup() { setup_common; }
teardown() { nothing_left; }

# start: run the bundle in the background until it has printed "ready".
start() {
    microvm run "$BUNDLE" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&- &
    runner=$!
    wait_for 50 grep -q ready "$BATS_TEST_TMPDIR/out"
}

@test "the VMM is killed: status 120 and a line that says so" {
    script_is 'echo ready; sleep 1000'
    start
    pkill -KILL -x microvm-vmm
    ended 120 "$runner"
    grep -qi 'monitor' "$BATS_TEST_TMPDIR/err"
}

@test "the command line is killed: its machine goes too" {
    script_is 'echo ready; sleep 1000'
    start
    pkill -KILL -f "^$microvm_program .* run $BUNDLE"
    ended 137 "$runner"
    wait_for 10 sh -c '! pgrep -x microvm-vmm'
    # What it left in the state directory is known to be dead, and goes.
    id=$(ls "$STATE")
    microvm delete --force "$id"
}

@test "the guest panics: status 121, and the console's last words are shown" {
    all_capabilities
    script_is 'echo c >/proc/sysrq-trigger; sleep 10'
    run -121 microvm run "$BUNDLE"
    [[ $output == *panic* ]]
}

@test "the guest runs out of memory: the container is ended, not the caller's patience" {
    script_is 'tail /dev/zero'
    run ! microvm run --memory 96M "$BUNDLE"
}

@test "a container that ignores SIGTERM is ended by SIGKILL" {
    script_is 'trap "" TERM; echo ready; while :; do sleep 1; done'
    start
    pkill -TERM -f "^$microvm_program .* run $BUNDLE"
    sleep 1
    kill -0 "$runner"
    pkill -KILL -x microvm-vmm
    ended 120 "$runner"
}

@test "stdout closed early ends a program that goes on writing" {
    script_is 'yes'
    microvm run "$BUNDLE" 2>/dev/null | head -c 10000 | wc -c >"$BATS_TEST_TMPDIR/count"
    [ "$(cat "$BATS_TEST_TMPDIR/count")" = 10000 ]
}

@test "a full disk under a share is the container's ENOSPC" {
    mkdir "$BATS_TEST_TMPDIR/small"
    mount -t tmpfs -o size=1m none "$BATS_TEST_TMPDIR/small"
    configure "$BUNDLE" '.mounts += [{destination: "/mnt", source: $s, options: ["bind"]}]' --arg s "$BATS_TEST_TMPDIR/small"
    script_is 'dd if=/dev/zero of=/mnt/file bs=64k count=128'
    run ! microvm run "$BUNDLE"
    umount "$BATS_TEST_TMPDIR/small"
    [[ $output == *'No space left'* ]]
}
