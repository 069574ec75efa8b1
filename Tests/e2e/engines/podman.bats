#!/usr/bin/env bats
# podman, as root, with microvm as its runtime.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load engines

setup_file() {
    only_in_lab
    configure_podman
    make_image "$BATS_FILE_TMPDIR/image.tar"
    podman import "$BATS_FILE_TMPDIR/image.tar" busybox
}

setup() { remember; }

teardown() {
    podman rm --all --force --time 1
    as_before
}

# Without a network: podman-network.bats is about those.
run_in() { podman run --runtime microvm --network none "$@"; }

@test "run: output, input and status are the container's, in a kernel of its own" {
    run -7 --separate-stderr run_in --rm -i busybox sh -c 'cat; echo err >&2; cat /proc/sys/kernel/random/boot_id; exit 7' <<<hello
    [ "${lines[0]}" = hello ]
    [ "${lines[1]}" != "$(cat /proc/sys/kernel/random/boot_id)" ]
    [ "$stderr" = err ]
}

@test "-d, ps, logs, exec, inspect, top, stats, pause, stop" {
    run_in -d --name c busybox sh -c 'echo started; trap "exit 3" TERM; while :; do sleep 0.1; done'
    wait_for 10 sh -c 'podman logs c | grep -q started'
    [ "$(podman ps --format '{{.Names}}')" = c ]
    [ "$(podman exec c hostname)" = "$(podman inspect -f '{{.Config.Hostname}}' c)" ]
    run -5 podman exec -e A=b c sh -c 'echo $A; exit 5'
    [ "$output" = b ]
    [[ $(podman exec c ps) == *'while :'* ]]
    [[ $(podman top c) == *microvm* ]]
    [ "$(podman stats --no-stream --format '{{.Name}}' c)" = c ]
    podman pause c
    [ "$(podman inspect -f '{{.State.Status}}' c)" = paused ]
    podman unpause c
    podman stop --time 10 c
    [ "$(podman inspect -f '{{.State.ExitCode}}' c)" = 3 ]
    podman start c
    [ "$(podman inspect -f '{{.State.Status}}' c)" = running ]
}

@test "kill: a signal, and the end by one" {
    run_in -d --name c busybox sh -c 'trap "echo usr1" USR1; echo ready; while :; do sleep 0.1; done'
    wait_for 10 sh -c 'podman logs c | grep -q ready'
    podman kill --signal USR1 c
    wait_for 10 sh -c 'podman logs c | grep -q usr1'
    podman kill c
    [ "$(podman wait c)" = 137 ]
}

@test "-t: a terminal, in the foreground and for exec" {
    run -0 script -qec 'stty rows 31 cols 71; podman run --rm -it --runtime microvm --network none busybox sh -c "tty; stty size"' /dev/null
    [[ $output == *'/dev/'* ]]
    [[ $output == *'31 71'* ]]
    run_in -d --name c busybox sleep 1000
    run -0 script -qec 'podman exec -it c tty' /dev/null
    [[ $output == *'/dev/pts/'* ]]
}

@test "limits: --memory, --cpus, --pids-limit hold in the guest and on the host" {
    run_in -d --name c --memory 64m --cpus 1.5 --pids-limit 77 busybox sleep 1000
    run -0 podman exec c sh -c 'nproc; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max'
    [ "${lines[*]}" = '2 67108864 77' ]
    cgroup=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(podman inspect -f '{{.State.Pid}}' c)/cgroup")
    [ "$(cat "$cgroup"/memory.max "$cgroup"/pids.max "$cgroup"/cpu.max | tr '\n' ' ')" = '67108864 77 150000 100000 ' ]
}

@test "running out of memory is told as that" {
    run -137 run_in --name c --memory 32m --memory-swap 32m busybox sh -c 'tail /dev/zero'
    [ "$(podman inspect -f '{{.State.OOMKilled}}' c)" = true ]
}

@test "--read-only, --tmpfs, -v, --user, --cap-drop, --security-opt" {
    mkdir "$BATS_TEST_TMPDIR/volume"
    chmod 777 "$BATS_TEST_TMPDIR/volume"
    run -0 run_in --rm --read-only --tmpfs /scratch:mode=1777 -v "$BATS_TEST_TMPDIR/volume:/volume" --user 1000 --cap-drop ALL \
        --security-opt no-new-privileges busybox \
        sh -c 'id -u; touch /file 2>&1; echo x >/scratch/a; echo y >/volume/b; grep -E "CapEff|NoNewPrivs" /proc/self/status | tr -d "\t"'
    echo "$output"
    [ "${lines[0]}" = 1000 ]
    [[ ${lines[1]} == *'Read-only'* ]]
    [ "${lines[2]} ${lines[3]}" = 'CapEff:0000000000000000 NoNewPrivs:1' ]
    [ "$(cat "$BATS_TEST_TMPDIR/volume/b") $(stat -c %u "$BATS_TEST_TMPDIR/volume/b")" = 'y 1000' ]
}

@test "--privileged is root over the guest" {
    run -0 run_in --rm --privileged busybox sh -c 'mount -t tmpfs none /tmp && echo mounted'
    [ "$output" = mounted ]
}

@test "what is not there: 127; what cannot be executed: 126" {
    run -127 run_in --rm busybox /no/such
    run -126 run_in --rm busybox /etc/passwd
}

@test "volumes of podman's own" {
    podman volume create data
    run_in --rm -v data:/data busybox sh -c 'echo kept >/data/file'
    [ "$(run_in --rm -v data:/data busybox cat /data/file)" = kept ]
    podman volume rm data
}

@test "--rm leaves nothing" {
    run_in --rm busybox true
    [ -z "$(podman ps --all --quiet)" ]
    as_before
}
