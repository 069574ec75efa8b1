# shellcheck shell=bash disable=SC2154
# Loaded by the engines' tests, which configure the machine they run on: in the lab only.
load ../helper

# only_in_lab: engines keep their images and state where the lab's disk is.
only_in_lab() {
    [ -n "${MICROVM_LAB:-}" ] || skip 'configures the machine: runs in the lab only'
    ENGINE_DATA=$MICROVM_LAB_SCRATCH/engines
    mkdir -p "$ENGINE_DATA"
    export ENGINE_DATA
}

# make_image FILE: a tar of busybox, for `import`.
make_image() {
    make_rootfs "$BATS_FILE_TMPDIR/image"
    rm -rf "$BATS_FILE_TMPDIR"/image/{proc,sys,dev}
    tar -C "$BATS_FILE_TMPDIR/image" -cf "$1" .
}

# ours: processes, sandboxes and cgroups of this runtime, and mounts of the engines' containers.
ours() {
    pgrep -a '^microvm' || true
    ls /run/microvm 2>/dev/null || true
    find /sys/fs/cgroup -type d -name '*.microvm'
    grep -cE '/(merged|shm) ' /proc/self/mountinfo || true
}

remember() { ours_before=$(ours); }

# as_before: nothing of ours that was not there when it was remembered.
as_before() { settled 10 "$ours_before" ours; }

# configure_podman: its storage on the lab's disk; no systemd and no journal in the lab.
configure_podman() {
    mkdir -p /etc/containers
    printf '[storage]\ndriver = "overlay"\nrunroot = "/run/containers/storage"\ngraphroot = "%s"\n' "$ENGINE_DATA/podman" >/etc/containers/storage.conf
    printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n[network]\nnetwork_backend = "netavark"\n' >/etc/containers/containers.conf
    "$microvm_program" install --podman
}

# start_docker FORMAT: dockerd, its configuration a format for the directory it keeps its data in.
start_docker() {
    mkdir -p /etc/docker
    # shellcheck disable=SC2059 # the caller's format
    printf "$1" "$ENGINE_DATA/docker" >/etc/docker/daemon.json
    "$microvm_program" install --docker
    dockerd >"$BATS_FILE_TMPDIR/dockerd.log" 2>&1 3>&- &
    echo $! >"$BATS_FILE_TMPDIR/dockerd.pid"
    wait_for 120 sh -c 'docker version >/dev/null 2>&1' || { tail "$BATS_FILE_TMPDIR/dockerd.log" >&2 && return 1; }
}

stop_docker() {
    [ ! -e "$BATS_FILE_TMPDIR/dockerd.pid" ] || kill "$(cat "$BATS_FILE_TMPDIR/dockerd.pid")"
}

# serve_large: a file of 4 MiB at port 8077 of every address of the host.
serve_large() {
    mkdir "$BATS_FILE_TMPDIR/www"
    dd if=/dev/urandom of="$BATS_FILE_TMPDIR/www/large" bs=1M count=4 status=none
    busybox httpd -f -p 8077 -h "$BATS_FILE_TMPDIR/www" 3>&- &
    echo $! >"$BATS_FILE_TMPDIR/httpd.pid"
}

stop_serving() {
    [ ! -e "$BATS_FILE_TMPDIR/httpd.pid" ] || kill "$(cat "$BATS_FILE_TMPDIR/httpd.pid")"
}

large_sum() { sha256sum <"$BATS_FILE_TMPDIR/www/large"; }

# make_oci_image FILE NAME: busybox as an archive of OCI's image layout.
make_oci_image() {
    local layout=$BATS_FILE_TMPDIR/layout
    mkdir -p "$layout/blobs/sha256"
    make_image "$layout/layer"
    local layer config manifest
    layer=$(blob layer)
    jq -nc --arg layer "sha256:$layer" '{architecture: "amd64", os: "linux", config: {Env: ["PATH=/usr/bin:/bin"], Cmd: ["sh"]},
        rootfs: {type: "layers", diff_ids: [$layer]}}' >"$layout/config"
    config=$(blob config)
    jq -nc --argjson config "$(descriptor "$config" config.v1+json)" --argjson layer "$(descriptor "$layer" layer.v1.tar)" \
        '{schemaVersion: 2, config: $config, layers: [$layer]}' >"$layout/manifest"
    manifest=$(blob manifest)
    jq -nc --argjson manifest "$(descriptor "$manifest" manifest.v1+json)" --arg name "$2" \
        '{schemaVersion: 2, manifests: [$manifest | .annotations = {"io.containerd.image.name": $name}]}' >"$layout/index.json"
    echo '{"imageLayoutVersion": "1.0.0"}' >"$layout/oci-layout"
    tar -C "$layout" -cf "$1" .
}

# blob NAME: a file of the layout becomes a blob; prints its digest.
blob() {
    local digest
    digest=$(sha256sum <"$layout/$1")
    mv "$layout/$1" "$layout/blobs/sha256/${digest%% *}"
    echo "${digest%% *}"
}

# descriptor DIGEST KIND
descriptor() {
    jq -nc --arg digest "sha256:$1" --arg kind "application/vnd.oci.image.$2" --argjson size "$(stat -c %s "$layout/blobs/sha256/$1")" \
        '{mediaType: $kind, digest: $digest, size: $size}'
}

# start_containerd: its data on the lab's disk, this runtime in its configuration.
start_containerd() {
    mkdir -p /etc/containerd
    printf 'version = 2\nroot = "%s"\n[plugins."io.containerd.grpc.v1.cri"]\n  disable_apparmor = true\n' "$ENGINE_DATA/containerd" >/etc/containerd/config.toml
    "$microvm_program" install --containerd
    containerd >"$BATS_FILE_TMPDIR/containerd.log" 2>&1 3>&- &
    echo $! >"$BATS_FILE_TMPDIR/containerd.pid"
    wait_for 60 sh -c 'ctr version >/dev/null 2>&1' || { tail "$BATS_FILE_TMPDIR/containerd.log" >&2 && return 1; }
}

stop_containerd() {
    [ ! -e "$BATS_FILE_TMPDIR/containerd.pid" ] || kill "$(cat "$BATS_FILE_TMPDIR/containerd.pid")"
}
