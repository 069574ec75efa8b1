import GuestMemory

/// The header of every packet (virtio 1.2, 5.10.6), 44 bytes little-endian.
struct VsockHeader: Equatable {
    enum Operation {
        static let request: UInt16 = 1
        static let response: UInt16 = 2
        static let reset: UInt16 = 3
        static let shutdown: UInt16 = 4
        static let readWrite: UInt16 = 5
        static let creditUpdate: UInt16 = 6
        static let creditRequest: UInt16 = 7
    }

    /// VIRTIO_VSOCK_TYPE_STREAM; SEQPACKET is not offered.
    static let stream: UInt16 = 1
    static let size = 44
    /// Most payload of a packet (Linux: VIRTIO_VSOCK_MAX_PKT_BUF_SIZE).
    static let maximumPayload = 64 << 10

    var sourceCID: UInt64 = 0
    var destinationCID: UInt64 = 0
    var sourcePort: UInt32 = 0
    var destinationPort: UInt32 = 0
    /// Bytes of payload.
    var length: UInt32 = 0
    var type: UInt16 = stream
    var operation: UInt16
    var flags: UInt32 = 0
    /// `buf_alloc`: the sender's receive buffer.
    var window: UInt32 = 0
    /// `fwd_cnt`: bytes the sender has taken out of it, modulo 2³².
    var forwarded: UInt32 = 0

    init(_ operation: UInt16) {
        self.operation = operation
    }

    /// Takes a header off the front of a chain.
    init(from buffer: inout GuestBuffer) throws(GuestMemoryError) {
        sourceCID = try buffer.read()
        destinationCID = try buffer.read()
        let ports: UInt64 = try buffer.read()
        let kind: UInt64 = try buffer.read()
        let credit: UInt64 = try buffer.read()
        forwarded = try buffer.read()
        sourcePort = UInt32(truncatingIfNeeded: ports)
        destinationPort = UInt32(truncatingIfNeeded: ports >> 32)
        length = UInt32(truncatingIfNeeded: kind)
        type = UInt16(truncatingIfNeeded: kind >> 32)
        operation = UInt16(truncatingIfNeeded: kind >> 48)
        flags = UInt32(truncatingIfNeeded: credit)
        window = UInt32(truncatingIfNeeded: credit >> 32)
    }

    func write(to buffer: inout GuestBuffer) throws(GuestMemoryError) {
        try buffer.write(sourceCID)
        try buffer.write(destinationCID)
        try buffer.write(UInt64(sourcePort) | UInt64(destinationPort) << 32)
        try buffer.write(UInt64(length) | UInt64(type) << 32 | UInt64(operation) << 48)
        try buffer.write(UInt64(flags) | UInt64(window) << 32)
        try buffer.write(forwarded)
    }

    /// The answer to a packet that belongs to no connection (5.10.6.4.1); the type comes back as it was.
    var resetReply: VsockHeader {
        var reply = VsockHeader(Operation.reset)
        reply.sourceCID = destinationCID
        reply.destinationCID = sourceCID
        reply.sourcePort = destinationPort
        reply.destinationPort = sourcePort
        reply.type = type
        return reply
    }
}

/// Flags of SHUTDOWN, sticky (virtio 1.2, 5.10.6.5): what the sender will not do any more.
struct VsockShutdown: OptionSet {
    let rawValue: UInt32

    static let receive = VsockShutdown(rawValue: 1)
    static let send = VsockShutdown(rawValue: 2)
    static let both: VsockShutdown = [.receive, .send]
}
