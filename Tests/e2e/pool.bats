#!/usr/bin/env bats
# Machines that wait: a start takes one, the next is made, and nothing of it is left.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load helper

setup_file() {
    setup_file_common
    export SETTINGS=$BATS_FILE_TMPDIR/config.toml
    printf '[pool]\nsize = 1\n' >"$SETTINGS"
}

setup() { setup_common; }

teardown() {
    microvm pool drain
    nothing_left
}

# waiting: keepers of machines that can be taken.
waiting() { microvm pool status --format json | jq '.[] | select(.state == "waiting").keeper'; }

# waits COUNT: whether so many wait, and none is being made.
waits() { [ "$(microvm pool status --format json | jq -r '[.[].state] | "\(length) \(map(select(. == "waiting")) | length)"')" = "$1 $1" ]; }

# stages: of the last start.
stages() { microvm why --json | jq -r '[.spans[].name] | join(" ")'; }

# machines KEEPER…: the VMMs of these.
machines() {
    local keeper
    for keeper in "$@"; do pgrep -P "$keeper" -x microvm-vmm; done
}

# bats test_tags=smoke
@test "a start takes the machine that waits, the next is made, and a drain leaves nothing" {
    script_is 'hostname; cat /proc/sys/kernel/random/boot_id; date +%s; echo done >/mnt/file'
    configure "$BUNDLE" 'del(.hostname)'
    # The first finds none, and has one made.
    run -0 --separate-stderr microvm run --settings "$SETTINGS" "$BUNDLE"
    [ "$stderr" = '' ]
    [[ $(stages) != *pool* ]]
    first=("${lines[@]}")
    wait_for 60 waits 1
    keeper=$(waiting)
    before=$(date +%s)
    run -0 --separate-stderr microvm --settings "$SETTINGS" run "$BUNDLE"
    [ "$stderr" = '' ]
    [[ $(stages) == *pool*create*start* && $(stages) != *resume* ]]
    # Its own name, identity and time.
    [[ ${lines[0]} == bundle-* && ${lines[0]} != "${first[0]}" ]]
    [ "${lines[1]}" != "${first[1]}" ]
    ((lines[2] >= before && lines[2] <= $(date +%s) + 1))
    [ "$(cat "$BUNDLE/rootfs/mnt/file")" = "done" ]
    wait_for 60 waits 1
    [ "$(waiting)" != "$keeper" ]
    run -0 microvm why --all
    [[ $output == *'1 start from the pool'* ]]
    microvm pool drain
    [ "$(waiting)" = '' ]
    nothing_left
    [ -z "$(find "$STATE/.pool" -mindepth 1 ! -name '.*')" ]
}

@test "engines' verbs, exec and snapshots work on a machine that waited" {
    script_is 'echo up; read -r word; echo "$word"'
    mkfifo "$BATS_TEST_TMPDIR/in"
    exec 7<>"$BATS_TEST_TMPDIR/in"
    microvm pool fill --size 1
    microvm run --detach --settings "$SETTINGS" --bundle "$BUNDLE" one <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/one.out" 2>&1 3>&-
    wait_for 60 said one up
    run -0 microvm exec one hostname
    microvm pause one
    is one paused
    microvm resume one
    microvm snapshot --stop one "$BATS_TEST_TMPDIR/snapshot"
    microvm delete one
    run -0 microvm restore "$BATS_TEST_TMPDIR/snapshot" <<<word
    [ "$output" = word ]
    wait_for 60 waits 1
}

@test "a machine that was taken is in its container's cgroup, and ends with its monitor" {
    script_is 'sleep 1000'
    configure "$BUNDLE" '.linux.cgroupsPath = "/taken" | .linux.resources.pids.limit = 1000'
    microvm pool fill --size 1
    vmm=$(machines "$(waiting)")
    launch taken --settings "$SETTINGS"
    monitor=$(jq .monitor "$STATE/taken/state.json")
    diff "/proc/$vmm/cgroup" "/proc/$monitor/cgroup"
    grep -q :/taken$ "/proc/$vmm/cgroup"
    kill -KILL "$monitor"
    wait_for 10 gone "$vmm"
    microvm delete --force taken
    [ -z "$(find /sys/fs/cgroup -maxdepth 2 -name taken)" ]
    wait_for 60 waits 1
}

