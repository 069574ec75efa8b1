import CLinux
import FUSE
import Glibc
import Linux
import Testing

@Suite("file server: on whose behalf", .enabled(if: geteuid() == 0))
struct PrivilegeTests {
    private let folder = try! TestFolder()
    private let client: Client
    private let top: UInt64

    init() throws {
        chmod(folder.path, 0o777)
        client = try Client()
        try client.shares.add("s", root: folder.open(), readOnly: false)
        top = try client.walk("s")
    }

    private func owner(_ name: String) throws -> [UInt32] {
        let status = try folder.status(name)
        return [status.st_uid, status.st_gid]
    }

    @Test("what somebody makes is theirs")
    func ownership() throws {
        (client.user, client.group) = (1000, 1001)
        _ = try client.create("file", in: top)
        _ = try client.makeDirectory("directory", in: top)
        _ = try client.makeNode("node", in: top, mode: S_IFREG | 0o600)
        _ = try client.makeSymbolicLink("link", in: top, to: "x")
        for name in ["file", "directory", "node", "link"] { #expect(try owner(name) == [1000, 1001]) }
        (client.user, client.group) = (0, 7)
        _ = try client.makeDirectory("wheel", in: top)
        #expect(try owner("wheel") == [0, 7])
        let (entry, _) = try client.create("/", in: top, opcode: .temporaryFile)
        #expect(try client.attributes(entry.node).group == 7)
    }

    @Test("afterwards the server is itself again, also when it failed")
    func comesBack() throws {
        (client.user, client.group) = (1000, 1000)
        #expect(throws: Client.Failure(errno: .fileExists)) {
            _ = try client.makeDirectory("d", in: top)
            _ = try client.makeDirectory("d", in: top)
        }
        (client.user, client.group) = (0, 0)
        _ = try client.makeDirectory("root", in: top)
        #expect(try owner("root") == [0, 0])
        // Only root may give files away.
        #expect(try client.setAttributes(client.walk("s/d"), valid: 2, owner: 3).user == 3)
    }

    @Test("a directory the guest lets somebody write to, by whatever group, can be written to")
    func supplementaryGroups() throws {
        try folder.makeDirectory("private")
        chmod(folder.path + "/private", 0o770)
        (client.user, client.group) = (1000, 1000)
        _ = try client.create("f", in: client.walk("s/private"))
        #expect(try owner("private/f") == [1000, 1000])
    }

    @Test("a set-group-ID directory hands on its group, and no set-group-ID file to outsiders")
    func setGroupIDDirectory() throws {
        try folder.makeDirectory("shared")
        chown(folder.path + "/shared", 0, 500)
        chmod(folder.path + "/shared", 0o2777)
        (client.user, client.group) = (1000, 1000)
        _ = try client.create("f", in: client.walk("s/shared"), mode: 0o2755)
        #expect(try owner("shared/f") == [1000, 500])
        #expect(try folder.status("shared/f").st_mode & 0o2000 == 0)
    }

    private func setID(_ name: String) throws -> UInt64 {
        try folder.write(name, "program")
        chmod(folder.path + "/" + name, 0o6755)
        return try client.walk("s/" + name)
    }

    private func mode(_ name: String) throws -> UInt32 { try folder.status(name).st_mode & 0o7777 }

    @Test("a write, truncation or open that is to take privileges away does, others do not")
    func killPrivileges() throws {
        let written = try setID("written")
        let handle = try client.open(written, O_RDWR).handle
        _ = try client.write(written, handle, [1])
        #expect(try mode("written") == 0o6755)
        _ = try client.write(written, handle, [1], writeFlags: 4)
        #expect(try mode("written") == 0o755)

        let truncated = try setID("truncated")
        _ = try client.setAttributes(truncated, valid: 8, size: 3)
        #expect(try mode("truncated") == 0o6755)
        _ = try client.setAttributes(truncated, valid: 8 | 1 << 11, size: 2)
        #expect(try mode("truncated") == 0o755)

        let opened = try setID("opened")
        _ = try client.open(opened, O_WRONLY | O_TRUNC, openFlags: 1)
        #expect(try mode("opened") == 0o755)

        // The capability is back for what comes after.
        let changed = try setID("changed")
        _ = try client.setAttributes(changed, valid: 1 | 4, mode: 0o755, owner: 500)
        #expect(try client.setAttributes(changed, valid: 1, mode: 0o2755).mode & 0o7777 == 0o2755)
    }

    @Test("a write takes file capabilities away")
    func fileCapabilities() throws {
        try folder.write("ping", "program")
        // struct vfs_cap_data, revision 2: CAP_NET_RAW permitted and effective.
        let value = Bytes(UInt32(0x0200_0001), UInt32(1 << 13), UInt32(0), UInt32(0), UInt32(0)).bytes
        let file = try client.walk("s/ping")
        guard (try? client.setExtended(file, "security.capability", value)) != nil else { return }
        #expect(try client.getExtended(file, "security.capability") == value)
        _ = try client.write(file, client.open(file, O_WRONLY).handle, [1])
        #expect(throws: Client.Failure(errno: Errno(rawValue: ENODATA))) { _ = try client.getExtended(file, "security.capability") }
    }

    @Test("the server's umask and working directory are its own")
    func threadState() throws {
        let before = umask(0o077)
        defer { umask(before) }
        let (entry, _) = try client.create("open", in: top, mode: 0o666)
        #expect(entry.attributes.mode & 0o777 == 0o666)
    }
}
