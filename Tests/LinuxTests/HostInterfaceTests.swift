import Glibc
import Linux
import Testing

@Suite("Signals, terminals and directories")
struct HostInterfaceTests {
    @Test("blocked signals are read one by one, in the thread's own time")
    func signals() throws {
        let signals = try SignalDescriptor([SIGUSR1, SIGUSR2])
        #expect(signals.next() == nil)
        pthread_kill(pthread_self(), SIGUSR1)
        pthread_kill(pthread_self(), SIGUSR2)
        #expect([signals.next(), signals.next(), signals.next()] == [SIGUSR1, SIGUSR2, nil])
    }

    @Test("a terminal's size and settings are set and put back")
    func terminal() throws {
        let (master, slave) = try Descriptor.pseudoTerminal()
        #expect(slave.isTerminal)
        try master.setTerminalSize(TerminalSize(columns: 132, rows: 43))
        #expect(try slave.terminalSize() == TerminalSize(columns: 132, rows: 43))

        func echoes() -> Bool {
            var settings = termios()
            tcgetattr(slave.raw, &settings)
            return settings.c_lflag & UInt32(ECHO) != 0
        }
        let before = try slave.terminalSettings()
        try slave.setTerminalSettings(before.raw)
        #expect(!echoes())
        try slave.setTerminalSettings(before)
        #expect(echoes())
        #expect(throws: SystemError.self) { try Descriptor.open("/dev/null", O_RDONLY).terminalSettings() }
    }

    /// A fresh directory, removed with what is in it.
    func withDirectory(_ body: (Descriptor) throws -> Void) throws {
        let parent = try Descriptor.open("/tmp", O_RDONLY | O_DIRECTORY)
        let name = "microvm-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        try parent.makeDirectory(name, mode: 0o700)
        let directory = try Descriptor.open(name, O_RDONLY | O_DIRECTORY, at: parent)
        defer {
            for entry in (try? directory.entryNames()) ?? [] {
                if (try? directory.remove(entry)) == nil { try? directory.remove(entry, isDirectory: true) }
            }
            try? parent.remove(name, isDirectory: true)
        }
        try body(directory)
    }

    @Test("a copy of a mount shows its files with the ids of a user namespace, and takes them back", .enabled(if: geteuid() == 0))
    func mappedIDs() throws {
        try withDirectory { directory in
            let file = try Descriptor.open("file", O_WRONLY | O_CREAT, mode: 0o600, at: directory)
            fchown(file.raw, 1000, 1001)
            let tree = try Descriptor.mountTree("/proc/self/fd/\(directory.raw)", recursive: false)
            try tree.mapMountIDs(by: IDMapNamespace.make(uids: "0 0 1\n1000 7000 1\n", gids: "0 0 1\n1001 8000 1\n"), recursive: false)
            let seen = try Descriptor.open("file", O_RDONLY, at: tree)
            #expect(try [seen.status().st_uid, seen.status().st_gid] == [7000, 8000])
            fchown(seen.raw, 7000, 8000)
            #expect(try [file.status().st_uid, file.status().st_gid] == [1000, 1001])
        }
    }

    @Test("a replaced file has the new content, and no temporary file is left")
    func replace() throws {
        try withDirectory { directory in
            try directory.replaceFile("state", with: Array("one".utf8))
            try directory.replaceFile("state", with: Array("two".utf8))
            #expect(try Descriptor.open("state", O_RDONLY, at: directory).readToEnd() == Array("two".utf8))
            #expect(try directory.entryNames() == ["state"])
        }
    }

    @Test("a rename that must not replace fails when the name is taken")
    func rename() throws {
        try withDirectory { directory in
            try directory.makeDirectory("a", mode: 0o700)
            try directory.makeDirectory("b", mode: 0o700)
            #expect(throws: SystemError("rename a to b", .fileExists)) { try directory.rename("a", to: "b", replacing: false) }
            try directory.rename("a", to: "c", replacing: false)
            #expect(Set(try directory.entryNames()) == ["b", "c"])
        }
    }

    @Test("a lock is held by one open file at a time")
    func lock() throws {
        try withDirectory { directory in
            var first: Descriptor? = try Descriptor.open("lock", O_RDWR | O_CREAT, mode: 0o600, at: directory)
            let second = try Descriptor.open("lock", O_RDWR, at: directory)
            #expect(try first?.tryLock() == true)
            #expect(try second.tryLock() == false)
            first = nil
            #expect(try second.tryLock())
        }
    }
}
