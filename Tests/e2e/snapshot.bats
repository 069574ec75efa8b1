#!/usr/bin/env bats
# A running sandbox is written to a directory and goes on from there; whatever is wrong with it is refused and named.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load helper

setup_file() { setup_file_common; }

setup() {
    setup_common
    snapshot=$BATS_TEST_TMPDIR/snapshot
}

teardown() {
    # A test that failed must not take the others along.
    if [ -z "${BATS_TEST_COMPLETED:-}" ]; then for id in $(microvm list -q); do microvm delete --force "$id"; done; fi
    nothing_left
}

# counter: a container that counts in memory and in a file, and prints the count for each line it is given.
counter() {
    script_is 'count=0; exec 3>>/count; echo ready; while read -r word; do count=$((count + 1)); echo $count >&3; echo $word $count; done; echo end'
}

# feed FIFO: opens it for both ends, so that neither waits for the other.
feed() {
    mkfifo "$1"
    exec 7<>"$1"
}

# start_counter ID: it reads the lines written to descriptor 7.
start_counter() {
    counter
    feed "$BATS_TEST_TMPDIR/in"
    microvm run --detach --bundle "$BUNDLE" "$1" <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/$1.out" 2>"$BATS_TEST_TMPDIR/$1.err" 3>&-
    wait_for 10 said "$1" ready
}

# ask ID WORD COUNT: gives it a line and waits for the answer.
ask() {
    echo "$2" >&7
    wait_for 20 said "$1" "^$2 $3\$"
}

# restore_detached ID [OPTION…]: goes on from the snapshot, reading descriptor 7.
restore_detached() {
    microvm restore --detach --id "$@" "$snapshot" <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/$1.out" 2>"$BATS_TEST_TMPDIR/$1.err" 3>&-
}

# refused WORDS: nothing is made of the snapshot, and one line says why.
refused() {
    run -65 --separate-stderr microvm restore --id refused "$snapshot"
    [[ $stderr == *"$1"* ]] || { printf '%s\n' "$stderr" && return 1; }
}

# saved: a snapshot of a container that has ended.
saved() {
    start_counter first
    ask first word 1
    microvm snapshot --stop first "$snapshot"
    is first stopped
    microvm delete first
}

# bats test_tags=smoke
@test "a container goes on where it was: memory, open files, input and output" {
    start_counter first
    ask first one 1
    ask first two 2
    microvm snapshot --stop first "$snapshot"
    is first stopped
    microvm delete first
    [ "$(stat -c %a "$snapshot")" = 700 ]
    [ -z "$(find "$snapshot" -perm /077)" ]

    restore_detached second
    is second running
    ask second three 3
    [ "$(cat "$BUNDLE/rootfs/count")" = $'1\n2\n3' ]
    # Nothing is printed twice.
    [ "$(cat "$BATS_TEST_TMPDIR/second.out")" = 'three 3' ]
    [ "$(microvm exec second cat /count)" = $'1\n2\n3' ]
    microvm kill second KILL
    wait_for 10 is second stopped
    microvm delete second
}

@test "a container that is busy on two CPUs, with files and output, loses nothing and repeats nothing" {
    script_is '(while :; do :; done) & n=0; while [ ! -e /stop ]; do n=$((n + 1)); echo $n; echo $n >>/log; read -r last </log; : >/tmp/$((n % 50)); done; echo end'
    # There is no template of two CPUs yet.
    MICROVM_TIMEOUT=300 microvm run --detach --cpus 2 --bundle "$BUNDLE" first </dev/null >"$BATS_TEST_TMPDIR/out" 2>&1 3>&-
    wait_for 100 grep -q '^5$' "$BATS_TEST_TMPDIR/out"
    microvm snapshot first "$snapshot.running"
    for id in first second; do
        count=$(wc -l <"$BATS_TEST_TMPDIR/out")
        wait_for 100 sh -c "[ \$(wc -l <'$BATS_TEST_TMPDIR/out') -gt $((count + 5)) ]"
        microvm snapshot --stop "$id" "$snapshot.$id"
        microvm delete "$id"
        [ "$id" = second ] || microvm restore --detach --id second "$snapshot.$id" </dev/null >>"$BATS_TEST_TMPDIR/out" 2>&1 3>&-
    done
    touch "$BUNDLE/rootfs/stop"
    run -0 microvm restore "$snapshot.second"
    printf '%s\n' "$output" >>"$BATS_TEST_TMPDIR/out"
    [ "$(tail -n 1 "$BATS_TEST_TMPDIR/out")" = end ]
    total=$(($(wc -l <"$BATS_TEST_TMPDIR/out") - 1))
    seq "$total" | diff - <(head -n "$total" "$BATS_TEST_TMPDIR/out")
    seq "$total" | diff - "$BUNDLE/rootfs/log"
}

