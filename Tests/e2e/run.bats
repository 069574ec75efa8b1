#!/usr/bin/env bats
# microvm run: what a container sees, and what its caller gets back.
# shellcheck disable=SC2016,SC2154 # the guest expands; bats and the helper assign
load helper

setup_file() { setup_file_common; }
setup() { setup_common; }
teardown() { nothing_left; }

# bats test_tags=smoke
@test "the container runs in a kernel of its own" {
    script_is 'cat /proc/sys/kernel/random/boot_id; uname -r'
    run -0 --separate-stderr microvm run "$BUNDLE"
    [ "${lines[0]}" != "$(cat /proc/sys/kernel/random/boot_id)" ]
    [[ ${lines[0]} =~ ^[0-9a-f]{8}-[0-9a-f-]{27}$ ]]
    [[ ${lines[1]} == *-microvm ]]
}

@test "its exit code is the command's own" {
    script_is 'exit 42'
    run -42 microvm run "$BUNDLE"
}

@test "an end by signal is 128 and the signal" {
    # The first process of a namespace cannot be killed from within.
    script_is 'sh -c "kill -9 \$\$"; exit $?'
    run -137 microvm run "$BUNDLE"
}

# bats test_tags=smoke
@test "stdout and stderr stay apart" {
    script_is 'echo out; echo err >&2'
    run -0 --separate-stderr microvm run "$BUNDLE"
    [ "$output" = out ]
    [ "$stderr" = err ]
}

# bats test_tags=smoke
@test "stdin arrives, and its end too" {
    command_is wc -c
    run -0 microvm run "$BUNDLE" < <(head -c 100000 /dev/zero)
    [ "$output" = 100000 ]
}

@test "the process is as the spec says: environment, directory, user, groups, umask, limits, hostname" {
    configure "$BUNDLE" '.hostname = "pod-1"
        | .process.env += ["GREETING=hello world"]
        | .process.cwd = "/tmp"
        | .process.user = {uid: 1000, gid: 1000, additionalGids: [7, 8], umask: 63}
        | .process.rlimits = [{type: "RLIMIT_NOFILE", soft: 77, hard: 99}]'
    script_is 'echo "$GREETING"; pwd; id -u; id -G; umask; ulimit -n; ulimit -Hn; hostname; echo $$'
    run -0 --separate-stderr microvm run "$BUNDLE"
    [ "${lines[*]}" = 'hello world /tmp 1000 1000 7 8 0077 77 99 pod-1 1' ]
}

# bats test_tags=smoke
@test "run.oci.keep_original_groups gives the process the caller's groups" {
    configure "$BUNDLE" '.process.user.additionalGids = [9]'
    command_is grep ^Groups: /proc/self/status
    [[ $(setpriv --groups 7,8 "$microvm_program" --root "$STATE" run "$BUNDLE") =~ ^Groups:.9\ *$ ]]
    configure "$BUNDLE" '.annotations["run.oci.keep_original_groups"] = "1"'
    [[ $(setpriv --groups 7,8 "$microvm_program" --root "$STATE" run "$BUNDLE") =~ ^Groups:.7\ 8\ *$ ]]
}

# bats test_tags=smoke
@test "whatever there is of the masked and read-only paths is covered" {
    local paths
    paths=$(jq -r '.linux | .maskedPaths + .readonlyPaths | unique[]' "$BUNDLE/config.json")
    [[ $paths == */proc/acpi*/proc/keys*/proc/sys* ]]
    script_is 'cut -d " " -f 5 /proc/self/mountinfo; cat /proc/keys /proc/timer_list; echo x >/proc/sys/kernel/domainname'
    run -1 --separate-stderr microvm run "$BUNDLE"
    [[ $stderr == *'Read-only file system'* ]]
    local covered
    covered=$(grep -xF "$paths" <<<"$output" | sort)
    # Nothing but mounts: the covered files are empty.
    [ "$(grep -cv '^/' <<<"$output")" = 0 ]
    configure "$BUNDLE" '.linux.maskedPaths = [] | .linux.readonlyPaths = []'
    script_is "ls -d ${paths//$'\n'/ } 2>/dev/null"
    [ "$(microvm run "$BUNDLE" | tr -d '\r' | sort)" = "$covered" ]
    [ "$(wc -l <<<"$covered")" -ge 6 ]
}

