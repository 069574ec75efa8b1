#!/usr/bin/env bats
# Starts go on from a template; whatever is wrong with one, the container runs.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load helper

setup_file() {
    setup_file_common
    # One for the tests that only use it, made here.
    export TEMPLATES=$BATS_FILE_TMPDIR/templates
    microvm template build --templates "$TEMPLATES"
}

setup() { setup_common; }
teardown() { nothing_left; }

# run_with DIR ARGUMENT…: microvm run with the templates in DIR.
run_with() {
    run -0 --separate-stderr microvm run --templates "$@" "$BUNDLE"
}

# own_copy: the templates for this test to break. A copy has other inodes, so it is compared by content.
own_copy() {
    cp -a "$TEMPLATES" "$BATS_TEST_TMPDIR/templates"
    directory=$(echo "$BATS_TEST_TMPDIR"/templates/[0-9a-f]*)
}

# refused WORDS: the next start says so in one line and runs the container all the same, and the template is gone.
refused() {
    script_is 'echo fine'
    run_with "$BATS_TEST_TMPDIR/templates"
    [ "$output" = fine ]
    [ "${#stderr_lines[@]}" = 1 ] || { printf '%s\n' "${stderr_lines[@]}" && return 1; }
    [[ $stderr == *template*"$1"*'booting instead'* ]] || { printf '%s\n' "$stderr" && return 1; }
    [ ! -e "$directory" ]
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

# bats test_tags=smoke
@test "clones of one template share no boot id, no random bytes and no layout; their clocks are right" {
    script_is 'cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | od -An -tx1; grep -E "stack|vdso" /proc/self/maps; date +%s'
    for _ in 1 2 3 4 5; do
        run_with "$TEMPLATES"
        [ "$stderr" = '' ]
        [ "${#lines[@]}" = 5 ]
        printf '%s\n' "${lines[@]:0:4}" >>"$BATS_TEST_TMPDIR/all"
        ((lines[4] >= $(date +%s) - 20 && lines[4] <= $(date +%s) + 1))
    done
    [ "$(wc -l <"$BATS_TEST_TMPDIR/all")" = 20 ]
    [ "$(sort "$BATS_TEST_TMPDIR/all" | uniq -d)" = '' ]
}

@test "the first start makes the template and says so in one line; the next says nothing" {
    run_with "$BATS_TEST_TMPDIR/templates"
    [ "${#stderr_lines[@]}" = 1 ]
    [[ $stderr == *'making a template'* ]]
    run_with "$BATS_TEST_TMPDIR/templates"
    [ "$stderr" = '' ]
    # Nobody else's to read or write, and nothing half made.
    [ "$(stat -c %a "$BATS_TEST_TMPDIR/templates")" = 700 ]
    [ -z "$(find "$BATS_TEST_TMPDIR/templates" -type f -perm /077)" ]
    [ -z "$(find "$BATS_TEST_TMPDIR/templates" -type d -perm /077)" ]
    [ -z "$(find "$BATS_TEST_TMPDIR/templates" -name '*.new')" ]
}

@test "--cold boots, with a clock that is right, and makes no template" {
    script_is 'date +%s'
    before=$(date +%s)
    run_with "$BATS_TEST_TMPDIR/templates" --cold
    ((output >= before && output <= $(date +%s)))
    [ "$stderr" = '' ]
    [ ! -e "$BATS_TEST_TMPDIR/templates" ]
}

@test "template list, --verify and remove" {
    own_copy
    key=${directory##*/}
    run -0 --separate-stderr microvm template list --templates "$BATS_TEST_TMPDIR/templates" --format json
    [ "$(jq -r '.[0] | "\(.key) \(.cpus) \(.memory >= 134217728) \(.state)"' <<<"$output")" = "$key 1 true ok" ]
    run -0 microvm template list --templates "$BATS_TEST_TMPDIR/templates" --verify
    [[ $output == *"$key"*M*ok* ]]
    flip "$directory/memory" 0x100000
    run -65 microvm template list --templates "$BATS_TEST_TMPDIR/templates" --verify
    [[ $output == *"$key"*damaged*checksum* ]]
    microvm template remove --templates "$BATS_TEST_TMPDIR/templates" "$key"
    run -66 microvm template remove --templates "$BATS_TEST_TMPDIR/templates" "$key"
    run -64 microvm template remove --templates "$BATS_TEST_TMPDIR/templates" nonsense
    run -0 microvm template list --templates "$BATS_TEST_TMPDIR/templates" --format json
    [ "$output" = '[]' ]
}

@test "a copy of a template is as good as the template" {
    own_copy
    script_is 'echo fine'
    run_with "$BATS_TEST_TMPDIR/templates"
    [ "$output" = fine ]
    [ "$stderr" = '' ]
}

@test "a memory file with a wrong bit is not used" {
    own_copy
    flip "$directory/memory" 0x1234567
    refused memory
}

@test "a memory file that is cut is not used" {
    own_copy
    truncate -s -4096 "$directory/memory"
    refused memory
}

@test "a state file with a wrong bit is not used" {
    own_copy
    flip "$directory/state" 5000
    refused checksum
}

@test "a state file that is cut is not used" {
    own_copy
    truncate -s 5000 "$directory/state"
    refused state
}

@test "a state file of another format is not used" {
    own_copy
    flip "$directory/state" 8
    refused format
}

@test "another machine's memory is not used" {
    own_copy
    microvm template build --templates "$BATS_TEST_TMPDIR/other" --memory 96M 2>/dev/null
    cat "$BATS_TEST_TMPDIR"/other/*/memory >"$directory/memory"
    refused memory
}

@test "a file others can read is not used" {
    own_copy
    chmod 644 "$directory/memory"
    refused 'open to others'
}

@test "a directory others can write to is not used" {
    own_copy
    chmod 777 "$BATS_TEST_TMPDIR/templates"
    script_is 'echo fine'
    run_with "$BATS_TEST_TMPDIR/templates"
    [ "$output" = fine ]
    [[ $stderr == *'others can write'*'booting instead'* ]]
}

@test "no room for a template: the container runs by a boot, and nothing half made is left" {
    mkdir "$BATS_TEST_TMPDIR/small"
    mount -t tmpfs -o size=4m,mode=700 none "$BATS_TEST_TMPDIR/small"
    script_is 'echo fine'
    run -0 --separate-stderr microvm run --templates "$BATS_TEST_TMPDIR/small" "$BUNDLE"
    left=$(find "$BATS_TEST_TMPDIR/small" -mindepth 1 ! -name .lock)
    umount "$BATS_TEST_TMPDIR/small"
    [ "$output" = fine ]
    [[ $stderr == *'no template can be made'*'No space left'*'booting instead'* ]]
    [ "$left" = '' ]
}

@test "a builder that is killed leaves nothing that is used, and its rests go with the next" {
    microvm template build --templates "$BATS_TEST_TMPDIR/templates" 2>/dev/null 3>&- &
    builder=$!
    wait_for 30 sh -c "ls -A '$BATS_TEST_TMPDIR/templates' 2>/dev/null | grep -q 'new$'"
    pkill -KILL -f "^$microvm_program .*template build.* $BATS_TEST_TMPDIR/templates"
    wait "$builder" || true
    # Its machine goes with it.
    wait_for 10 nothing_left
    [ "$(find "$BATS_TEST_TMPDIR/templates" -name '*.new' | wc -l)" = 1 ]
    run -0 microvm template list --templates "$BATS_TEST_TMPDIR/templates" --format json
    [ "$output" = '[]' ]
    script_is 'echo fine'
    run_with "$BATS_TEST_TMPDIR/templates"
    [ "$output" = fine ]
    [ "$(find "$BATS_TEST_TMPDIR/templates" -name '*.new')" = '' ]
}

@test "the ledger shows a restore's stages; why --all has percentiles" {
    run_with "$TEMPLATES" --timing
    [[ $stderr == *restore*vCPUs*resume*renew* ]]
    run -0 microvm why
    for stage in jail restore vCPUs resume renew; do [[ $output == *"$stage"* ]]; done
    run -0 microvm why --all
    [[ $output == *'from a template'*p50*p90*p99*'in all'* ]]
    [ "$(microvm why --all --json | jq '.groups[0].stages | length > 5')" = true ]
}
