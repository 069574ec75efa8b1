#!/usr/bin/env bats
# A container that joins the network namespace of another's process runs in the other's virtual machine, as a pod's do.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats assigns
load helper

setup_file() { setup_file_common; }

setup() { setup_common; }

teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || for id in $(microvm list --quiet); do microvm delete --force "$id"; done
    nothing_left
}

# join ID [NAMESPACE…]: a bundle for a container in the network namespace, and those named, of container ID; its path in $BUNDLE.
join() {
    local id=$1 type
    shift
    BUNDLE=$BATS_TEST_TMPDIR/member$((++members))
    make_bundle "$BUNDLE"
    for type in network "$@"; do
        configure "$BUNDLE" '(.linux.namespaces[] | select(.type == $t)).path = $p' --arg t "$type" --arg p "/proc/$(pid_of "$id")/ns/$(host_name "$type")"
    done
}

host_name() { case $1 in network) echo net ;; *) echo "$1" ;; esac; }

boot_id=/proc/sys/kernel/random/boot_id

@test "it is in the same kernel, at the same localhost, with files and processes of its own" {
    script_is "cat $boot_id; echo first >/tmp/own; (while :; do echo hello | nc -l -p 5000; done) & echo up; sleep 1000"
    launch first
    wait_for 20 said first up
    join first
    mkdir "$BATS_TEST_TMPDIR/volume"
    configure "$BUNDLE" '.mounts += [{destination: "/volume", type: "bind", source: $s, options: ["bind", "rw"]}]' --arg s "$BATS_TEST_TMPDIR/volume"
    script_is "cat $boot_id; nc 127.0.0.1 5000 </dev/null; ls /tmp; echo kept >/volume/file; ps | grep -c 'sleep 1000'; exit 7"
    run -7 --separate-stderr microvm run "$BUNDLE"
    [ "${lines[0]}" = "$(head -n 1 "$BATS_TEST_TMPDIR/first.out")" ]
    [ "${lines[1]} ${#lines[@]}" = 'hello 3' ]
    [ "$(cat "$BATS_TEST_TMPDIR/volume/file")" = kept ]
    microvm kill first KILL
    wait_for 10 is first stopped
    microvm delete first
}

@test "create, start, exec, kill, delete; nothing of it stays in the machine" {
    command_is sleep 1000
    launch first
    join first ipc uts
    script_is 'hostname; echo up; sleep 1001'
    launch second
    wait_for 20 said second up
    [ "$(head -n 1 "$BATS_TEST_TMPDIR/second.out")" = "$(microvm exec first hostname)" ]
    [ "$(microvm exec second cat $boot_id)" = "$(microvm exec first cat $boot_id)" ]
    [ "$(microvm exec first readlink /proc/self/ns/ipc)" = "$(microvm exec second readlink /proc/self/ns/ipc)" ]
    [ "$(microvm exec first readlink /proc/self/ns/mnt)" != "$(microvm exec second readlink /proc/self/ns/mnt)" ]
    [ "$(jq -r .machineOf "$STATE/second/state.json")" = first ]
    microvm kill second KILL
    wait_for 10 is second stopped
    [ "$(jq .exitStatus "$STATE/second/state.json")" = 137 ]
    microvm delete second
    launch second
    microvm delete --force second
    is first running
    microvm delete --force first
}

@test "it ends when its monitor is killed, and when its machine does" {
    script_is 'echo up; sleep 1000'
    launch first
    join first
    script_is 'echo up; sleep 1001'
    launch second
    launch third
    kill -KILL "$(jq .monitor "$STATE/second/state.json")"
    wait_for 10 gone "$(pid_of second)"
    microvm delete --force second
    is first running
    is third running
    microvm kill first KILL
    wait_for 20 is third stopped
    microvm delete third
    microvm delete first
}

@test "a machine with several containers is not saved" {
    command_is sleep 1000
    launch first
    join first
    command_is sleep 1000
    launch second
    run ! microvm snapshot first "$BATS_TEST_TMPDIR/saved"
    [[ $output == *'several containers'* ]]
    microvm delete --force second
    microvm delete --force first
}
