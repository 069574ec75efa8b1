#!/usr/bin/env bats
# Standard streams carry every byte, in both directions, whoever is slow.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
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
