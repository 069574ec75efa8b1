#!/usr/bin/env bats
# Hooks of all six kinds: where they run, in which order, what they are told, and what their failure means.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load helper

setup_file() { setup_file_common; }

setup() {
    setup_common
    NOTES=$BUNDLE/rootfs/notes
    touch "$NOTES"
}

teardown() {
    microvm delete --force c
    nothing_left
}

# hook KIND SCRIPT [TIMEOUT]: a hook of the host; the guest's have their paths in the container.
hook() {
    configure "$BUNDLE" '.hooks[$kind] += [{path: "/bin/sh", args: ["sh", "-c", $script], env: ["PATH=/bin:/usr/bin"]}
        | if $timeout == "" then . else .timeout = ($timeout | tonumber) end]' --arg kind "$1" --arg script "$2" --arg timeout "${3:-}"
}

@test "in their order, with the state on standard input" {
    for kind in prestart createRuntime poststart poststop; do
        hook $kind "jq -r '\"$kind \" + .status + \" \" + .id + \" \" + (.pid > 0 | tostring) + \" \" + .bundle' >>$NOTES"
    done
    hook createContainer "echo createContainer of this host >>$NOTES"
    # Another has its path in the guest.
    hook createContainer 'echo createContainer >>/run/microvm/shares/rootfs/notes'
    configure "$BUNDLE" '.hooks.createContainer[1].path = "/run/microvm/shares/rootfs/bin/busybox"'
    hook startContainer 'echo startContainer >>/notes'
    script_is 'echo program >>/notes; sleep 1000'
    create c
    [ "$(cat "$NOTES")" = "prestart created c true $BUNDLE
createRuntime creating c true $BUNDLE
createContainer of this host
createContainer" ]
    microvm start c
    wait_for 10 grep -q program "$NOTES"
    wait_for 10 grep -q poststart "$NOTES"
    microvm delete --force c
    [ "$(sed 1,4d "$NOTES" | sort)" = "poststart running c true $BUNDLE
poststop stopped c false $BUNDLE
program
startContainer" ]
    [ "$(sed -n 5p "$NOTES")" = startContainer ]
}

@test "what hooks mount in the container's mount namespace on this host is seen in the guest, and not on the host" {
    echo one >"$BUNDLE/one"
    echo two >"$BUNDLE/two"
    touch "$BUNDLE/rootfs/one" "$BUNDLE/rootfs/two"
    hook createRuntime "nsenter -m -t \$(jq .pid) mount --bind $BUNDLE/one $BUNDLE/rootfs/one"
    # In the container's namespaces, where its root file system is.
    hook createContainer "mount --bind $BUNDLE/two two; readlink /proc/self/ns/uts >>$NOTES"
    hook poststart "readlink /proc/\$(jq .pid)/ns/uts >>$NOTES"
    script_is 'cat one two'
    run -0 microvm run "$BUNDLE"
    [ "$output" = 'one
two' ]
    [ "$(uniq "$NOTES" | wc -l)" = 1 ]
    [ ! -s "$BUNDLE/rootfs/one" ] && [ ! -s "$BUNDLE/rootfs/two" ]
}

@test "a network interface moved by a prestart hook is in the container's namespace on this host" {
    hook createRuntime "pid=\$(jq .pid); readlink /proc/\$pid/ns/net >>$NOTES; readlink /proc/self/ns/net >>$NOTES"
    command_is sleep 1000
    create c
    [ "$(sed -n 1p "$NOTES")" = "$(readlink "/proc/$(pid_of c)/ns/net")" ]
    [ "$(sed -n 2p "$NOTES")" = "$(readlink /proc/self/ns/net)" ]
}

@test "prestart and createRuntime: a failure ends the creation, and says what the hook said" {
    for kind in prestart createRuntime; do
        configure "$BUNDLE" 'del(.hooks)'
        hook $kind 'echo no luck >&2; exit 3'
        hook poststop "echo poststop >>$NOTES"
        run -1 create c
        grep -q "hooks.$kind\\[0\\].*exit status 3.*no luck" "$BATS_TEST_TMPDIR/c.err"
        run -1 microvm state c
    done
}

@test "a hook that does not end in its time is killed" {
    hook createRuntime 'sleep 1000' 1
    run -1 create c
    grep -q 'did not end in 1 s' "$BATS_TEST_TMPDIR/c.err"
    [ "$(pgrep -f 'sleep 1000')" = '' ]
}

@test "startContainer: a failure ends the start" {
    hook startContainer 'exit 4'
    command_is sleep 1000
    create c
    run -1 microvm start c
    wait_for 20 is c stopped
}

@test "startContainer: the container's system call filter holds" {
    hook startContainer 'mkdir /tmp/x'
    command_is true
    configure "$BUNDLE" '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_KILL"}]}'
    run ! microvm run "$BUNDLE"
    [[ $output == *'error running hook hooks.startContainer[0] /bin/sh: bad system call'* ]]
}

@test "poststart: a failure ends the container" {
    hook poststart 'exit 5'
    command_is sleep 1000
    create c
    run -1 microvm start c
    [[ $output == *'hooks.poststart'* ]]
    wait_for 20 is c stopped
}

@test "poststop: the container goes all the same" {
    hook poststop "echo one >>$NOTES; exit 6"
    hook poststop "echo two >>$NOTES"
    command_is true
    launch c
    wait_for 20 is c stopped
    run -0 microvm delete c
    [[ $output == *'level=warning'*'exit status 6'* ]]
    run -1 microvm state c
    [ "$(cat "$NOTES")" = 'one
two' ]
}
