import Glibc
import Linux
import OCI

/// Makes a template: boots a machine that has nothing but its agent, lets it come to rest, and saves it.
struct TemplateBuilder {
    /// For what the guest has begun to come to its end: work of its kernel's that is under way would be done again by every clone.
    private static let restNanoseconds: UInt64 = 300_000_000

    let store: TemplateStore
    let installation: Installation
    let options: SandboxMachine.Options
    let build: String
    let loop: EventLoop
    /// Takes the machine while it is there, so that it can be ended.
    let use: (SandboxMachine?) throws -> Void
    /// The guest runs.
    let began: () -> Void

    /// - Throws: with nothing left but what was there before.
    func make(_ key: TemplateKey, _ size: MachineSize) throws {
        let began = monotonicNanoseconds()
        let (name, directory) = try store.begin(key)
        do {
            try directory.makeDirectory(MachinePlace.socketsName, mode: 0o700)
            let place = try MachinePlace(directory)
            try save(size, place, to: directory)
            place.removeSockets()
            try directory.remove(MachinePlace.socketsName, isDirectory: true)
            try directory.remove(SandboxMachine.consoleName)
            let milliseconds = Int(clamping: (monotonicNanoseconds() - began) / 1_000_000)
            let record = TemplateRecord(
                installation, size, options, created: timestamp(wallClockNanoseconds()), buildTime: milliseconds)
            try directory.replaceFile(TemplateStore.recordName, with: Array(JSON.encode(record).utf8))
            try store.finish(name, as: key)
        } catch {
            store.abandon(name)
            throw error
        }
    }

    private func save(_ size: MachineSize, _ place: MachinePlace, to directory: Descriptor) throws {
        let machine = SandboxMachine(place, on: loop)
        var options = options
        options.console = nil
        try use(machine)
        defer {
            machine.kill()
            try? use(nil)
        }
        try machine.launch(size, [], options, possibleCPUs: size.possibleCPUs(softwareKVM: options.softwareKVM)) { [began] _ in began() }
        try machine.waitForAgent(build: build)
        do { try WarmUp(machine: machine).run(in: directory) } catch let error as SandboxError {
            if case .interrupted = error.kind { throw error }
            // Too little memory, say; without a template it may do.
            throw SandboxError(.refused, "no container ran in it: \(error)")
        }
        try machine.hangUp()
        var isRested = false
        loop.schedule(afterNanoseconds: Self.restNanoseconds) { isRested = true }
        try machine.waiter.wait("the guest to rest") { isRested }
        try machine.save(to: directory)
    }
}
