# shellcheck shell=bash disable=SC2154
# Loaded by every test file: bundles, the program under test, and proof that nothing is left.

bats_require_minimum_version 1.5.0

: "${MICROVM_DIST:=${BASH_SOURCE[0]%/*}/../../.cache/dist}"
microvm_program=$MICROVM_DIST/bin/microvm

# A process costs the lab 50 ms, so what every test does is one: nothing below forks where the shell can do it.

# Each file has a state directory, so that files do not see each other's sandboxes, and a bundle that all others are copies of.
setup_file_common() {
    export STATE=$BATS_FILE_TMPDIR/state
    export MODEL=$BATS_FILE_TMPDIR/model
    mkdir -m 700 "$STATE" "$MODEL"
    make_rootfs "$MODEL/rootfs"
    "$microvm_program" spec --bundle "$MODEL"
    configure "$MODEL" '.process.terminal = false | .process.args = ["true"] | .root.readonly = false'
    # Makes the template if there is none yet: no test has to wait for it, or hear of it.
    MICROVM_TIMEOUT=240 microvm run "$MODEL" 2>/dev/null
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

# make_rootfs DIR: busybox and every name it answers to, where its own installer puts them: in the directory it is started from.
make_rootfs() {
    mkdir -p "$1"/{usr/bin,proc,sys,dev,tmp,etc,root,mnt}
    ln -s usr/bin "$1/bin"
    ln -s usr/bin "$1/sbin"
    cp /bin/busybox "$1/usr/bin/busybox"
    /bin/busybox --install -s "$1/usr/bin"
    printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n' >"$1/etc/passwd"
    printf 'root:x:0:\nuser:x:1000:\n' >"$1/etc/group"
}

# make_bundle DIR: a default spec without a terminal, on a root file system of its own.
make_bundle() {
    cp -a "$MODEL" "$1"
}

# configure DIR FILTER [JQ-ARGUMENT…]: edits its config.json.
configure() {
    local edited
    edited=$(jq "${@:3}" "$2" "$1/config.json") && printf '%s\n' "$edited" >"$1/config.json"
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
    # shellcheck disable=SC2016 # jq expands
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
    [[ $(microvm state "$1") =~ '"status": "'([a-z]+) ]] && echo "${BASH_REMATCH[1]}"
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
    local path name mounts shopts
    shopts=$(shopt -p globstar nullglob)
    shopt -s globstar nullglob
    for path in /proc/[0-9]*/comm; do
        read -r name <"$path" && [[ $name == microvm* ]] && echo "$name ${path//[!0-9]/}"
    done 2>/dev/null
    mapfile -t mounts </proc/self/mountinfo
    echo "${#mounts[@]} mounts"
    printf '%s\n' /sys/fs/cgroup/**/*microvm*/ "$STATE"/*
    eval "$shopts"
}

# nothing_left: as before the test; a process that was told to end gets five seconds.
nothing_left() { settled 5 "$things_before" things; }

# settled SECONDS TEXT COMMAND: until COMMAND prints TEXT; what differs if it does not.
settled() {
    local end=$((SECONDS + $1)) now
    until now=$($3) && [ "$now" = "$2" ]; do
        ((SECONDS < end)) || { diff <(echo "$2") <(echo "$now") >&2; return 1; }
        sleep 0.1
    done
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

# flip FILE OFFSET: inverts a byte.
flip() {
    python3 - "$@" <<'PYTHON'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2], 0))
    byte = file.read(1)[0]
    file.seek(int(sys.argv[2], 0))
    file.write(bytes([byte ^ 255]))
PYTHON
}
