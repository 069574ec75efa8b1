#!/usr/bin/env bats
# A container in a network namespace somebody has set up, as engines and CNI plugins do: here by hand.
# shellcheck disable=SC2016,SC2034,SC2154 # the guest expands; the helper reads; bats assigns
load helper

setup_file() {
    if ! ip netns list >/dev/null 2>&1; then skip 'no ip(8)'; fi
    setup_file_common
}

setup() {
    setup_common
    NAMESPACE=mv-$BATS_TEST_NUMBER
    ip netns add "$NAMESPACE"
    in_namespace ip link set lo up
    # The namespace is a mount, and the test's own.
    things_before=$(things)
    configure "$BUNDLE" '(.linux.namespaces[] | select(.type == "network")).path = $p' --arg p "/run/netns/$NAMESPACE"
    configure "$BUNDLE" '.process.capabilities |= map_values(. + ["CAP_NET_RAW"])'
}

# bats takes a teardown's last status only.
teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || microvm delete --force c
    # Whoever comes next in the namespace finds it as it was.
    nothing_left && [ "$(in_namespace ip -o link | grep -c microvm)" = 0 ] && [ "$(in_namespace tc qdisc show | grep -c ingress)" = 0 ]
    local status=$?
    ip netns del "$NAMESPACE"
    [ ! -e "$BATS_TEST_TMPDIR/server.pid" ] || kill "$(cat "$BATS_TEST_TMPDIR/server.pid")" || true
    ip link del "h$BATS_TEST_NUMBER" 2>/dev/null || true
    return "$status"
}

in_namespace() { ip netns exec "$NAMESPACE" "$@"; }

# cable: a pair of interfaces: h… on the host with 10.77.N.1 and fd77:N::1, eth0 in the namespace with …2, and default routes.
cable() {
    local n=$BATS_TEST_NUMBER
    ip link add "h$n" type veth peer name eth0 netns "$NAMESPACE"
    ip addr add "10.77.$n.1/24" dev "h$n"
    ip -6 addr add "fd77:$n::1/64" dev "h$n" nodad
    ip link set "h$n" up
    in_namespace ip link set eth0 address "02:00:5e:10:00:$(printf %02x "$n")"
    in_namespace ip addr add "10.77.$n.2/24" brd + dev eth0
    in_namespace ip -6 addr add "fd77:$n::2/64" dev eth0 nodad
    in_namespace ip link set eth0 up
    in_namespace ip route add default via "10.77.$n.1"
    in_namespace ip -6 route add default via "fd77:$n::1"
}

# serve DIRECTORY: over HTTP on every address of the host, port 8077.
serve() {
    busybox httpd -f -p '[::]:8077' -h "$1" 3>&- &
    echo $! >"$BATS_TEST_TMPDIR/server.pid"
}

@test "the container has the namespace's interface: name, addresses, MTU, routes, neighbours" {
    local n=$BATS_TEST_NUMBER
    cable
    in_namespace ip link set eth0 mtu 1400
    in_namespace ip neigh add "10.77.$n.9" lladdr 02:00:5e:10:00:99 dev eth0
    in_namespace ip route add 192.0.2.0/24 via "10.77.$n.7" metric 50
    script_is 'ip -o link show eth0; ip -o addr show eth0; ip route; ip -6 route; ip neigh'
    run -0 --separate-stderr microvm run "$BUNDLE"
    echo "$output"
    [[ ${lines[0]} == *'UP,LOWER_UP'*'mtu 1400'*'link/ether 02:00:5e:10:00:0'$n* ]]
    [[ $output == *"inet 10.77.$n.2/24 brd 10.77.$n.255 scope global eth0"* ]]
    [[ $output == *"inet6 fd77:$n::2/64 scope global"* ]]
    [[ $output == *"default via 10.77.$n.1 dev eth0"* ]]
    [[ $output == *"default via fd77:$n::1 dev eth0"* ]]
    [[ $output == *"192.0.2.0/24 via 10.77.$n.7 dev eth0  metric 50"* ]]
    [[ $output == *"10.77.$n.9 dev eth0 lladdr 02:00:5e:10:00:99 "*PERMANENT* ]]
}

