#!/usr/bin/env bats
# What bad input gets: one line that names the culprit, a status that tells the kind, nothing left behind.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load helper

setup_file() { setup_file_common; }
setup() { setup_common; }
teardown() { nothing_left; }

# refused STATUS TEXT ARGUMENT…: run fails with STATUS and one line with TEXT.
refused() {
    local status=$1 text=$2
    shift 2
    run -"$status" --separate-stderr microvm run "$@"
    [ "$output" = '' ]
    [ "${#stderr_lines[@]}" = 1 ] || { printf '%s\n' "${stderr_lines[@]}" && return 1; }
    [[ $stderr == *"$text"* ]] || { printf '%s\n' "$stderr" && return 1; }
}

@test "no bundle" { refused 66 "$BUNDLE-not" "$BUNDLE-not"; }

@test "no rootfs" {
    rm -r "$BUNDLE/rootfs"
    refused 66 rootfs "$BUNDLE"
}

@test "config.json malformed: the line is named" {
    printf '{\n  "ociVersion": "1.0.2",\n  oops\n}\n' >"$BUNDLE/config.json"
    refused 65 'config.json: line 3' "$BUNDLE"
}

@test "an unsupported field is named" {
    configure "$BUNDLE" '.linux.intelRdt = {closID: "x"}'
    refused 65 linux.intelRdt "$BUNDLE"
}

@test "contradictory fields are named" {
    configure "$BUNDLE" '.linux.namespaces |= map(select(.type != "uts")) | .hostname = "x"'
    refused 65 hostname "$BUNDLE"
}

@test "no such program: 127" {
    command_is /no/such/program
    refused 127 /no/such/program "$BUNDLE"
}

@test "a program that is not executable: 126" {
    echo text >"$BUNDLE/rootfs/file" && chmod 644 "$BUNDLE/rootfs/file"
    command_is /file
    refused 126 /file "$BUNDLE"
}

@test "too little memory for the guest" { refused 64 memory --memory 8M "$BUNDLE"; }

@test "a kernel file that is truncated" {
    head -c 1000000 "$MICROVM_DIST/share/microvm/vmlinux" >"$BATS_TEST_TMPDIR/kernel"
    refused 65 truncated --kernel "$BATS_TEST_TMPDIR/kernel" "$BUNDLE"
}

@test "a kernel file that is no ELF" {
    yes 'not a kernel' | head -n 1000 >"$BATS_TEST_TMPDIR/kernel"
    refused 65 ELF --kernel "$BATS_TEST_TMPDIR/kernel" "$BUNDLE"
}

@test "no kernel file" { refused 66 /no/kernel --kernel /no/kernel "$BUNDLE"; }

@test "an unknown flag" {
    run -64 microvm run --no-such-flag "$BUNDLE"
}

@test "no /dev/kvm" {
    run -69 unshare -m sh -c 'mount -t tmpfs none /dev && exec "$@"' sh "$microvm_program" --root "$STATE" run "$BUNDLE"
    [[ $output == */dev/kvm* ]]
    run ! unshare -m sh -c 'mount -t tmpfs none /dev && exec "$@"' sh "$microvm_program" check
    [[ $output == */dev/kvm* ]]
}

@test "no permission for /dev/kvm: the group is named" {
    chmod 755 "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR"
    run -77 setpriv --reuid 65534 --regid 65534 --clear-groups "$microvm_program" --root "$BATS_TEST_TMPDIR/state" run "$BUNDLE"
    [[ $output == */dev/kvm* ]]
}
