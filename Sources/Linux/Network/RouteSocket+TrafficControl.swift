/// Sending what comes in at one interface out at another (tc-mirred(8)), before anything else sees it.
extension RouteSocket {
    // linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_mirred.h
    private static let newQueue: UInt16 = 36, deleteQueue: UInt16 = 37
    private static let newFilter: UInt16 = 44, deleteFilter: UInt16 = 45, getFilter: UInt16 = 46
    private static let kind: UInt16 = 1, options: UInt16 = 2
    private static let ingressParent: UInt32 = 0xffff_fff1, ingressHandle: UInt32 = 0xffff_0000
    private static let selector: UInt16 = 5, action: UInt16 = 7
    private static let mirredParameters: UInt16 = 2
    /// TC_ACT_STOLEN; TCA_EGRESS_REDIR.
    private static let stolen: UInt32 = 4, redirect: UInt32 = 1
    /// Ours are told from others' by it.
    private static let priority: UInt32 = 0x4d56
    /// ETH_P_ALL in network byte order.
    private static let allProtocols: UInt32 = 0x0300

    /// `struct tcmsg`: family, padding, interface, handle, parent, info.
    private static func header(_ interface: Int32, handle: UInt32, parent: UInt32, info: UInt32 = 0) -> [UInt8] {
        [0, 0, 0, 0] + littleEndianBytes(interface) + littleEndianBytes(handle) + littleEndianBytes(parent) + littleEndianBytes(info)
    }

    /// Sends every frame that comes in at `source` out at `target`, in place of where it was sent before.
    public func redirect(from source: Int32, to target: Int32) throws(SystemError) {
        var queue = NetlinkMessage(Self.newQueue, header: Self.header(source, handle: Self.ingressHandle, parent: Self.ingressParent))
        queue.add(Self.kind, text: "ingress")
        do throws(SystemError) { try change(queue, "add ingress queue", flags: Self.create | Self.exclusive) } catch {
            guard error.errno == .fileExists else { throw error }
            _ = removeFilter(source)
        }
        var filter = NetlinkMessage(
            Self.newFilter, header: Self.header(source, handle: 0, parent: Self.ingressHandle, info: Self.priority << 16 | Self.allProtocols))
        // u32 and not matchall: it has been in every kernel.
        filter.add(Self.kind, text: "u32")
        filter.nest(Self.options) { options in
            // struct tc_u32_sel: TC_U32_TERMINAL, one key; its struct tc_u32_key: no bit of the first word is looked at.
            options.add(Self.selector, [1, 0, 1, 0] + [UInt8](repeating: 0, count: 12) + [UInt8](repeating: 0, count: 16))
            options.nest(Self.action) { actions in
                actions.nest(1) { action in
                    action.add(Self.kind, text: "mirred")
                    action.nest(Self.options) { mirred in
                        // struct tc_mirred: index, capabilities, action, references, bindings, direction, interface.
                        let values: [UInt32] = [0, 0, Self.stolen, 0, 0, Self.redirect, UInt32(bitPattern: target)]
                        mirred.add(Self.mirredParameters, values.flatMap { littleEndianBytes($0) })
                    }
                }
            }
        }
        try change(filter, "redirect frames", flags: Self.create | Self.exclusive)
    }

    /// Takes ``redirect(from:to:)`` back, whoever did it. What others have there stays.
    public func removeRedirect(from source: Int32) {
        guard removeFilter(source) else { return }
        let filters = NetlinkMessage(Self.getFilter, header: Self.header(source, handle: 0, parent: Self.ingressHandle))
        guard let others = try? list(filters, "list filters"), others.isEmpty else { return }
        try? change(
            NetlinkMessage(Self.deleteQueue, header: Self.header(source, handle: Self.ingressHandle, parent: Self.ingressParent)),
            "remove ingress queue")
    }

    /// - Returns: whether there was one.
    private func removeFilter(_ interface: Int32) -> Bool {
        let removed: Void? = try? change(
            NetlinkMessage(
                Self.deleteFilter, header: Self.header(interface, handle: 0, parent: Self.ingressHandle, info: Self.priority << 16 | Self.allProtocols)),
            "remove redirect")
        return removed != nil
    }
}
