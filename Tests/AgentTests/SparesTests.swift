import AgentAPI
import Glibc
import Linux
import OCI
import Testing

@testable import Agent

extension RealContainers {
    /// What is made ahead of containers.
    @Suite("Spares")
    struct SparesTests {
        let machine: Machine

        init() throws {
            machine = try Machine()
        }

        private static let look = """
            ls -A /dev; stat -c '%n %F %a %u %g %t %T' /dev /dev/* | grep -v fd; grep ' /dev' /proc/self/mounts; ls -A /sys/firmware; touch /sys/firmware/new
            echo mine > /dev/shm/mine
            """

        private func prepare(_ spec: Spec) throws {
            let text = try JSON.encode(spec)
            _ = try machine.call(AgentMethods.prepareContainer, .with { $0.spec = .init(text.utf8) })
        }

        private func lines(_ spec: Spec) throws -> Set<String> {
            Set(try machine.output(of: spec).text.split(separator: "\n").map(String.init))
        }

        @Test("a container of what was made ahead sees what others see; it is taken once")
        func same() throws {
            let spec = machine.spec(Self.look)
            let before = try lines(spec)
            #expect(before.contains("null") && before.contains { $0.contains("devpts") })
            try prepare(spec)
            #expect(machine.spareCount == 4)
            #expect(try lines(spec) == before)
            #expect(machine.spareCount == 0)
            #expect(try lines(spec) == before)
        }

        @Test("who asks for other file systems or devices gets those")
        func others() throws {
            try prepare(machine.spec("true"))
            var spec = machine.spec("stat -c '%a' /dev /dev/shm; ls /dev; ls /dev/other")
            for index in spec.mounts.indices where spec.mounts[index].destination == "/dev/shm" { spec.mounts[index].options.removeAll { $0 == "mode=1777" } }
            spec.linux?.devices = [LinuxDevice(path: "/dev/other", type: .character, major: 1, minor: 3)]
            let seen = try lines(spec)
            #expect(seen.contains("other") && seen.contains("null") && seen.contains("/dev/other"))
            // Only the pseudo terminals and the namespace are the same.
            #expect(machine.spareCount == 2)
        }

        @Test("other attributes of a mount, and other mounts in /dev, are no reason to make /dev anew")
        func attributes() throws {
            var spec = machine.spec(Self.look)
            spec.mounts = spec.mounts.filter { !["/dev/shm", "/dev/mqueue", "/sys"].contains($0.destination) }
            for options in [["nosuid", "noexec", "noatime", "mode=755", "size=65536k"], ["nosuid", "mode=755", "size=65536k"]] {
                for index in spec.mounts.indices where spec.mounts[index].destination == "/dev" { spec.mounts[index].options = options }
                let before = try lines(spec)
                #expect(before.contains("pts") && !before.contains("shm"))
                try prepare(machine.spec("true"))
                #expect(try lines(spec) == before)
                // What is left is what is mounted at /dev/shm.
                #expect(machine.spareCount == 1)
            }
        }

        @Test("a user namespace takes no file system that is not its own")
        func userNamespace() throws {
            try prepare(machine.spec("true"))
            var spec = machine.spec("id -u")
            spec.linux?.namespaces.append(LinuxNamespace(type: .user))
            spec.linux?.uidMappings = [LinuxIDMapping(containerID: 0, hostID: 100_000, size: 65536)]
            spec.linux?.gidMappings = [LinuxIDMapping(containerID: 0, hostID: 100_000, size: 65536)]
            _ = try machine.output(of: spec)
            #expect(machine.spareCount == 4)
        }

        @Test("mounts and namespaces of a container go soon after it has ended, deleted or not")
        func released() throws {
            func held() throws -> [String] {
                let names = try Descriptor.open("/proc/self/fd", O_RDONLY | O_DIRECTORY).entryNames()
                return names.compactMap { try? Descriptor.open("/proc/self/fd", O_RDONLY | O_DIRECTORY).linkTarget($0) }
                    .filter { $0.hasPrefix("mnt:") || $0.hasPrefix("ipc:") }
            }
            let before = try held().count
            try prepare(machine.spec("true"))
            try machine.sleeper("c")
            #expect(try held().count > before)
            try machine.kill("c")
            _ = try machine.wait("c")
            try machine.run { (try? held().count) == before }
            try machine.delete("c")
        }
    }
}
