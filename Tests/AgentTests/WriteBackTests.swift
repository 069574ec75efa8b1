import Testing

@testable import Agent

@Suite("Writing back")
struct WriteBackTests {
    @Test("the kernel's list of disks is read by name")
    func disks() {
        let list = "major minor  #blocks  name\n\n 259        0      24576 pmem0\n   7        0      10240 loop0\n"
        #expect(WriteBack.disks(list) == ["pmem0", "loop0"])
        #expect(WriteBack.disks("major minor  #blocks  name\n\n") == [])
        #expect(WriteBack.disks("") == [])
    }
}
