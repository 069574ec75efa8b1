public import Linux
public import Logging

/// Finds or makes the template for a machine.
public struct Templates {
    /// What making one tells whoever waits for it.
    public enum Progress: Sendable, Equatable {
        /// The guest's kernel runs.
        case began(MachineSize)
        /// Nanoseconds so far; about once a second.
        case goesOn(UInt64)
        case ended(nanoseconds: UInt64)
        case failed
    }

    private static let tick: UInt64 = 1_000_000_000

    public let store: TemplateStore
    private let installation: Installation
    private let options: SandboxMachine.Options
    private let build: String

    /// - Parameter build: this program's version.
    public init(_ options: SandboxMachine.Options, build: String) throws {
        store = try TemplateStore(options.templates)
        installation = try Installation(vmm: options.vmm, kernel: options.kernel, image: options.image)
        self.options = options
        self.build = build
    }

    func key(_ size: MachineSize) throws -> TemplateKey { try TemplateKey(installation, size, options) }

    /// Makes the template for machines of this size, in place of the one there may be. Does nothing while somebody else makes one.
    ///
    /// - Parameter use: gets the machine that is being saved, while it is there.
    /// - Returns: its key, if it is there now.
    @discardableResult
    public func make(
        _ size: MachineSize, on loop: EventLoop, use: @escaping (SandboxMachine?) throws -> Void = { _ in }, _ report: @escaping (Progress) -> Void
    ) throws -> TemplateKey? {
        guard let lock = try store.lockForBuilding() else { return nil }
        defer { withExtendedLifetime(lock) {} }
        let key = try key(size)
        let began = monotonicNanoseconds()
        var isOver = false
        func tick() {
            loop.schedule(afterNanoseconds: Self.tick) {
                guard !isOver else { return }
                report(.goesOn(monotonicNanoseconds() - began))
                tick()
            }
        }
        defer { isOver = true }
        let builder = TemplateBuilder(
            store: store, installation: installation, options: options, build: build, loop: loop, use: use,
            began: {
                report(.began(size))
                tick()
            })
        do {
            try builder.make(key, size)
        } catch {
            report(.failed)
            throw error
        }
        report(.ended(nanoseconds: monotonicNanoseconds() - began))
        return key
    }
}
