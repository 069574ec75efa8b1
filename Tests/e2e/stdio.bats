#!/usr/bin/env bats
# Whose the standard streams of a detached container are, and until when.
# shellcheck disable=SC2016,SC2154 # others expand; bats and the helper assign
load helper

setup_file() { setup_file_common; }
setup() { setup_common; }
teardown() { nothing_left; }

# holders FILE: processes that have it open.
holders() {
    find /proc/[0-9]*/fd -lname "$1" 2>/dev/null | cut -d / -f 3 | sort -u
}

@test "a reader sees the end of a detached container's output when the container closes it, and the container goes on" {
    script_is 'echo said; exec >/dev/null 2>&1; sleep 100000'
    microvm run --detach --bundle "$BUNDLE" c </dev/null 2>&1 | timeout 30 cat >"$BATS_TEST_TMPDIR/said"
    [ "$(cat "$BATS_TEST_TMPDIR/said")" = said ]
    microvm exec c true
    # A process executed in it likewise.
    jq '.process | .args = ["sh", "-c", "echo again; exec >/dev/null 2>&1; sleep 100000"]' "$BUNDLE/config.json" >"$BATS_TEST_TMPDIR/process"
    microvm exec --detach --process "$BATS_TEST_TMPDIR/process" c </dev/null 2>&1 | timeout 30 cat >"$BATS_TEST_TMPDIR/said"
    [ "$(cat "$BATS_TEST_TMPDIR/said")" = again ]
    [ "$(microvm ps --format json c | jq length)" = 2 ]
    microvm delete --force c
}

@test "one process has the caller's streams open while the container lives, and none has other files of the caller's" {
    command_is sleep 100000
    create c 9>"$BATS_TEST_TMPDIR/other"
    [ "$(holders "$BATS_TEST_TMPDIR/c.out")" = "$(jq .monitor "$STATE/c/state.json")" ]
    [ "$(holders "$BATS_TEST_TMPDIR/c.err")" = "$(jq .monitor "$STATE/c/state.json")" ]
    [ -z "$(holders "$BATS_TEST_TMPDIR/other")" ]
    microvm start c
    microvm kill c KILL
    wait_for 10 is c stopped
    [ -z "$(holders "$BATS_TEST_TMPDIR/c.out")" ]
    microvm delete c
}

# with DESCRIPTORS ARGUMENT…: microvm with redirections in shell syntax; not in this shell, whose own descriptors bats uses.
with() {
    MICROVM=$microvm_program timeout --foreground 60 bash -c "exec \"\$MICROVM\" --root \"\$STATE\" \"\$@\" $1" bash "${@:2}"
}

@test "pipes, files and devices beyond the standard streams are passed on, their numbers kept; a directory is refused" {
    export IN=$BATS_TEST_TMPDIR/in OUT=$BATS_TEST_TMPDIR/out
    echo carried >"$IN"
    mkfifo "$OUT"
    timeout 30 cat "$OUT" >"$BATS_TEST_TMPDIR/copy" 3>&- &
    local reader=$!
    script_is 'cat <&3 >&4; cd /proc/$$/fd; echo *'
    # 6 is the directory that is being read.
    run -0 with '3<"$IN" 4>"$OUT" 5</dev/null' run --preserve-fds 3 "$BUNDLE"
    [ "$output" = "0 1 2 3 4 5 6" ]
    wait "$reader"
    [ "$(cat "$BATS_TEST_TMPDIR/copy")" = carried ]
    run -65 with '3</etc' run --preserve-fds 1 "$BUNDLE"
    [[ $output == *"descriptor 3 is a directory"* ]]
}

@test "streams that are /dev/null here are a null device there: the container's own, and each of an exec" {
    script_is 'stat -L -c "%F %t %T" /proc/$$/fd/0; [ "$(stat -L -c %d:%i /proc/$$/fd/0)" = "$(stat -c %d:%i /dev/null)" ] && echo own; cat; echo more; sleep 100000'
    microvm run --detach --bundle "$BUNDLE" c </dev/null >"$BATS_TEST_TMPDIR/out" 2>&1 3>&-
    wait_for 30 grep -q more "$BATS_TEST_TMPDIR/out"
    [ "$(cat "$BATS_TEST_TMPDIR/out")" = $'character special file 1 3\nown\nmore' ]
    # All three of an exec may be; what it has to say comes by a file then.
    local look='exec 3>&1 4>&2; for n in 0 3 4; do stat -L -c "%F %t %T" /proc/$$/fd/$n >>/said; done; cat; echo more; exit 5'
    run -5 with '</dev/null >/dev/null 2>&1' exec c sh -c "$look"
    [ "$(grep -c '^character special file 1 3$' "$BUNDLE/rootfs/said")" = 3 ]
    # Only one of two outputs.
    [ "$(with '</dev/null 2>/dev/null' exec c sh -c 'echo lost >&2; echo heard')" = heard ]
    [ "$(with '</dev/null 2>&1 >/dev/null' exec c sh -c 'echo lost; echo heard >&2')" = heard ]
    microvm delete --force c
}