@test "capabilities, no_new_privs and seccomp are the spec's" {
    configure "$BUNDLE" '.process.noNewPrivileges = true
        | .process.capabilities = {bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"]}
        | .linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"],
            syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 95}]}'
    script_is 'grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status | tr -s "\t" " "; mkdir /tmp/x 2>&1'
    run -1 --separate-stderr microvm run "$BUNDLE"
    [[ $output == *'CapEff: 0000000000000020'* ]]
    [[ $output == *'CapBnd: 0000000000000020'* ]]
    [[ $output == *'NoNewPrivs: 1'* ]]
    [[ $output == *'Seccomp: 2'* ]]
    [[ $output == *'not supported'* ]]
}

@test "the root file system is the bundle's, both ways" {
    echo from-host >"$BUNDLE/rootfs/in"
    script_is 'cat /in; echo from-guest >/out; chmod 640 /out; ln -s out /link'
    run -0 microvm run "$BUNDLE"
    [ "$output" = from-host ]
    [ "$(cat "$BUNDLE/rootfs/out")" = from-guest ]
    [ "$(stat -c %a "$BUNDLE/rootfs/out")" = 640 ]
    [ "$(readlink "$BUNDLE/rootfs/link")" = out ]
}

@test "a read-only root cannot be written" {
    configure "$BUNDLE" '.root.readonly = true'
    script_is 'echo x >/file'
    run ! microvm run "$BUNDLE"
    [ ! -e "$BUNDLE/rootfs/file" ]
}

# bats test_tags=smoke
@test "bind mounts: directories and files, writable and read-only" {
    mkdir "$BATS_TEST_TMPDIR/volume"
    echo content >"$BATS_TEST_TMPDIR/file"
    configure "$BUNDLE" '.mounts += [
        {destination: "/volume", source: $volume, options: ["rbind", "rw"]},
        {destination: "/volume-ro", source: $volume, options: ["rbind", "ro"]},
        {destination: "/etc/the-file", source: $file, options: ["bind", "ro"]}]' \
        --arg volume "$BATS_TEST_TMPDIR/volume" --arg file "$BATS_TEST_TMPDIR/file"
    script_is 'cat /etc/the-file; echo new >/volume/new && cat /volume-ro/new; echo no >/volume-ro/no || echo refused'
    run -0 --separate-stderr microvm run "$BUNDLE"
    [ "${lines[*]}" = 'content new refused' ]
    [ "$(cat "$BATS_TEST_TMPDIR/volume/new")" = new ]
}

@test "this host can unmount a volume that a container has, which keeps it; a slave sees what is mounted later" {
    local volume=$BATS_TEST_TMPDIR/volume
    mkdir "$volume" && mount -t tmpfs none "$volume" && mount --make-shared "$volume"
    mkdir "$volume/below" "$volume/later" && mount -t tmpfs none "$volume/below" && echo kept >"$volume/below/file"
    configure "$BUNDLE" '.mounts += [{destination: "/a", source: $v, options: ["rbind"]}, {destination: "/b", source: $v, options: ["rbind", "rslave"]}]' \
        --arg v "$volume"
    script_is 'until [ -e /a/go ]; do sleep 0.1; done; cat /a/below/file; ls /a/later /b/later'
    launch c
    umount "$volume/below"
    mount -t tmpfs none "$volume/later"
    echo >"$volume/later/new"
    echo >"$volume/go"
    wait_for 20 said c new
    microvm delete --force c
    umount -R "$volume"
    [ "$(tr '\n' ' ' <"$BATS_TEST_TMPDIR/c.out")" = 'kept /a/later:  /b/later: new ' ]
}