@test "keepers that are killed leave no machine, and the next start sweeps up" {
    microvm pool fill --size 2
    mapfile -t keepers < <(waiting)
    mapfile -t vmms < <(machines "${keepers[@]}")
    [ "${#vmms[@]}" = 2 ]
    kill -KILL "${keepers[@]}"
    for vmm in "${vmms[@]}"; do wait_for 10 gone "$vmm"; done
    [ "$(find "$STATE/.pool" -mindepth 1 -maxdepth 1 -name '*.*' ! -name '.*' | wc -l)" = 2 ]
    run -0 --separate-stderr microvm run --settings "$SETTINGS" "$BUNDLE"
    [ "$stderr" = '' ]
    wait_for 60 waits 1
    [ "$(find "$STATE/.pool" -mindepth 1 -maxdepth 1 -name '*.*' ! -name '.*' | wc -l)" = 1 ]
}

@test "a machine that waits and dies is replaced; one that asks for something particular takes none" {
    microvm pool fill --size 1
    keeper=$(waiting)
    export MICROVM_TIMEOUT=240
    run -0 microvm run --settings "$SETTINGS" --memory 300M "$BUNDLE"
    run -0 microvm run --settings "$SETTINGS" --cold "$BUNDLE"
    [ "$(waiting)" = "$keeper" ]
    kill -KILL "$(machines "$keeper")"
    wait_for 10 waits 0
    run -0 --separate-stderr microvm run --settings "$SETTINGS" "$BUNDLE"
    [ "$stderr" = '' ]
    wait_for 60 waits 1
}

@test "three wait, and three starts at once take them" {
    microvm pool fill --size 3
    waits 3
    for name in a b c; do
        microvm run --bundle "$BUNDLE" "$name" 3>&- &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
    waits 3
    sed -i 's/1/3/' "$SETTINGS"
    pids=()
    for name in a b c; do
        microvm run --settings "$SETTINGS" --bundle "$BUNDLE" "$name" 3>&- &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
    for name in a b c; do [[ $(microvm why "$name" --json | jq -r '[.spans[].name] | join(" ")') == *pool* ]]; done
    wait_for 60 waits 3
    sed -i 's/3/1/' "$SETTINGS"
}

@test "machines that wait end when the host runs short of memory, and none is made" {
    [ -n "${MICROVM_LAB-}" ] || skip 'only where memory may be used up'
    microvm pool fill --size 2
    read -r _ available _ < <(grep MemAvailable /proc/meminfo)
    mkdir "$BATS_TEST_TMPDIR/memory"
    mount -t tmpfs -o size=100% none "$BATS_TEST_TMPDIR/memory"
    fallocate -l "$((available - 300000))K" "$BATS_TEST_TMPDIR/memory/file"
    wait_for 30 waits 0
    run ! microvm pool fill --size 1
    umount "$BATS_TEST_TMPDIR/memory"
    [[ $output == *'short of memory'* ]]
}

@test "settings that are wrong are refused by their name" {
    for text in $'[pool]\nsize = -1' $'[pool]\nsize = "2"' $'[pool]\nlength = 1' $'[cpu]\nn = 1' $'size = 1' $'[pool\nsize = 1'; do
        printf '%s\n' "$text" >"$BATS_TEST_TMPDIR/config.toml"
        run -65 microvm run --settings "$BATS_TEST_TMPDIR/config.toml" "$BUNDLE"
        [[ $output == *"$BATS_TEST_TMPDIR/config.toml"* ]]
    done
    run -66 microvm run --settings "$BATS_TEST_TMPDIR/none.toml" "$BUNDLE"
}
