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
as_before() {
    local now
    for _ in {1..100}; do
        now=$(ours)
        [ "$now" = "$ours_before" ] && return
        sleep 0.1
    done
    diff <(echo "$ours_before") <(echo "$now") >&2
    return 1
}
