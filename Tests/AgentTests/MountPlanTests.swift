import CLinux
import Linux
import OCI
import Testing

@testable import Agent

@Suite("Mount options")
struct MountPlanTests {
    @Test("flags for mount(2) and attributes for mount_setattr(2) agree")
    func flags() {
        let plan = MountPlan(["nosuid", "noexec", "ro", "size=1m", "mode=755"])
        #expect(plan.flags == MountFlag.noSetUserID | MountFlag.noExecution | MountFlag.readOnly)
        #expect(plan.attributes.set == UInt64(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY))
        #expect(plan.attributes.clear == 0)
        #expect(plan.data == ["size=1m", "mode=755"])
    }

    @Test("the last of contradicting options counts")
    func last() {
        #expect(MountPlan(["ro", "rw"]).attributes == .init(set: 0, clear: UInt64(MOUNT_ATTR_RDONLY)))
        #expect(MountPlan(["rw", "ro"]).attributes == .init(set: UInt64(MOUNT_ATTR_RDONLY), clear: 0))
        #expect(MountPlan(["ro", "rw"]).flags == 0)
        #expect(MountPlan(["noatime", "strictatime"]).flags == MountFlag.strictAccessTime)
        #expect(MountPlan(["noatime", "relatime"]).attributes == .init(set: 0, clear: UInt64(MOUNT_ATTR__ATIME)))
    }

    @Test("recursive attributes are kept apart from those of the mount itself")
    func recursive() {
        let plan = MountPlan(["rbind", "rro", "rnosuid", "nodev"])
        #expect(plan.isRecursive)
        #expect(plan.recursiveAttributes.set == UInt64(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID))
        #expect(plan.attributes.set == UInt64(MOUNT_ATTR_NODEV))
        #expect(plan.data.isEmpty)
    }

    @Test("propagation in the order given")
    func propagation() {
        #expect(MountPlan(["slave", "rshared"]).propagation == [MountFlag.slave, MountFlag.shared | MountFlag.recursive])
    }

    @Test("a mount that is there is changed by what it lacks and has too much, access times as one value")
    func change() {
        let noSetUserID = UInt64(MOUNT_ATTR_NOSUID)
        let noExecution = UInt64(MOUNT_ATTR_NOEXEC)
        let strict = UInt64(MOUNT_ATTR_STRICTATIME)
        let never = UInt64(MOUNT_ATTR_NOATIME)
        let accessTime = UInt64(MOUNT_ATTR__ATIME)
        typealias Attributes = MountPlan.Attributes
        #expect(Attributes(from: noSetUserID | strict, to: noSetUserID | strict).isEmpty)
        #expect(Attributes(from: noSetUserID, to: noExecution) == Attributes(set: noExecution, clear: noSetUserID))
        #expect(Attributes(from: noSetUserID | strict, to: noSetUserID) == Attributes(set: 0, clear: accessTime))
        #expect(Attributes(from: strict, to: never | noExecution) == Attributes(set: never | noExecution, clear: accessTime))
    }

    @Test("no option validation knows is taken for a file system's", arguments: MountOption.names)
    func complete(name: String) {
        #expect(MountPlan([name]).data.isEmpty)
    }
}