@test "rbind,ro leaves what is mounted below writable, rbind,rro does not; mountinfo names the sources" {
    local volume=$BATS_TEST_TMPDIR/volume
    mkdir "$volume" && mount -t tmpfs none "$volume" && mkdir "$volume/below" && mount -t tmpfs none "$volume/below"
    configure "$BUNDLE" '.mounts += [{destination: "/a", source: $v, options: ["rbind", "ro"]},
        {destination: "/b", source: $v, options: ["rbind", "ro", "rro"]}, {destination: "/c", source: "/etc/hosts", options: ["bind", "ro"]}]' --arg v "$volume"
    script_is 'touch /a/top /a/below/written /b/below/not; awk "\$5 ~ /^.[abc]/ { print \$4, \$5 }" /proc/self/mountinfo'
    run -0 microvm run "$BUNDLE"
    local files=("$volume"/* "$volume"/below/*)
    umount -R "$volume"
    echo "$output"
    [[ $output == *'/a/top: Read-only file system'*'/b/below/not: Read-only file system'* ]]
    [ "${files[*]}" = "$volume/below $volume/below/written" ]
    [[ $output == *$'/volume /a\n'*$'/volume /b\n'*'/hosts /c'* ]]
}

@test "idmap: a volume's files are whose its maps say, and those made there are the host's users' again" {
    [ -n "${MICROVM_LAB_SCRATCH:-}" ] || skip 'needs a file system whose ids can be mapped: runs in the lab only'
    local volume=$MICROVM_LAB_SCRATCH/volume
    mkdir "$volume"
    touch "$volume/file"
    chown 5:6 "$volume/file"
    chmod 777 "$volume"
    configure "$BUNDLE" '.mounts += [{destination: "/mnt", type: "bind", source: $volume, options: ["rbind"],
        uidMappings: [{containerID: 0, hostID: 0, size: 1}, {containerID: 5, hostID: 1000, size: 1}],
        gidMappings: [{containerID: 0, hostID: 0, size: 1}, {containerID: 6, hostID: 1001, size: 1}]}]
        | .process.user = {uid: 1000, gid: 1001}' --arg volume "$volume"
    script_is 'stat -c %u:%g /mnt/file; touch /mnt/made; echo mine >/mnt/file'
    [ "$(microvm run "$BUNDLE")" = 1000:1001 ]
    [ "$(stat -c %u:%g "$volume/made" "$volume/file" | uniq)" = 5:6 ]
    [ "$(cat "$volume/file")" = mine ]
    # By crun's option, and by the container's own map.
    configure "$BUNDLE" '.mounts[-1] |= (del(.uidMappings, .gidMappings) | .options = ["bind", "idmap=uids=5-7-1;gids=6-8-1"])'
    script_is 'stat -c %u:%g /mnt/file'
    [ "$(microvm run "$BUNDLE")" = 7:8 ]
    configure "$BUNDLE" '.mounts[-1].options = ["bind", "idmap"] | .linux.namespaces += [{type: "user"}]
        | .linux.uidMappings = [{containerID: 0, hostID: 0, size: 2000}] | .linux.gidMappings = [{containerID: 0, hostID: 0, size: 2000}]'
    [ "$(microvm run "$BUNDLE")" = 5:6 ]
}

@test "tmpfs, proc, sysfs, devices and their options" {
    configure "$BUNDLE" '.mounts += [{destination: "/scratch", type: "tmpfs", source: "tmpfs", options: ["nosuid", "noexec", "size=1m", "mode=750"]}]'
    script_is 'grep " /scratch " /proc/mounts; ls -d /proc/1 /sys/kernel; echo x >/dev/null; head -c 4 /dev/zero | wc -c; ls -l /dev/fd'
    run -0 --separate-stderr microvm run "$BUNDLE"
    [[ ${lines[0]} == *noexec* && ${lines[0]} == *size=1024k* && ${lines[0]} == *mode=750* ]]
    [[ $output == *' /dev/fd -> '* ]]
}

@test "--cpus and --memory are what the guest has" {
    script_is 'nproc; grep MemTotal /proc/meminfo | tr -s " " | cut -d " " -f 2'
    run -0 --separate-stderr microvm run --cpus 2 --memory 256M "$BUNDLE"
    [ "${lines[0]}" = 2 ]
    ((lines[1] > 180000 && lines[1] <= 262144))
}

@test "sixteen CPUs come up and work at once" {
    script_is 'nproc; for n in $(seq 16); do head -c 1m /dev/zero | md5sum & done; wait'
    run -0 --separate-stderr microvm run --cold --cpus 16 "$BUNDLE"
    [ "${lines[0]}" = 16 ]
    [ "$(sort -u <<<"$output" | wc -l)" = 2 ]
    [ "${#lines[@]}" = 17 ]
}

@test "the guest has the deadline timer, which needs no calibration" {
    script_is 'grep -c -w tsc_deadline_timer /proc/cpuinfo'
    run -0 --separate-stderr microvm run "$BUNDLE"
    [ "$output" = 1 ]
}

@test "a memory limit of the spec ends what exceeds it" {
    configure "$BUNDLE" '.linux.resources.memory.limit = 16777216 | .linux.resources.memory.swap = 16777216'
    script_is 'head -c 64m /dev/zero | tail'
    run ! microvm run "$BUNDLE"
}

@test "SIGTERM is forwarded, and the container's answer comes back" {
    script_is 'trap "echo caught; exit 7" TERM; echo ready; while :; do sleep 0.1; done'
    microvm run "$BUNDLE" >"$BATS_TEST_TMPDIR/out" 3>&- &
    runner=$!
    wait_for 50 grep -q ready "$BATS_TEST_TMPDIR/out"
    pkill -TERM -f "^$microvm_program .* run $BUNDLE"
    ended 7 "$runner"
    grep -q caught "$BATS_TEST_TMPDIR/out"
}

@test "a spec with a terminal gives one, with its size, and the settings come back" {
    configure "$BUNDLE" '.process.terminal = true'
    script_is 'tty; stty size; exit 3'
    run python3 - "$microvm_program" "$STATE" "$BUNDLE" <<'EOF'
import fcntl, os, pty, struct, sys, termios
program, state, bundle = sys.argv[1:]
pid, master = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    before = termios.tcgetattr(0)
    child = os.spawnv(os.P_WAIT, program, [program, "--root", state, "run", bundle])
    print("restored", termios.tcgetattr(0) == before, "status", child)
    sys.stdout.flush()
    os._exit(0)
data = b""
while True:
    try: part = os.read(master, 4096)
    except OSError: break
    if not part: break
    data += part
os.waitpid(pid, 0)
print(data.decode())
EOF
    [[ $output == *'/dev/'* ]]
    [[ $output == *'33 77'* ]]
    [[ $output == *'restored True status 3'* ]]
}

# bats test_tags=smoke
@test "vector registers of processes that take turns do not mix" {
    cc -static -O2 -o "$BUNDLE/rootfs/bin/avx-yield" "$BATS_TEST_DIRNAME/programs/avx-yield.c"
    command_is avx-yield
    run -0 microvm run "$BUNDLE"
}

# bats test_tags=smoke
@test "a signal's frame carries the vector registers" {
    cc -static -O2 -o "$BUNDLE/rootfs/bin/signal-frame" "$BATS_TEST_DIRNAME/programs/signal-frame.c"
    command_is signal-frame
    run -0 microvm run "$BUNDLE"
}

# bats test_tags=smoke
@test "pages mapped around one that is read are the file's: its bytes, its end, what is written and cut off" {
    cc -static -O2 -o "$BUNDLE/rootfs/bin/mapped-around" "$BATS_TEST_DIRNAME/programs/mapped-around.c"
    command_is mapped-around /file
    run -0 microvm run "$BUNDLE"
}

# bats test_tags=smoke
@test "what a program has mapped from its root can be written past the page cache, out of it and into it" {
    mkdir "$BATS_TEST_TMPDIR/other"
    cc -static -O2 -o "$BUNDLE/rootfs/bin/direct-mapped" "$BATS_TEST_DIRNAME/programs/direct-mapped.c"
    head -c 1048576 /dev/urandom >"$BUNDLE/rootfs/source"
    command_is direct-mapped /source /other/copy
    configure "$BUNDLE" '.mounts += [{destination: "/other", type: "bind", source: $d, options: ["rbind", "rw"]}]' --arg d "$BATS_TEST_TMPDIR/other"
    run -0 microvm run "$BUNDLE"
    cmp "$BUNDLE/rootfs/source" "$BATS_TEST_TMPDIR/other/copy"
    # Written by a mapping only, which the program's end closed and the machine's end came right after.
    cmp "$BUNDLE/rootfs/source" "$BUNDLE/rootfs/back"
}

@test "what a file system in a file of the container holds back is in the file at its end" {
    truncate -s 8M "$BUNDLE/rootfs/disk"
    mkfs.ext4 -q "$BUNDLE/rootfs/disk"
    all_capabilities
    configure "$BUNDLE" '.linux.resources.devices = [{allow: true, access: "rwm"}]'
    script_is 'mknod /dev/loop-control c 10 237; losetup -f && mknod /dev/loop0 b 7 0; losetup /dev/loop0 /disk && mount -t ext4 /dev/loop0 /mnt && echo kept >/mnt/file'
    run -0 --separate-stderr microvm run "$BUNDLE"
    [ "$(debugfs -R 'cat file' "$BUNDLE/rootfs/disk" 2>/dev/null)" = kept ]
}
