import CLinux
import Glibc
import Linux
import Testing

@testable import Machine

/// What a filter lets through is tried on a process of its own: at anything else the kernel ends it.
@Suite("System call filters")
struct ThreadFilterTests {
    /// How a child ends that puts the filter on, makes one call and exits.
    private func end(_ kind: ThreadKind, _ call: (inout SystemCallProgram) -> Void) throws -> Int32 {
        let filter = SystemCallFilter(kind.rules)
        let words = filter.instructions.map { UInt64($0.code) | UInt64($0.jumpTrue) << 16 | UInt64($0.jumpFalse) << 24 | UInt64($0.value) << 32 }
        let child = try ProgramProcess { _ in
            var program = SystemCallProgram()
            let instructions = program.words(words)
            let header = program.structure([.value(UInt64(words.count)), .address(instructions)])
            program.call(SYS_prctl, .literal(PR_SET_NO_NEW_PRIVS), 1, 0, 0, 0)
            program.call(SYS_seccomp, 1, 0, header)
            call(&program)
            program.call(SYS_exit_group, 0)
            return program
        }
        var status: Int32 = 0
        while waitpid(child.pid, &status, 0) == -1, errno == EINTR {}
        child.release()
        return status
    }

    private func isKilled(_ status: Int32) -> Bool { status & 0x7f == SIGSYS }

    @Test("a call every thread needs passes", arguments: ThreadKind.allCases)
    func allowed(_ kind: ThreadKind) throws {
        #expect(try end(kind) { $0.call(SYS_getpid) } == 0)
    }

    @Test("a call no thread needs ends the process", arguments: ThreadKind.allCases)
    func forbidden(_ kind: ThreadKind) throws {
        for number in [SYS_execve, SYS_ptrace, SYS_mount, SYS_bpf, SYS_kill, SYS_open, SYS_process_vm_writev, SYS_pidfd_getfd] {
            #expect(isKilled(try end(kind) { $0.call(number) }), "call \(number)")
        }
    }

    @Test("memory cannot be made executable", arguments: ThreadKind.allCases)
    func executableMemory(_ kind: ThreadKind) throws {
        #expect(isKilled(try end(kind) { $0.call(SYS_mmap, 0, 4096, .literal(PROT_READ | PROT_EXEC), .literal(MAP_PRIVATE | MAP_ANONYMOUS), -1, 0) }))
        #expect(isKilled(try end(kind) { $0.call(SYS_mprotect, 0, 0, .literal(PROT_EXEC)) }))
        #expect(try end(kind) { $0.call(SYS_mmap, 0, 4096, .literal(PROT_READ), .literal(MAP_PRIVATE | MAP_ANONYMOUS), -1, 0) } == 0)
    }

    @Test("vCPU threads run the guest and do nothing else with KVM or any other device")
    func virtualCPU() throws {
        let badDescriptor: [Errno] = [.badFileDescriptor]
        #expect(try end(.vcpu) { $0.call(SYS_ioctl, -1, .literal(Int32(truncatingIfNeeded: cKVM_RUN)), tolerating: badDescriptor) } == 0)
        for request in [cKVM_CREATE_VM, cKVM_SET_USER_MEMORY_REGION, UInt(TIOCSTI)] {
            #expect(isKilled(try end(.vcpu) { $0.call(SYS_ioctl, -1, .literal(Int32(truncatingIfNeeded: request))) }))
        }
        for number in [SYS_openat2, SYS_socket, SYS_connect, SYS_clone, SYS_clone3, SYS_setresuid, SYS_recvmsg] {
            #expect(isKilled(try end(.vcpu) { $0.call(number) }), "call \(number)")
        }
    }

    @Test("the socket device makes Unix sockets and no others")
    func sockets() throws {
        #expect(try end(.sockets) { $0.call(SYS_socket, .literal(AF_UNIX), .literal(Int32(SOCK_STREAM.rawValue)), 0) } == 0)
        for family in [AF_INET, AF_INET6, AF_NETLINK, AF_VSOCK, AF_PACKET] {
            #expect(isKilled(try end(.sockets) { $0.call(SYS_socket, .literal(family), .literal(Int32(SOCK_STREAM.rawValue)), 0) }))
        }
        #expect(isKilled(try end(.sockets) { $0.call(SYS_openat2) }))
    }

