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
    for kind in createContainer startContainer; do hook $kind "echo $kind >>/notes"; done
    configure "$BUNDLE" '.hooks.createContainer[0] |= (.path = "/run/microvm/shares/rootfs/bin/busybox" | .args[2] = "echo createContainer >>/run/microvm/shares/rootfs/notes")'
    script_is 'echo program >>/notes; sleep 1000'
    create c
    [ "$(cat "$NOTES")" = "prestart created c true $BUNDLE
createRuntime creating c true $BUNDLE
createContainer" ]
    microvm start c
    wait_for 10 grep -q program "$NOTES"
    wait_for 10 grep -q poststart "$NOTES"
    microvm delete --force c
    [ "$(sed 1,3d "$NOTES" | sort)" = "poststart running c true $BUNDLE
poststop stopped c false $BUNDLE
program
startContainer" ]
    [ "$(sed -n 4p "$NOTES")" = startContainer ]
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