@test "a container with a user namespace has the interface in a network namespace that it owns" {
    local n=$BATS_TEST_NUMBER
    cable
    mkdir "$BATS_TEST_TMPDIR/web"
    echo page >"$BATS_TEST_TMPDIR/web/file"
    serve "$BATS_TEST_TMPDIR/web"
    configure "$BUNDLE" '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
        | .linux.gidMappings = .linux.uidMappings | .process.capabilities |= map_values(. + ["CAP_NET_ADMIN"])'
    script_is "ip -o addr show eth0; ip route; wget -q -O - http://10.77.$n.1:8077/file; ip addr add 10.88.0.1/24 dev eth0 && echo own"
    run -0 --separate-stderr microvm run "$BUNDLE"
    echo "$output"
    [[ $output == *"inet 10.77.$n.2/24 brd 10.77.$n.255 scope global eth0"* ]]
    [[ $output == *"default via 10.77.$n.1 dev eth0"* ]]
    [[ $output == *page*own ]]
}

@test "a namespace with a loopback only: so has the container, and it works" {
    script_is 'ls /sys/class/net; ip -o addr show lo; echo hello | nc -l -p 5000 & sleep 0.5; nc 127.0.0.1 5000'
    run -0 --separate-stderr microvm run "$BUNDLE"
    [ "${lines[0]}" = lo ]
    [[ $output == *'127.0.0.1/8'* ]]
    [ "${lines[-1]}" = hello ]
}