@test "the container goes on after a snapshot as if nothing had been" {
    start_counter first
    ask first one 1
    microvm snapshot first "$snapshot"
    is first running
    ask first two 2
    [ "$(microvm exec first echo fine)" = fine ]
    # Its log file is not the one that was saved any more.
    refused '/count has changed since'
    microvm delete --force first
}

@test "restore in the foreground: stdio is the command's, the status the container's, and nothing is left" {
    saved
    run -0 microvm restore "$snapshot" <<<'more'
    [ "$output" = $'more 2\nend' ]
    nothing_left
}

@test "a snapshot is good for more than one, while the files stay as they were" {
    script_is 'read word; echo $word'
    feed "$BATS_TEST_TMPDIR/in"
    microvm run --detach --bundle "$BUNDLE" first <"$BATS_TEST_TMPDIR/in" >/dev/null 2>&1 3>&-
    microvm snapshot --stop first "$snapshot"
    is first stopped
    microvm delete first
    for word in one two; do
        run -0 microvm restore --id "$word" "$snapshot" <<<"$word"
        [ "$output" = "$word" ]
    done
}

@test "a paused container is saved and stays paused until it is resumed" {
    start_counter first
    microvm pause first
    microvm snapshot --stop first "$snapshot"
    is first stopped
    microvm delete first
    restore_detached second
    is second paused
    echo word >&7
    sleep 1
    [ ! -s "$BATS_TEST_TMPDIR/second.out" ]
    microvm resume second
    wait_for 10 said second 'word 1'
    microvm delete --force second
}

@test "a terminal, a process of an exec and a restore of a restore" {
    script_is 'stty -echo; echo ready; while read -r word; do echo "got $word"; done'
    configure "$BUNDLE" '.process.terminal = true'
    mkfifo "$BATS_TEST_TMPDIR/in"
    exec 7<>"$BATS_TEST_TMPDIR/in"
    microvm run --bundle "$BUNDLE" first <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/first.out" 3>&- &
    wait_for 20 said first ready
    microvm exec first sleep 1000 3>&- 7>&- &
    other=$!
    wait_for 10 sh -c "'$microvm_program' --root '$STATE' ps first | grep -q 'sleep 1000'"
    microvm snapshot --stop first "$snapshot"
    wait "$other" || true
    for round in 1 2; do
        microvm restore "$snapshot" <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/again.out" 3>&- &
        other=$!
        echo "word$round" >&7
        wait_for 20 grep -q "got word$round" "$BATS_TEST_TMPDIR/again.out"
        run -0 microvm ps first
        [[ $output != *'sleep 1000'* ]]
        rm -r "$snapshot"
        microvm snapshot --stop first "$snapshot"
        wait "$other" || true
    done
}

@test "a snapshot with a parent has only what changed, and goes on with its parent" {
    start_counter first
    ask first one 1
    microvm snapshot first "$snapshot.parent"
    ask first two 2
    microvm snapshot --parent "$snapshot.parent" --stop first "$snapshot"
    microvm delete first
    [ $((4 * $(du -k "$snapshot/memory" | cut -f 1))) -lt "$(du -k "$snapshot.parent/memory" | cut -f 1)" ]
    restore_detached second
    ask second three 3
    # Its parent is the parent's parent: two are enough for any.
    microvm snapshot --parent "$snapshot" --stop second "$snapshot.next"
    microvm delete second
    rm -r "$snapshot"
    mv "$snapshot.next" "$snapshot"
    restore_detached third
    ask third four 4
    [ "$(cat "$BUNDLE/rootfs/count")" = $'1\n2\n3\n4' ]
    microvm delete --force third
    printf '1\n2\n3\n' >"$BUNDLE/rootfs/count"
    cp -a "$snapshot.parent" "$snapshot.good"
    flip "$snapshot.parent/memory" 0x1234567
    refused "parent's memory"
    rm -r "$snapshot.parent"
    refused 'parent'
}

@test "runc's checkpoint and restore" {
    start_counter first
    microvm checkpoint --image-path "$snapshot" --leave-running --file-locks --tcp-established first
    is first running
    microvm delete --force first
    microvm restore --image-path "$snapshot" --bundle "$BUNDLE" --detach --pid-file "$BATS_TEST_TMPDIR/pid" second \
        <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/second.out" 2>&1 3>&-
    [ "$(cat "$BATS_TEST_TMPDIR/pid")" = "$(microvm state second | jq .pid)" ]
    ask second word 1
    microvm delete --force second
    run -1 microvm checkpoint --pre-dump second
    [[ $output == *'--pre-dump is not supported'* ]]
}

