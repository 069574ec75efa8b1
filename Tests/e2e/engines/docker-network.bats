#!/usr/bin/env bats
# docker's networks, with microvm as the runtime: docker makes them by a hook, the guest is in them.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load engines

setup_file() {
    only_in_lab
    start_docker '{"data-root": "%s"}'
    make_image "$BATS_FILE_TMPDIR/image.tar"
    docker import "$BATS_FILE_TMPDIR/image.tar" busybox
    serve_large
}

teardown_file() {
    stop_serving
    stop_docker
}

setup() { remember; }

teardown() {
    docker ps --all --quiet | xargs -r docker rm --force
    as_before
    [ "$(ip -o link | grep -c veth)" = 0 ]
}

run_in() { docker run --runtime microvm "$@"; }

@test "the default network: to the host, with large files arriving as they were" {
    run -0 --separate-stderr run_in --rm busybox sh -c 'ip -o -4 addr show eth0 | grep -o 172.17.0; wget -qO- http://172.17.0.1:8077/large | sha256sum'
    [ "${lines[*]}" = "172.17.0 $(large_sum)" ]
}

@test "-p: from the host into the container" {
    run_in -d --name web -p 18080:80 busybox sh -c 'echo hello >/tmp/index.html; httpd -f -p 80 -h /tmp'
    wait_for 20 sh -c 'docker exec web netstat -ltn | grep -q :80'
    [ "$(busybox wget -qO- http://127.0.0.1:18080/)" = hello ]
}

@test "from container to container on a network of one's own, by address and by name: docker's name server answers" {
    docker network create own
    run_in -d --name web --network own busybox sh -c 'echo hello >/tmp/index.html; httpd -f -p 80 -h /tmp'
    wait_for 20 sh -c 'docker exec web netstat -ltn | grep -q :80'
    address=$(docker inspect -f '{{.NetworkSettings.Networks.own.IPAddress}}' web)
    run -0 --separate-stderr run_in --rm --network own busybox sh -c "cat /etc/resolv.conf; wget -qO- http://$address/; wget -qO- http://web/; nslookup web"
    [[ $output == *'nameserver 127.0.0.11'* ]]
    [ "$(grep -c '^hello$' <<<"$output")" = 2 ]
    [[ $output == *"$address"* ]]
    # The container's own name as well, in one that goes on and from an exec.
    [[ $(docker exec web nslookup web) == *"$address"* ]]
    docker rm --force web
    docker network rm own
}