# bats test_tags=smoke
@test "container to host and host to container, by IPv4 and IPv6, large files arrive as they were" {
    local n=$BATS_TEST_NUMBER
    cable
    mkdir "$BATS_TEST_TMPDIR/www"
    dd if=/dev/urandom of="$BATS_TEST_TMPDIR/www/large" bs=64k count="$( [ -n "${MICROVM_LAB:-}" ] && echo 64 || echo 4)" status=none
    serve "$BATS_TEST_TMPDIR/www"
    sum=$(sha256sum <"$BATS_TEST_TMPDIR/www/large")
    script_is "ping -c 1 -W 5 10.77.$n.1 >/dev/null && echo ping4; ping -c 1 -W 5 fd77:$n::1 >/dev/null && echo ping6
        wget -qO- http://10.77.$n.1:8077/large | sha256sum; wget -qO- 'http://[fd77:$n::1]:8077/large' | sha256sum
        wget -qO /tmp/large http://10.77.$n.1:8077/large; httpd -p 80 -h /tmp; echo serving; while [ ! -e /tmp/done ]; do sleep 0.1; done"
    launch c
    wait_for 60 said c serving
    [ "$(cat "$BATS_TEST_TMPDIR/c.out")" = "$(printf 'ping4\nping6\n%s\n%s\nserving' "$sum" "$sum")" ]
    [ "$(busybox wget -qO- "http://10.77.$n.2/large" | sha256sum)" = "$sum" ]
    [ "$(busybox wget -qO- "http://[fd77:$n::2]/large" | sha256sum)" = "$sum" ]
    microvm kill c KILL
    wait_for 10 is c stopped
    microvm delete c
}

@test "an interface that a hook puts there, as docker's does" {
    configure "$BUNDLE" '(.linux.namespaces[] | select(.type == "network")) |= del(.path)'
    cat >"$BATS_TEST_TMPDIR/hook" <<EOF
#!/bin/sh
pid=\$(jq .pid)
ip link add h$BATS_TEST_NUMBER type veth peer name eth0 netns /proc/\$pid/ns/net
ip addr add 10.77.$BATS_TEST_NUMBER.1/24 dev h$BATS_TEST_NUMBER && ip link set h$BATS_TEST_NUMBER up
nsenter --net=/proc/\$pid/ns/net ip addr add 10.77.$BATS_TEST_NUMBER.2/24 dev eth0 && nsenter --net=/proc/\$pid/ns/net ip link set eth0 up
EOF
    chmod 755 "$BATS_TEST_TMPDIR/hook"
    configure "$BUNDLE" '.hooks.prestart = [{path: $h, env: [$path]}]' --arg h "$BATS_TEST_TMPDIR/hook" --arg path "PATH=$PATH"
    script_is "ping -c 1 -W 5 10.77.$BATS_TEST_NUMBER.1"
    run -0 microvm run "$BUNDLE"
    [[ $output == *'1 packets received'* ]]
}

@test "an interface that comes between create and start" {
    script_is "ping -c 1 -W 5 10.77.$BATS_TEST_NUMBER.1"
    create c
    cable
    microvm start c
    wait_for 20 is c stopped
    said c '1 packets received'
    microvm delete c
}

@test "two interfaces, each with its name" {
    cable
    in_namespace ip link add net1 type veth peer name peer1
    in_namespace ip addr add 10.78.0.2/24 dev net1
    in_namespace ip link set net1 up
    script_is 'for i in eth0 net1; do ip -o -4 addr show $i; cat /sys/class/net/$i/address; done'
    run -0 --separate-stderr microvm run "$BUNDLE"
    [[ ${lines[0]} == *"10.77.$BATS_TEST_NUMBER.2/24"* ]]
    [ "${lines[1]}" = "02:00:5e:10:00:0$BATS_TEST_NUMBER" ]
    [[ ${lines[2]} == *10.78.0.2/24* ]]
    [ "${lines[3]}" = "$(in_namespace cat /sys/class/net/net1/address)" ]
    in_namespace ip link del net1
}

@test "frames from another Ethernet address than its own do not leave the machine" {
    cable
    all_capabilities
    script_is "ping -c 1 -W 5 10.77.$BATS_TEST_NUMBER.1 | grep received
        ip link set eth0 down; ip link set eth0 address 02:00:5e:10:00:66; ip link set eth0 up; ip route add default via 10.77.$BATS_TEST_NUMBER.1
        ping -c 1 -W 2 10.77.$BATS_TEST_NUMBER.1 | grep received"
    run -0 --separate-stderr microvm run "$BUNDLE"
    [[ ${lines[0]} == *'1 packets received'* ]]
    [[ ${lines[1]} == *'0 packets received'* ]]
}

@test "after a monitor that was killed the namespace can be used again, and delete puts it in order" {
    cable
    command_is sleep 1000
    launch c
    kill -KILL "$(jq .monitor "$STATE/c/state.json")"
    wait_for 10 gone "$(pid_of c)"
    microvm delete --force c
    [ "$(in_namespace tc qdisc show | grep -c ingress)" = 0 ]
    script_is "ping -c 1 -W 5 10.77.$BATS_TEST_NUMBER.1"
    run -0 microvm run "$BUNDLE"
}

@test "an interface that is taken away while the container runs: its link goes down, and nothing else" {
    cable
    script_is 'echo up; while [ "$(cat /sys/class/net/eth0/carrier)" = 1 ]; do sleep 0.1; done; echo down'
    launch c
    wait_for 20 said c up
    tap=$(in_namespace ip -o link | sed -n 's/.*: \(microvm[0-9]*\):.*/\1/p')
    in_namespace ip link del "$tap"
    wait_for 20 said c down
    wait_for 10 is c stopped
    microvm delete c
}

@test "the host's own namespace: a warning in explain, and a loopback only" {
    configure "$BUNDLE" '.linux.namespaces |= map(select(.type != "network"))'
    run -0 microvm explain "$BUNDLE"
    [[ $output == *WEAKENED*'loopback interface only'* ]]
    command_is ls /sys/class/net
    run -0 --separate-stderr microvm run "$BUNDLE"
    [ "$output" = lo ]
}
