#!/usr/bin/env bats
# Standard streams carry every byte, in both directions, whoever is slow.
# shellcheck disable=SC2016,SC2030,SC2031,SC2154 # the guest expands; bats and the helper assign
load helper

setup_file() { setup_file_common; }
setup() { setup_common; }
teardown() { nothing_left; }

@test "100 MiB in and out again are the same bytes" {
    command_is cat
    head -c 104857600 /dev/urandom >"$BATS_TEST_TMPDIR/data"
    MICROVM_TIMEOUT=300 microvm run "$BUNDLE" <"$BATS_TEST_TMPDIR/data" >"$BATS_TEST_TMPDIR/copy"
    cmp "$BATS_TEST_TMPDIR/data" "$BATS_TEST_TMPDIR/copy"
}

@test "a consumer that never reads stalls its own container only" {
    script_is 'yes'
    mkfifo "$BATS_TEST_TMPDIR/pipe"
    microvm run "$BUNDLE" >"$BATS_TEST_TMPDIR/pipe" 3>&- &
    stalled=$!
    exec 5<"$BATS_TEST_TMPDIR/pipe"
    mkdir "$BATS_TEST_TMPDIR/other"
    BUNDLE=$BATS_TEST_TMPDIR/other/bundle
    make_bundle "$BUNDLE"
    script_is 'echo fine'
    run -0 microvm run "$BUNDLE"
    [ "$output" = fine ]
    exec 5<&-
    # Its reader is gone: yes ends as it would anywhere.
    wait "$stalled" || true
}

# numbered FIRST LAST: an exec for each number, which must print it and nothing else; wrong answers are printed.
numbered() {
    local number answer status
    for number in $(seq "$1" "$2"); do
        status=0
        answer=$(microvm exec c echo "$number" </dev/null 2>&1) || status=$?
        [ "$answer" = "$number" ] || echo "$number: status $status, $answer"
    done
}

# MICROVM_EXECS=1000 for the whole thousand, which takes four minutes in the lab.
@test "hundreds of execs in one machine, fifty at a time, each with streams of its own" {
    local each=$((${MICROVM_EXECS:-200} / 50))
    command_is sleep 100000
    microvm create --bundle "$BUNDLE" c </dev/null >/dev/null 2>&1
    microvm start c
    export MICROVM_TIMEOUT=200
    local workers=()
    for worker in {0..49}; do
        numbered $((worker * each)) $((worker * each + each - 1)) >"$BATS_TEST_TMPDIR/wrong.$worker" 2>&1 3>&- &
        workers+=("$!")
    done
    wait "${workers[@]}" || true
    cat "$BATS_TEST_TMPDIR"/wrong.*
    [ -z "$(cat "$BATS_TEST_TMPDIR"/wrong.*)" ]
    # Nothing of them is left in the guest, and the next works as the first did.
    run -0 microvm exec c sh -c 'ls /proc | grep -c "^[0-9]"'
    [ "$output" -le 4 ]
    microvm delete --force c
}
