#!/usr/bin/env bats
# The commands that start no container: what they print for people, what for programs, and their statuses.
# shellcheck disable=SC2154 # bats and the helper assign
load helper

setup_file() { setup_file_common; }
setup() { setup_common; }
teardown() { nothing_left; }

@test "--help says what each command is for, on standard output" {
    run -0 --separate-stderr microvm --help
    [[ $output == *"Run OCI containers"* ]]
    [ "$stderr" = '' ]
    for command in run create start state kill delete exec list ps pause resume update events check explain why spec features; do
        run -0 --separate-stderr microvm "$command" --help
        [[ $output == *"USAGE: microvm $command "* ]]
        [ "$stderr" = '' ]
    done
}

@test "what is no command is refused, also when help is asked for" {
    for words in 'no-such' 'no-such -h' '--root /run no-such --help'; do
        # shellcheck disable=SC2086 # words
        run -64 --separate-stderr "$microvm_program" $words
        [[ $stderr == *"No help topic for 'no-such'"* ]]
        [ -z "$output" ]
    done
}

@test "completion scripts are for three shells" {
    for shell in bash zsh fish; do
        run -0 --separate-stderr "$microvm_program" --generate-completion-script "$shell"
        [[ $output == *microvm* ]]
    done
}

@test "--version and version say the same" {
    run -0 microvm --version
    [[ ${lines[0]} == "microvm version "* ]]
    version=$output
    run -0 microvm version
    [ "$output" = "$version" ]
}

@test "check says what this host can do" {
    run -0 --separate-stderr microvm check
    [[ $output == *"/dev/kvm can be used"* ]]
    run -0 --separate-stderr microvm check --json
    jq -e '.' <<<"$output" >/dev/null
}

@test "explain names each field of a spec and what becomes of it" {
    configure "$BUNDLE" '.process.apparmorProfile = "docker-default" | .linux.intelRdt = {closID: "x"}'
    run --separate-stderr microvm explain "$BUNDLE"
    [[ $output == *linux.intelRdt*REFUSED* ]]
    [[ $output == *process.apparmorProfile*WEAKENED* ]]
    [[ $output == *hostname* ]]
    run --separate-stderr microvm explain --json "$BUNDLE"
    jq -e '.[] | select(.field == "linux.intelRdt" and .treatment == "refused")' <<<"$output" >/dev/null
}

@test "spec writes a config that runs, and does not overwrite one" {
    mkdir "$BATS_TEST_TMPDIR/new"
    run -0 "$microvm_program" spec --bundle "$BATS_TEST_TMPDIR/new"
    jq -e '.ociVersion and .process.args' "$BATS_TEST_TMPDIR/new/config.json" >/dev/null
    run -73 "$microvm_program" spec --bundle "$BATS_TEST_TMPDIR/new"
    [[ $output == *config.json* ]]
}

@test "why shows where the start of a sandbox that is gone went" {
    run -0 --separate-stderr microvm run --timing "$BUNDLE"
    [[ $stderr == *": started in "*" s: "* ]]
    id=${stderr%%:*}
    run -0 microvm why "$id"
    [[ $output == *"slowest step"* ]]
    run -0 microvm why
    [[ $output == "$id,"* ]]
    run -66 microvm why no-such-sandbox
}

@test "features tells what a spec may ask for, and explain agrees" {
    run -0 --separate-stderr microvm features
    jq -e '.ociVersionMax and (.hooks | length) == 6 and .linux.cgroup.v2 and .linux.seccomp.enabled and (.linux.cgroup.rdma | not)
        and (.linux.intelRdt.enabled | not) and (.linux.namespaces | index("time"))' <<<"$output" >/dev/null
    configure "$BUNDLE" '.mounts += [.mounts[0] + {destination: "/a", options: ["no-such-option"]}] | .linux.resources.rdma = {x: {hcaHandles: 1}}'
    [ "$(jq '.mountOptions | index("no-such-option")' <<<"$output")" = null ]
    run --separate-stderr microvm explain "$BUNDLE"
    [[ $output == *rdma*REFUSED* ]]
    run ! microvm run "$BUNDLE"
}
