#!/usr/bin/env bats
# kill -9 of each of our processes at each step of a container's life: afterwards delete --force cleans everything, and
# the next create with that id works.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load helper

setup_file() { setup_file_common; }

setup() {
    setup_common
    command_is sleep 1000
    configure "$BUNDLE" '.linux.cgroupsPath = "/microvm-bats/crash" | .linux.resources.pids.limit = 100'
}

teardown() {
    microvm delete --force c
    find /sys/fs/cgroup -type d -name microvm-bats -exec rmdir {} +
    nothing_left
}

# victim monitor|vmm|stand-in: its process id, of the only container there is.
victim() {
    case $1 in
    monitor) pgrep -f '^microvm monitor' ;;
    stand-in) pgrep -f '^microvm stand-in' ;;
    vmm) pgrep -x microvm-vmm ;;
    esac
}

# recovered: the id can be had again, and works.
recovered() {
    run -0 microvm delete --force c
    [ "$(pgrep -a '^microvm')" = '' ]
    [ -z "$(find /sys/fs/cgroup -type d -path '*/microvm-bats/*')" ]
    command_is true
    launch c
    wait_for 20 is c stopped
    microvm delete c
}

# Booted: going on from a template takes too little time to be killed in.
@test "while it is being created: whatever dies, create fails" {
    for who in monitor vmm stand-in; do
        create c --cold 3>&- &
        creating=$!
        wait_for 20 victim $who
        kill -KILL "$(victim $who)" || true
        status=0
        wait $creating || status=$?
        [ "$status" = 1 ]
        recovered
        command_is sleep 1000
    done
}

@test "the create command itself" {
    "$microvm_program" --root "$STATE" create --cold --bundle "$BUNDLE" c </dev/null >/dev/null 2>&1 3>&- &
    creating=$!
    wait_for 20 victim monitor
    kill -KILL $creating
    wait $creating || true
    wait_for 20 sh -c '! pgrep "^microvm"'
    recovered
}

@test "once it is created" {
    for who in monitor vmm stand-in; do
        create c
        kill -KILL "$(victim $who)"
        wait_for 20 is c stopped
        recovered
        command_is sleep 1000
    done
}

@test "while it runs" {
    for who in monitor vmm stand-in; do
        launch c
        kill -KILL "$(victim $who)"
        wait_for 20 is c stopped
        wait_for 20 gone "$(pid_of c)"
        recovered
        command_is sleep 1000
    done
}

@test "while a process is executed in it" {
    for who in monitor vmm stand-in; do
        launch c
        microvm exec c sleep 1000 3>&- &
        executing=$!
        wait_for 20 sh -c "[ \$('$microvm_program' --root '$STATE' ps c | grep -c 'sleep 1000') = 2 ]"
        kill -KILL "$(victim $who)"
        status=0
        wait $executing || status=$?
        [ "$status" != 0 ]
        recovered
        command_is sleep 1000
    done
}

@test "while it is paused" {
    for who in monitor vmm stand-in; do
        launch c
        microvm pause c
        kill -KILL "$(victim $who)"
        wait_for 20 is c stopped
        recovered
        command_is sleep 1000
    done
}

@test "delete itself, and again" {
    launch c
    timeout -s KILL 0.05 "$microvm_program" --root "$STATE" delete --force c || true
    recovered
}
