#!/usr/bin/env bats
# podman as a user who is not root, with microvm as its runtime: state, cgroups and namespaces are that user's.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load engines

setup_file() {
    only_in_lab
    useradd --create-home somebody
    echo somebody:100000:65536 >/etc/subuid
    echo somebody:100000:65536 >/etc/subgid
    # As udev's rule for the group kvm has it, for everybody.
    chmod 666 /dev/kvm /dev/net/tun
    export HOME_DIR=$ENGINE_DATA/somebody RUNTIME_DIR=/run/user/somebody
    mkdir -p "$HOME_DIR" "$RUNTIME_DIR" /etc/containers
    chmod 700 "$RUNTIME_DIR"
    chown somebody "$HOME_DIR" "$RUNTIME_DIR"
    chmod 755 "$MICROVM_LAB_SCRATCH" "$ENGINE_DATA"
    printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' >/etc/containers/containers.conf
    "$microvm_program" install --podman
    IMAGE=/tmp/image.tar
    make_image "$IMAGE"
    chmod 644 "$IMAGE"
    as_user podman import "$IMAGE" busybox
    # An address of the host's that is not at its loopback, which slirp4netns keeps containers from.
    ip addr add 10.66.0.1/32 dev lo
    serve_large
}

teardown_file() { stop_serving; }

setup() { remember; }

teardown() {
    as_user podman rm --all --force --time 1
    as_before
    [ -z "$(ls "$RUNTIME_DIR/microvm")" ]
}

# as_user COMMAND…
as_user() {
    (cd / && setpriv --reuid somebody --regid somebody --init-groups env -i PATH="$PATH" HOME="$HOME_DIR" XDG_RUNTIME_DIR="$RUNTIME_DIR" "$@")
}

run_in() { as_user podman run --runtime microvm --network "${network:-none}" "$@"; }

@test "run: output, input and status; root in the container is the user outside" {
    mkdir "$HOME_DIR/volume"
    chown somebody "$HOME_DIR/volume"
    run -7 --separate-stderr run_in --rm -i -v "$HOME_DIR/volume:/volume" busybox sh -c 'cat; id -u; echo x >/volume/file; exit 7' <<<hello
    [ "${lines[*]}" = 'hello 0' ]
    [ "$(stat -c %U "$HOME_DIR/volume/file")" = somebody ]
}

@test "-d, exec, logs, stop" {
    run_in -d --name c busybox sh -c 'echo started; trap "exit 3" TERM; while :; do sleep 0.1; done'
    run -0 as_user podman exec c sh -c 'cat /proc/sys/kernel/random/boot_id'
    [ "$output" != "$(cat /proc/sys/kernel/random/boot_id)" ]
    [ "$(as_user podman logs c)" = started ]
    as_user podman stop --time 10 c
    [ "$(as_user podman inspect -f '{{.State.ExitCode}}' c)" = 3 ]
}

@test "slirp4netns: to the host, and from it by a published port" {
    network=slirp4netns:port_handler=slirp4netns
    run -0 --separate-stderr run_in --rm busybox sh -c 'ip -o -4 addr show tap0 | grep -o 10.0.2.100; wget -qO- http://10.66.0.1:8077/large | sha256sum'
    [ "${lines[*]}" = "10.0.2.100 $(large_sum)" ]
    run_in -d --name web -p 18082:80 busybox sh -c 'echo hello >/tmp/index.html; httpd -f -p 80 -h /tmp'
    wait_for 20 sh -c 'busybox wget -qO- http://127.0.0.1:18082/ | grep -q hello'
}
