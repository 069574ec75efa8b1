# shellcheck shell=bash disable=SC2154
# Loaded by every test file: bundles, the program under test, and proof that nothing is left.

bats_require_minimum_version 1.5.0

: "${MICROVM_DIST:=$BATS_TEST_DIRNAME/../../.cache/dist}"
microvm_program=$MICROVM_DIST/bin/microvm

# Each file has a state directory, so that files do not see each other's sandboxes.
setup_file_common() {
    export STATE=$BATS_FILE_TMPDIR/state
    export ROOTFS=$BATS_FILE_TMPDIR/rootfs
    mkdir -m 700 "$STATE"
    make_rootfs "$ROOTFS"
    # Makes the template if there is none yet: no test has to wait for it, or hear of it.
    make_bundle "$BATS_FILE_TMPDIR/first"
    microvm run "$BATS_FILE_TMPDIR/first" 2>/dev/null
}

setup_common() {
    BUNDLE=$BATS_TEST_TMPDIR/bundle
    make_bundle "$BUNDLE"
    things_before=$(things)
}

# microvm ARGUMENT…: the program, with this file's state directory; nothing here takes longer than a minute.
microvm() {
    timeout --foreground "${MICROVM_TIMEOUT:-60}" "$microvm_program" --root "$STATE" "$@"
}

# busybox and every name it answers to.
make_rootfs() {
    local name
    mkdir -p "$1"/{bin,sbin,proc,sys,dev,tmp,etc,root,mnt}
    cp /bin/busybox "$1/bin/busybox"
    for name in $(/bin/busybox --list); do [ "$name" = busybox ] || ln -sf busybox "$1/bin/$name"; done
    printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n' >"$1/etc/passwd"
    printf 'root:x:0:\nuser:x:1000:\n' >"$1/etc/group"
}

# make_bundle DIR: a default spec without a terminal, on a root file system of its own.
make_bundle() {
    mkdir -p "$1"
    cp -a "$ROOTFS" "$1/rootfs"
    "$microvm_program" spec --bundle "$1"
    configure "$1" '.process.terminal = false | .process.args = ["true"] | .root.readonly = false'
}

# configure DIR FILTER [JQ-ARGUMENT…]: edits its config.json.
configure() {
    local config=$1/config.json
    jq "${@:3}" "$2" "$config" >"$config.new" && mv "$config.new" "$config"
}

# command_is ARGUMENT…: what the bundle runs.
command_is() {
    local argument names='' arguments=()
    for argument in "$@"; do
        names+=",\$a${#arguments[@]}"
        arguments+=(--arg "a${#arguments[@]}" "$argument")
    done
    configure "$BUNDLE" ".process.args = [${names#,}]" "${arguments[@]}"
}

# script_is TEXT: the bundle runs this shell script.
script_is() {
    command_is sh -c "$1"
}

# all_capabilities: what `--privileged` gives.
all_capabilities() {
    local all
    all=$(capsh --print 2>/dev/null | sed -n 's/^Bounding set *=//p')
    [ -n "$all" ] || all=cap_sys_admin,cap_sys_ptrace,cap_mknod,cap_net_admin
    configure "$BUNDLE" '($all | ascii_upcase | split(",")) as $c
        | .process.capabilities = {bounding: $c, effective: $c, permitted: $c}
        | .linux.maskedPaths = [] | .linux.readonlyPaths = []' --arg all "$all"
}

# create ID [OPTION…]: the bundle's container, whose output goes to files; `microvm start ID` is next.
create() {
    local status=0
    microvm create --bundle "$BUNDLE" --pid-file "$BATS_TEST_TMPDIR/$1.pid" "${@:2}" "$1" \
        </dev/null >"$BATS_TEST_TMPDIR/$1.out" 2>"$BATS_TEST_TMPDIR/$1.err" || status=$?
    [ "$status" = 0 ] || cat "$BATS_TEST_TMPDIR/$1.err" >&2
    return "$status"
}

# launch ID [OPTION…]: create and start it.
launch() {
    create "$@" && microvm start "$1"
}

# pid_of ID: of the process that stands for the container on this host.
pid_of() {
    cat "$BATS_TEST_TMPDIR/$1.pid"
}

status_of() {
    microvm state "$1" | jq -r .status
}

# is ID STATUS
is() {
    [ "$(status_of "$1")" = "$2" ]
}

# said ID TEXT: whether the container has printed it.
said() {
    grep -q -- "$2" "$BATS_TEST_TMPDIR/$1.out"
}

# gone PID: whether there is no such process, or nobody has waited for it yet.
gone() {
    [ ! -e "/proc/$1" ] || grep -q '^State:.[ZX]' "/proc/$1/status"
}

# Everything a sandbox could leave behind, one line each.
things() {
    pgrep -a '^microvm' | sed 's/^[0-9]* //' | sort || true
    wc -l </proc/self/mountinfo
    find /sys/fs/cgroup -type d -name '*microvm*' 2>/dev/null || true
    find "$STATE" -mindepth 1 -maxdepth 1 ! -name '.*'
}

# nothing_left: as before the test; a process that was told to end gets five seconds.
nothing_left() {
    local now
    for _ in {1..50}; do
        now=$(things)
        [ "$now" = "$things_before" ] && return
        sleep 0.1
    done
    diff <(echo "$things_before") <(echo "$now") >&2
    return 1
}

# wait_for SECONDS COMMAND…: until it succeeds.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

# ended STATUS PID: waits for a background command of this shell, which must end so.
ended() {
    local status=0
    wait "$2" || status=$?
    [ "$status" = "$1" ] || { echo "ended with $status, not $1" >&2 && return 1; }
}
