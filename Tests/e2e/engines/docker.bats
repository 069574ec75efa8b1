#!/usr/bin/env bats
# docker with microvm among its runtimes.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load engines

setup_file() {
    only_in_lab
    start_docker '{"data-root": "%s", "iptables": false, "bridge": "none", "ip-forward": false}'
    make_image "$BATS_FILE_TMPDIR/image.tar"
    docker import "$BATS_FILE_TMPDIR/image.tar" busybox
}

teardown_file() { stop_docker; }

setup() { remember; }

teardown() {
    docker ps --all --quiet | xargs -r docker rm --force
    as_before
}

run_in() { docker run --runtime microvm --network none "$@"; }

@test "run: output, input and status are the container's, in a kernel of its own" {
    run -7 --separate-stderr run_in --rm -i busybox sh -c 'cat; echo err >&2; cat /proc/sys/kernel/random/boot_id; exit 7' <<<hello
    [ "${lines[0]}" = hello ]
    [ "${lines[1]}" != "$(cat /proc/sys/kernel/random/boot_id)" ]
    [ "$stderr" = err ]
}

@test "-d, ps, logs, exec, top, stats, pause, update, stop" {
    run_in -d --name box --memory 128m busybox sh -c 'echo started; trap "exit 3" TERM; while :; do sleep 0.1; done'
    wait_for 10 sh -c 'docker logs box | grep -q started'
    [ "$(docker ps --format '{{.Names}}')" = box ]
    [ "$(docker exec box hostname)" = "$(docker inspect -f '{{.Config.Hostname}}' box)" ]
    run -5 docker exec -e A=b box sh -c 'echo $A; exit 5'
    [ "$output" = b ]
    [[ $(docker top box) == *microvm* ]]
    [ "$(docker stats --no-stream --format '{{.Name}}' box)" = box ]
    docker pause box
    [ "$(docker inspect -f '{{.State.Status}}' box)" = paused ]
    docker unpause box
    docker update --memory 100m --memory-swap 100m --pids-limit 50 box
    [ "$(docker exec box cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max | tr '\n' ' ')" = '104857600 50 ' ]
    docker stop --time 10 box
    [ "$(docker inspect -f '{{.State.ExitCode}}' box)" = 3 ]
    docker start box
    [ "$(docker inspect -f '{{.State.Status}}' box)" = running ]
}

@test "kill: a signal, and the end by one" {
    run_in -d --name box busybox sh -c 'trap "echo usr1" USR1; echo ready; while :; do sleep 0.1; done'
    wait_for 10 sh -c 'docker logs box | grep -q ready'
    docker kill --signal USR1 box
    wait_for 10 sh -c 'docker logs box | grep -q usr1'
    docker kill box
    [ "$(docker wait box)" = 137 ]
}

@test "-t: a terminal, in the foreground and for exec" {
    run -0 script -qec 'stty rows 31 cols 71; docker run --rm -it --runtime microvm --network none busybox sh -c "tty; sleep 1; stty size"' /dev/null
    [[ $output == *'/dev/'* ]]
    [[ $output == *'31 71'* ]]
    run_in -d --name box busybox sleep 1000
    run -0 script -qec 'docker exec -it box tty' /dev/null
    [[ $output == *'/dev/pts/'* ]]
}

@test "limits: --memory, --cpus, --pids-limit hold in the guest" {
    # docker takes no more than this machine has.
    local cpus=1.5 whole=2 quota=150000
    [ "$(nproc)" -gt 1 ] || { cpus=0.5 whole=1 quota=50000; }
    run -0 --separate-stderr run_in --rm --memory 64m --cpus "$cpus" --pids-limit 77 busybox sh -c 'nproc; cd /sys/fs/cgroup; cat memory.max pids.max cpu.max'
    [ "${lines[*]}" = "$whole 67108864 77 $quota 100000" ]
}

@test "running out of memory is told as that" {
    run -137 run_in --name box --memory 32m --memory-swap 32m busybox sh -c 'tail /dev/zero'
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

@test "what is not there: 127; what cannot be executed: 126" {
    run -127 run_in --rm busybox /no/such
    run -126 run_in --rm busybox /etc/passwd
}

@test "a container whose process on the host is killed has ended by that signal" {
    run_in -d --name box busybox sleep 1000
    kill -KILL "$(docker inspect -f '{{.State.Pid}}' box)"
    [ "$(docker wait box)" = 137 ]
}

@test "--rm leaves nothing" {
    run_in --rm busybox true
    [ -z "$(docker ps --all --quiet)" ]
    as_before
}
