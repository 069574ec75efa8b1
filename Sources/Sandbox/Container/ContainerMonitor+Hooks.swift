import Linux
import OCI

// MARK: Hooks before there is a container

extension ContainerMonitor {
    /// The root file system as hooks leave it: in the mount namespace of the container's process, where they may mount something into it.
    func seenByHooks(_ shares: [Plan.Share]) throws -> [Plan.Share] {
        guard let standIn, standIn.hasOwnMounts, hooks.runsBeforeContainer, let root = shares.first else { return shares }
        try standIn.waitUntilReady(Waiter(loop))
        return [Plan.Share(name: root.name, path: "/proc/\(standIn.pid)/root\(root.path)", readOnly: root.readOnly, field: root.field)] + shares.dropFirst()
    }

    /// Those that run before there is a container in the guest. createContainer's too, as far as this host has them: they are programs of
    /// the host's that work on the container's root file system and mounts (config.md: their paths are the runtime's, their namespaces the container's).
    func runCreateHooks() throws {
        guard let record, hooks.runsBeforeContainer else { return }
        begin("hooks")
        // What crun tells them, and conformance tests expect; the newer hooks are told what the specification says.
        var created = record.state
        created.status = .created
        try HookRunner().run("prestart", hooks.prestart, created)
        try HookRunner().run("createRuntime", hooks.createRuntime, record.state)
        guard let standIn else { return }
        let place = HookRunner.Place(joined: standIn.joinable, directory: record.rootfs)
        try HookRunner(in: place).run("createContainer", hooks.createContainer.filter(HookRunner.isOfHost), record.state)
    }
}
