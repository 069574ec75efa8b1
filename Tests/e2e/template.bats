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

@test "mountinfo has the mounts in the order of the spec, those that were made with the template too" {
    script_is 'while read -r _ _ _ _ place _; do echo "$place"; done </proc/self/mountinfo'
    run_with "$TEMPLATES"
    [ "$(printf '%s\n' "${lines[@]:1:$(jq '.mounts | length' "$BUNDLE/config.json")}")" = "$(jq -r '.mounts[].destination' "$BUNDLE/config.json")" ]
}

# bats test_tags=smoke
@test "twenty clones of one template share no boot id, host name, random bytes, layout or TCP secret; their clocks are right" {
    # One program: each costs a guest that is interpreted most of a second.
    cc -static-pie -O2 -o "$BUNDLE/rootfs/bin/clone-traits" "$BATS_TEST_DIRNAME/programs/clone-traits.c"
    all_capabilities
    configure "$BUNDLE" 'del(.hostname)'
    command_is clone-traits
    for _ in {1..20}; do
        run_with "$TEMPLATES"
        [ "$stderr" = '' ]
        [ "${#lines[@]}" = 10 ] || { printf '%s\n' "$output" && return 1; }
        printf '%s\n' "${lines[@]:0:8}" >>"$BATS_TEST_TMPDIR/all"
        ((lines[8] >= $(date +%s) - 20 && lines[8] <= $(date +%s) + 1))
        echo "${lines[9]}" >>"$BATS_TEST_TMPDIR/tcp"
    done
    [ "$(wc -l <"$BATS_TEST_TMPDIR/all")" = 160 ]
    [ "$(sort "$BATS_TEST_TMPDIR/all" | uniq -d)" = '' ]
    # Of one secret both sequence numbers would be the same but for 64 ns a step, and the time stamp but for milliseconds.
    python3 - "$BATS_TEST_TMPDIR/tcp" <<'PYTHON'
import itertools, sys
starts = [tuple(map(int, line.split())) for line in open(sys.argv[1])]
near = lambda a, b, limit: min((a - b) % 2**32, (b - a) % 2**32) < limit
assert len(starts) == 20 and all(len(start) == 3 for start in starts), starts
for a, b in itertools.combinations(starts, 2):
    assert not (near(a[0], b[0], 2**22) and near(a[1], b[1], 2**22)), (a, b)
    assert not near(a[2], b[2], 5000), (a, b)
PYTHON
}

@test "what a template has ready for its clones' containers is as their specs want it" {
    all_capabilities
    # Without a namespace of its own a container sees its cgroup's whole name.
    configure "$BUNDLE" 'del(.linux.namespaces[] | select(.type == "cgroup")) | .linux.cgroupsPath = "/one"'
    script_is 'cat /proc/self/cgroup; ls /sys/fs/cgroup; for file in /dev/shm /sys/firmware; do ls -A $file; done; stat -c "%F %t %T" /dev/null; id -u </dev/pts/ptmx'
    for path in /one /two/parts /three/parts/deep; do
        configure "$BUNDLE" '.linux.cgroupsPath = $path' --arg path "$path"
        run_with "$TEMPLATES"
        [ "${lines[0]}" = "0::$path" ] || { printf '%s\n' "$output" && return 1; }
        [[ $'\n'$output$'\n' == *$'\n'"$(cut -d / -f 2 <<<"$path")"$'\n'* ]]
        [ "${lines[-2]}" = 'character special file 1 3' ]
        [ "${lines[-1]}" = 0 ]
    done
    # The device filter that is ready is not this one's.
    configure "$BUNDLE" '.linux.cgroupsPath = "/all" | .linux.resources.devices = [{allow: true, access: "rwm"}]
        | .mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"}]'
    script_is 'mknod /tmp/image b 259 0; head -c 1024 /tmp/image | wc -c; cat /proc/self/cgroup'
    run_with "$TEMPLATES"
    [ "${lines[*]}" = '1024 0::/all' ]
}

