import CLinux
import Glibc
import Linux
import Testing

/// Runs `build`'s program in a child and waits for its end.
private func run(
    _ options: ProgramProcess.Options = .init(), _ build: (inout SystemCallProgram) -> Void
) throws -> (process: ProgramProcess, status: Int32) {
    var program = SystemCallProgram()
    build(&program)
    let process = try ProgramProcess(options) { _ in program }
    _ = try process.control.read(upTo: 1)
    var status: Int32 = 0
    #expect(waitpid(process.pid, &status, 0) == process.pid)
    return (process, status)
}

private func exitCode(_ status: Int32) -> Int32? { status & 0x7f == 0 ? status >> 8 & 0xff : nil }

@Suite("System call programs")
struct SystemCallProgramTests {
    @Test("a program executes another with its arguments and environment")
    func executes() throws {
        let (reading, writing) = try Descriptor.pipe()
        let (process, status) = try run { program in
            program.call(SYS_dup3, .literal(writing.raw), 1, 0)
            let arguments = program.texts(["sh", "-c", "printf %s \"$WORD\"; exit 7"])
            let environment = program.texts(["WORD=hello"])
            program.call(SYS_execve, program.text("/bin/sh"), arguments, environment)
        }
        #expect(exitCode(status) == 7)
        #expect(process.failure == nil)
        #expect(try reading.read(upTo: 100) == Array("hello".utf8))
    }

    @Test("a failing call ends the program and says its stage and error")
    func fails() throws {
        let (process, status) = try run { program in
            program.call(SYS_getpid)
            program.stage("open /nowhere")
            program.call(SYS_openat, .literal(AT_FDCWD), program.text("/nowhere"), 0)
            program.stage("never")
        }
        #expect(exitCode(status) == 1)
        #expect(process.failure == SystemError("open /nowhere", .noSuchFileOrDirectory))
        process.release()
        #expect(process.failure == nil)
    }

    @Test("a result is the argument of later calls")
    func registers() throws {
        var kept: SystemCallProgram.Register?
        let (process, _) = try run { program in
            let file = program.register()
            kept = program.register()
            program.call(SYS_openat, .literal(AT_FDCWD), program.text("/proc/self/comm"), 0, into: file)
            program.call(SYS_fcntl, .register(file), .literal(F_DUPFD), 100, into: kept)
        }
        #expect(process.failure == nil)
        #expect(try process.value(of: #require(kept)) == 100)
    }

    @Test("a read that brings nothing is a failure when something was expected")
    func minimum() throws {
        let (process, _) = try run { program in
            let file = program.register()
            program.call(SYS_openat, .literal(AT_FDCWD), program.text("/dev/null"), 0, into: file)
            program.call(SYS_read, .register(file), program.buffer(8), 8, atLeast: 1)
        }
        #expect(process.failure?.errno == .noData)
    }

    @Test("blocks run after success or after a tolerated failure only")
    func blocks() throws {
        let (process, status) = try run { program in
            program.call(SYS_chdir, program.text("/nowhere"), tolerating: [.noSuchFileOrDirectory])
            program.onSuccess { $0.fail(.badFileDescriptor) }
            program.call(SYS_chdir, program.text("/nowhere"), tolerating: [.noSuchFileOrDirectory])
            program.onTolerated { $0.call(SYS_chdir, $0.text("/")) }
            program.call(SYS_chdir, program.text("/"), tolerating: [.noSuchFileOrDirectory])
            program.onTolerated { $0.fail(.fileTooLarge) }
        }
        #expect(process.failure == nil)
        #expect(exitCode(status) == 0)
    }

    @Test("a search stops at the first candidate that works", arguments: [(["/nowhere", "/proc", "/"], 1), (["/a", "/b"], -1)])
    func search(candidates: [String], expected: Int) throws {
        var found: SystemCallProgram.Register?
        let (process, _) = try run { program in
            let register = program.register()
            found = register
            program.firstOf(Array(candidates.enumerated())) { program, candidate in
                program.call(SYS_chdir, program.text(candidate.element), tolerating: [.noSuchFileOrDirectory])
            } then: { program, candidate in
                program.load(.literal(Int32(candidate.offset)), into: register)
            } otherwise: {
                $0.stage("not found")
                $0.fail(.noSuchFileOrDirectory)
            }
        }
        #expect(process.failure == (expected < 0 ? SystemError("not found", .noSuchFileOrDirectory) : nil))
        if expected >= 0 { #expect(try process.value(of: #require(found)) == expected) }
    }

    @Test("a walk over .. begins again when something is renamed meanwhile")
    func walks() throws {
        // Renames until its input ends.
        var pipe: (reading: Descriptor, writing: Descriptor)? = try Descriptor.pipe()
        var options = ChildProcess.Options()
        options.standardInput = pipe?.reading
        let script = "cd $(mktemp -d); : >a; (while mv a b && mv b a; do :; done 2>/dev/null) & cat; rm -r $PWD; wait"
        let renaming = try ChildProcess("/bin/sh", ["sh", "-c", script], options)
        defer {
            pipe = nil
            renaming.reap()
        }
        let root = try Descriptor.open("/", O_PATH | O_DIRECTORY)
        let path = String(repeating: "/usr/..", count: 100)
        for _ in 0..<5000 { _ = try root.openInRoot(path, O_PATH) }
        let (process, status) = try run { program in
            let file = program.register()
            let how = program.words([UInt64(O_PATH), 0, UInt64(RESOLVE_IN_ROOT)])
            for _ in 0..<5000 {
                program.call(SYS_openat2, .literal(root.raw), program.text(path), how, 24, into: file)
                program.call(SYS_close, .register(file))
            }
        }
        #expect(process.failure == nil)
        #expect(exitCode(status) == 0)
    }

    @Test("parent and child take turns over the control socket")
    func control() throws {
        let process = try ProgramProcess { control in
            var program = SystemCallProgram()
            program.call(SYS_write, .literal(control), program.text("A"), 1)
            program.call(SYS_read, .literal(control), program.buffer(1), 1, atLeast: 1)
            program.call(SYS_exit_group, 5)
            return program
        }
        #expect(try process.control.read(upTo: 8) == [65])
        #expect(waitpid(process.pid, nil, WNOHANG) == 0)
        try process.control.writeAll([1])
        #expect(try process.control.read(upTo: 8) == [])
        var status: Int32 = 0
        #expect(waitpid(process.pid, &status, 0) == process.pid)
        #expect(exitCode(status) == 5)
    }

    @Test("a child in new namespaces is their first process", arguments: [false, true])
    func namespaces(copied: Bool) throws {
        var pid: SystemCallProgram.Register?
        let flags = UInt64(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER)
        let (process, _) = try run(.init(namespaces: flags, copiesMemory: copied)) { program in
            pid = program.register()
            program.call(SYS_getpid, into: pid)
            program.call(SYS_sethostname, program.text("inside"), 6)
        }
        #expect(process.failure == nil)
        #expect(try process.value(of: #require(pid)) == 1)
    }

    @Test("programs are plain data: equal bytes are stored once, addresses are relocated")
    func data() {
        var program = SystemCallProgram()
        #expect(program.text("abc") == program.text("abc"))
        #expect(program.texts(["abc", "d"]) == .data(16))
        #expect(program.relocations == [16, 24])
        #expect(program.data.count == 40)
        #expect(program.words([0x0102]) == .data(40))
        #expect(Array(program.data[40..<48]) == [2, 1, 0, 0, 0, 0, 0, 0])
    }
}