    @Test("threads that have no files to open get none, and malloc's look at a setting does not end them", arguments: [ThreadKind.main, .vcpu, .device, .sockets])
    func noFiles(_ kind: ThreadKind) throws {
        #expect(try end(kind) { $0.call(SYS_openat, .literal(AT_FDCWD), $0.text("/proc/sys/vm/overcommit_memory"), tolerating: [.noSuchFileOrDirectory]) } == 0)
        #expect(try end(kind) { $0.call(SYS_openat, .literal(AT_FDCWD), $0.text("/proc/sys/vm/overcommit_memory")) } != 0)
    }

    @Test("the file server makes threads but no processes or namespaces")
    func fileServer() throws {
        #expect(isKilled(try end(.fileServer) { $0.call(SYS_clone, .literal(SIGCHLD)) }))
        #expect(isKilled(try end(.fileServer) { $0.call(SYS_unshare, .literal(CLONE_NEWNS)) }))
        #expect(isKilled(try end(.fileServer) { $0.call(SYS_socket, .literal(AF_UNIX), .literal(Int32(SOCK_STREAM.rawValue)), 0) }))
        #expect(try end(.fileServer) { $0.call(SYS_clone3, 0, 0, tolerating: [.noFunction]) } == 0)
        #expect(try end(.fileServer) { $0.call(SYS_unshare, .literal(CLONE_FS)) } == 0)
    }

    @Test("a filter finds the rule of every call, and none for others", arguments: ThreadKind.allCases)
    func everyCall(_ kind: ThreadKind) {
        let filter = SystemCallFilter(kind.rules).instructions
        for number in Int32(-1)...600 {
            let rule = kind.rules.first { $0.number == number }
            let verdict = verdict(filter, number, argument: 0)
            switch rule?.action {
            case nil: #expect(verdict == 0x8000_0000, "call \(number)")
            case .fail(let error): #expect(verdict == 0x5_0000 | UInt32(error.rawValue), "call \(number)")
            case .allow:
                let passes = rule?.checks.allSatisfy { if case .isOne(let values, _) = $0 { values.contains(0) } else { true } } ?? false
                #expect(verdict == (passes ? 0x7fff_0000 : 0x8000_0000), "call \(number)")
            }
        }
        #expect(verdict(filter, SYS_getpid, argument: 0, architecture: 0x4000_0003) == 0x8000_0000)
        #expect(verdict(filter, SYS_getpid | 0x4000_0000, argument: 0) == 0x8000_0000)
    }

    /// What the kernel's interpreter would make of a call all whose arguments are the same.
    private func verdict(_ filter: [SystemCallFilter.Instruction], _ number: Int32, argument: UInt32, architecture: UInt32 = 0xc000_003e) -> UInt32 {
        var (place, value): (Int, UInt32) = (0, 0)
        while filter.indices.contains(place) {
            let instruction = filter[place]
            place += 1
            func jump(if condition: Bool) { place += Int(condition ? instruction.jumpTrue : instruction.jumpFalse) }
            switch instruction.code {
            case 0x20: value = instruction.value == 0 ? UInt32(bitPattern: number) : instruction.value == 4 ? architecture : argument
            case 0x05: place += Int(instruction.value)
            case 0x35: jump(if: value >= instruction.value)
            case 0x15: jump(if: value == instruction.value)
            case 0x45: jump(if: value & instruction.value != 0)
            case 0x06: return instruction.value
            default: return 0
            }
        }
        return 0
    }

    @Test("filters fit into the kernel's limit, and threads have the kind their name says")
    func shapes() {
        for kind in ThreadKind.allCases {
            let filter = SystemCallFilter(kind.rules).instructions
            #expect(filter.count < 4096)
            // Where a conditional jump would reach further it leads somewhere else.
            #expect(filter.allSatisfy { $0.jumpTrue < .max && $0.jumpFalse < .max })
        }
        #expect(ThreadKind(threadName: "vcpu 12") == .vcpu)
        #expect(ThreadKind(threadName: "fs-slow") == .fileServer)
        #expect(ThreadKind(threadName: "anything new") == .device)
    }
}
