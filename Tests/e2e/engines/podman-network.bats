#!/usr/bin/env bats
# podman's networks, with microvm as its runtime: podman makes them, the guest is in them.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load engines

setup_file() {
    only_in_lab
    configure_podman
    make_image "$BATS_FILE_TMPDIR/image.tar"
    podman import "$BATS_FILE_TMPDIR/image.tar" busybox
    serve_large
}

teardown_file() { stop_serving; }

setup() { remember; }

teardown() {
    podman pod rm --all --force --time 1
    podman rm --all --force --time 1
    as_before
    [ "$(ip -o link | grep -c veth)" = 0 ]
}

run_in() { podman run --runtime microvm "$@"; }

@test "the default network: to the host, with large files arriving as they were" {
    run -0 --separate-stderr run_in --rm busybox sh -c 'ip -o -4 addr show eth0 | grep -o 10.88.0; wget -qO- http://10.88.0.1:8077/large | sha256sum'
    [ "${lines[*]}" = "10.88.0 $(large_sum)" ]
}

@test "-p: from the host into the container" {
    run_in -d --name web -p 18080:80 busybox sh -c 'echo hello >/tmp/index.html; httpd -f -p 80 -h /tmp'
    wait_for 20 sh -c 'podman exec web netstat -ltn | grep -q :80'
    [ "$(busybox wget -qO- http://127.0.0.1:18080/)" = hello ]
    [ "$(busybox wget -qO- "http://$(podman inspect -f '{{.NetworkSettings.IPAddress}}' web)/")" = hello ]
}

@test "from container to container: by address, and on a network of one's own by name" {
    podman network create own
    run_in -d --name web --network own busybox sh -c 'echo hello >/tmp/index.html; httpd -f -p 80 -h /tmp'
    wait_for 20 sh -c 'podman exec web netstat -ltn | grep -q :80'
    address=$(podman inspect -f '{{.NetworkSettings.Networks.own.IPAddress}}' web)
    run -0 --separate-stderr run_in --rm --network own busybox wget -qO- "http://$address/"
    [ "$output" = hello ]
    run -0 --separate-stderr run_in --rm --network own busybox wget -qO- http://web/
    [ "$output" = hello ]
    podman rm --force --time 1 web
    podman network rm own
}

@test "two networks are two interfaces" {
    podman network create --subnet 10.91.0.0/24 first
    podman network create --subnet 10.92.0.0/24 second
    run -0 --separate-stderr run_in --rm --network first --network second busybox sh -c 'ip -o -4 addr | grep -o "eth[0-9].*inet 10.9[12].0"'
    [ "${#lines[@]}" = 2 ]
    podman network rm first second
}

@test "--network none: a loopback only; --network host: the same" {
    for network in none host; do
        run -0 --separate-stderr run_in --rm --network "$network" busybox ls /sys/class/net
        [ "$output" = lo ]
    done
}

@test "a pod: one kernel, one localhost, one published port; containers come and go" {
    podman --runtime microvm pod create --name pod -p 18081:80
    run_in -d --pod pod --name web busybox sh -c 'echo hello >/tmp/index.html; httpd -f -p 80 -h /tmp'
    wait_for 20 sh -c 'podman exec web netstat -ltn | grep -q :80'
    run -0 --separate-stderr run_in --rm --pod pod busybox sh -c 'wget -qO- http://127.0.0.1/; cat /proc/sys/kernel/random/boot_id'
    [ "${lines[*]}" = "hello $(podman exec web cat /proc/sys/kernel/random/boot_id)" ]
    [ "$(busybox wget -qO- http://127.0.0.1:18081/)" = hello ]
    podman pod stop --time 1 pod
    podman pod start pod
    podman pod rm --force --time 1 pod
}

@test "--network container: runs in that container's machine" {
    run_in -d --name web busybox sh -c 'echo hello >/tmp/index.html; httpd -f -p 80 -h /tmp'
    wait_for 20 sh -c 'podman exec web netstat -ltn | grep -q :80'
    run -0 --separate-stderr run_in --rm --network container:web busybox wget -qO- http://127.0.0.1/
    [ "$output" = hello ]
}
