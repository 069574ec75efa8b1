import Linux

/// A running machine on its way to another process: what must be open there to go on with it.
struct HandedMachine {
    /// The VMM's process.
    let pid: Int32
    /// Id of the next call to the agent.
    let nextStream: UInt32
    let pidfd: Descriptor
    /// To the VMM, and what it says on its standard error.
    let control: Descriptor
    let errors: Descriptor
    /// To the agent, which has been greeted.
    let agent: Descriptor

    static let messageLimit = 64

    /// Sends it, over a Unix socket.
    func send(to socket: Descriptor) throws(SystemError) {
        try socket.send(Array("\(pid) \(nextStream)".utf8), passing: [pidfd, control, errors, agent])
    }
}

extension HandedMachine {
    /// Nil: there came none.
    init?(from socket: Descriptor) {
        guard let (bytes, descriptors) = try? socket.receive(limit: Self.messageLimit), descriptors.count == 4 else { return nil }
        let words = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        guard words.count == 2, let pid = Int32(words[0]), let nextStream = UInt32(words[1]) else { return nil }
        self.init(pid: pid, nextStream: nextStream, pidfd: descriptors[0], control: descriptors[1], errors: descriptors[2], agent: descriptors[3])
    }
}