@test "a clone's clock goes on where its template's was" {
    script_is 'cut -d . -f 1 /proc/uptime'
    run_with "$TEMPLATES"
    first=$output
    sleep 15
    run_with "$TEMPLATES"
    [ $((output - first)) -lt 12 ]
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

@test "one template serves machines of more CPUs, where KVM does not interpret the guest" {
    microvm check --json | jq -e 'any(.state == "slow")' >/dev/null && skip 'a template of each size is quicker here'
    script_is 'nproc; cat /sys/devices/system/cpu/online; for cpu in $(seq 0 $(($(nproc) - 1))); do taskset -c $cpu date +%s; done'
    for cpus in 1 2 5; do
        run -0 --separate-stderr microvm run --templates "$TEMPLATES" --cpus "$cpus" "$BUNDLE"
        [ "$stderr" = '' ]
        [ "${lines[0]}" = "$cpus" ]
        [ "${#lines[@]}" = $((2 + cpus)) ]
        now=$(date +%s)
        for time in "${lines[@]:2}"; do ((now - time <= 2 && time <= now)); done
    done
    run -0 microvm run --templates "$TEMPLATES" --cpus 3 --memory 400M "$BUNDLE"
    [ "${lines[0]} ${lines[1]}" = '3 0-2' ]
    [ "$(find "$TEMPLATES" -mindepth 1 -maxdepth 1 ! -name '.*' | wc -l)" = 1 ]
    # A snapshot has the CPUs that came up later.
    script_is 'echo up; read -r word; nproc; taskset -c 2 echo "$word"'
    mkfifo "$BATS_TEST_TMPDIR/in"
    exec 7<>"$BATS_TEST_TMPDIR/in"
    microvm run --detach --templates "$TEMPLATES" --cpus 3 --bundle "$BUNDLE" three <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/three.out" 2>&1 3>&-
    wait_for 120 said three up
    microvm snapshot --stop three "$BATS_TEST_TMPDIR/snapshot"
    microvm delete three
    run -0 microvm restore "$BATS_TEST_TMPDIR/snapshot" <<<word
    [ "$output" = $'3\nword' ]
}

@test "one template serves machines of more memory, where KVM does not interpret the guest" {
    microvm check --json | jq -e 'any(.state == "slow")' >/dev/null && skip 'a template of each size is quicker here'
    script_is 'sed -n "s/^MemTotal: *//p" /proc/meminfo; read -r word; echo "$word"'
    for memory in 258 700 2048; do
        run -0 --separate-stderr microvm run --templates "$TEMPLATES" --memory "${memory}M" "$BUNDLE" <<<fine
        [ "$stderr" = '' ]
        # The kernel keeps some for itself, more of it for more memory.
        ((${lines[0]% kB} > memory * 1024 * 9 / 10 - 40960 && ${lines[0]% kB} < memory * 1024))
        [ "${lines[1]}" = fine ]
    done
    [ "$(find "$TEMPLATES" -mindepth 1 -maxdepth 1 ! -name '.*' | wc -l)" = 1 ]
    # A snapshot has what was plugged in, and memory is used to its end.
    script_is 'mount -t tmpfs -o size=320m none /mnt && head -c 300000000 /dev/zero >/mnt/file; echo full; read -r word; wc -c </mnt/file'
    all_capabilities
    mkfifo "$BATS_TEST_TMPDIR/in"
    exec 7<>"$BATS_TEST_TMPDIR/in"
    microvm run --detach --templates "$TEMPLATES" --memory 512M --bundle "$BUNDLE" big <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/big.out" 2>&1 3>&-
    wait_for 120 said big full
    microvm snapshot --stop big "$BATS_TEST_TMPDIR/snapshot"
    microvm delete big
    run -0 microvm restore "$BATS_TEST_TMPDIR/snapshot" <<<word
    [ "$output" = 300000000 ]
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

@test "the first start from a template writes down what it touches, later ones read and copy that ahead; a damaged record is replaced" {
    # On a disk, whose page cache can be told to forget.
    local templates template record damage
    templates=$(mktemp -d -p "${MICROVM_LAB_SCRATCH:-$BATS_TEST_TMPDIR}")
    cp -a --sparse=always "$TEMPLATES"/[0-9a-f]* "$templates"
    template=$(echo "$templates"/[0-9a-f]*)
    script_is 'echo fine'
    # start: as any other, and afterwards there is a record: of a part of the template, and nobody else's to read.
    start() {
        run_with "$templates"
        [ "$output" = fine ]
        [ "$stderr" = '' ]
        [ "$(stat -c %a "$template/working-set")" = 600 ]
        microvm template list --templates "$templates" --format json | jq -e '.[0] | .workingSet > 1000000 and .state == "ok"'
    }
    # The record that came along is of another file.
    start
    microvm template list --templates "$templates" --format json | jq -e '.[0] | .workingSet < .size'
    record=$(cat "$template/working-set")
    jq -e '(.written | length) > 20 and (.written | length) < 400' "$template/working-set"
    # A record of more than any start touches shows that it is read ahead, holes and all.
    echo "${record/%\"pages\":*/\"pages\":[0,16384],\"written\":[100,412,9000,100]\}}" >"$template/working-set"
    sync "$template/memory"
    dd "if=$template/memory" iflag=nocache count=0 status=none
    start
    [ "$(jq -c .pages "$template/working-set")" = '[0,16384]' ]
    (($(fincore --bytes --noheadings --output RES "$template/memory") >= 64 << 20))
    for damage in 's/n":\[/n":[0,513,/' 's/:\[/:[0,16385,/' 's/:\[/:[32767,18446744073709551615,/' 's/inode":/inode":1/' d 's/,[0-9]*\]}$//'; do
        sed "$damage" <<<"$record" >"$template/working-set"
        start
        jq -e '.version == 2 and (.pages | length) > 4 and .pages[1] < 1000' "$template/working-set"
    done
    microvm template remove --templates "$templates" --all
    [ "$(ls "$templates")" = '' ]
    rm -rf "$templates"
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