@test "what cannot be saved is refused, and the container goes on" {
    start_counter first
    mkdir "$BATS_TEST_TMPDIR/full"
    touch "$BATS_TEST_TMPDIR/full/file"
    run -65 microvm snapshot first "$BATS_TEST_TMPDIR/full"
    [[ $output == *'not empty'* ]]
    run -65 microvm snapshot first "$BATS_TEST_TMPDIR/none/there"
    run -1 microvm snapshot nobody "$snapshot"
    # A disk that is too small.
    mkdir "$BATS_TEST_TMPDIR/small"
    mount -t tmpfs -o size=4m,mode=700 none "$BATS_TEST_TMPDIR/small"
    status=0
    output=$(microvm snapshot first "$BATS_TEST_TMPDIR/small/snapshot" 2>&1) || status=$?
    left=$(ls -A "$BATS_TEST_TMPDIR/small")
    umount "$BATS_TEST_TMPDIR/small"
    [ "$status" = 71 ]
    [[ $output == *'No space left'* ]]
    [ "$left" = '' ]
    ask first word 1
    # An open file that nothing could find again.
    rm "$BUNDLE/rootfs/count"
    run ! microvm snapshot first "$snapshot"
    [[ $output == *'/count (deleted) is open'* ]]
    [ ! -e "$snapshot" ]
    ask first word 2
    microvm delete --force first
}

@test "a monitor killed while it writes leaves no snapshot, and its rests go with the next" {
    start_counter first
    # A machine that stands still keeps its monitor in the middle of it.
    kill -STOP "$(pgrep -P "$(jq .monitor "$STATE/first/state.json")" -x microvm-vmm)"
    microvm snapshot first "$snapshot" 3>&- 7>&- &
    waiting=$!
    wait_for 10 sh -c "ls -A '$BATS_TEST_TMPDIR' | grep -q '^.snapshot.*new$'"
    kill -KILL "$(jq .monitor "$STATE/first/state.json")"
    wait "$waiting" || true
    [ ! -e "$snapshot" ]
    wait_for 10 is first stopped
    microvm delete --force first
    exec 7>&-
    rm "$BATS_TEST_TMPDIR/in"
    start_counter first
    microvm snapshot first "$snapshot"
    [ -z "$(find "$BATS_TEST_TMPDIR" -maxdepth 1 -name '.snapshot*')" ]
    microvm delete --force first
}

@test "files that are not what they were are refused" {
    saved
    echo 5 >>"$BUNDLE/rootfs/count"
    refused '/count has changed since'
    mv "$BUNDLE/rootfs/count" "$BUNDLE/rootfs/other"
    refused '/count is not there any more'
    echo 1 >"$BUNDLE/rootfs/count"
    refused '/count is another file now'
    mv "$BUNDLE/rootfs" "$BUNDLE/elsewhere"
    run -66 microvm restore "$snapshot"
    [[ $output == *rootfs*'No such file'* ]]
}

@test "a damaged, cut, foreign or open snapshot is refused" {
    saved
    cp -a "$snapshot" "$snapshot.good"
    renew() { rm -r "$snapshot" && cp -a "$snapshot.good" "$snapshot"; }

    flip "$snapshot/memory" 0x1234567
    refused memory
    renew
    truncate -s -4096 "$snapshot/memory"
    refused memory
    renew
    flip "$snapshot/state" 5000
    refused state
    renew
    sed -i 's/"cpus":1/"cpus":2/' "$snapshot/sandbox.json"
    refused checksum
    renew
    sed -i 's/"version":1/"version":9/' "$snapshot/sandbox.json"
    refused 'format 9'
    renew
    truncate -s 100 "$snapshot/sandbox.json"
    refused sandbox.json
    renew
    chmod 644 "$snapshot/memory"
    refused 'open to others'
    renew
    chmod 777 "$snapshot"
    refused 'others can write'
    renew
    rm "$snapshot/memory"
    refused memory
    renew
    run -66 microvm restore "$BATS_TEST_TMPDIR/none"
    # A copy is as good as the snapshot.
    run -0 microvm restore "$snapshot" <<<'more'
    [ "$output" = $'more 2\nend' ]
}

@test "another machine's state or memory is refused, and so is another program" {
    saved
    rm -f "$BATS_TEST_TMPDIR/in"
    exec 7>&-
    start_counter other
    microvm snapshot --stop other "$snapshot.other"
    microvm delete other
    cp -a "$snapshot" "$snapshot.good"
    cat "$snapshot.other/memory" >"$snapshot/memory"
    refused memory
    cat "$snapshot.other/state" >"$snapshot/state"
    refused 'not the one saved with sandbox.json'
    rm -r "$snapshot"
    cp -a "$snapshot.good" "$snapshot"
    mkdir -p "$BATS_TEST_TMPDIR/copy"
    cp -a "$MICROVM_DIST/." "$BATS_TEST_TMPDIR/copy"
    run -65 timeout 60 "$BATS_TEST_TMPDIR/copy/bin/microvm" --root "$STATE" restore "$snapshot"
    [[ $output == *'made with another'* ]]
}
