import Linux

/// Carries bytes one way, from a source to a sink, holding at most one buffer: a sink that is not emptied stops the
/// reading, so that only its own producer waits.
final class Pump {
    enum End: Equatable {
        /// Everything the source had was delivered.
        case delivered
        /// The sink takes no more: its reader is gone.
        case sinkClosed
        case failed(SystemError)
    }

    private static let bufferSize = 64 << 10

    private let loop: EventLoop
    /// Both only until the end: whoever is at the other side then sees it at once.
    private var source: HostStream?
    private var sink: HostStream?
    private var buffer: [UInt8] = []
    /// Bytes of the buffer already delivered.
    private var sent = 0
    private var sourceEnded = false
    private var watchesSource = false
    private var sinkInterest: EventLoop.Interest?
    private var timer: EventLoop.Timer?

    private(set) var end: End?
    /// Bytes delivered so far.
    private(set) var delivered: UInt64 = 0
    /// Called at the first byte that is delivered.
    var onFirstByte: (() -> Void)?
    /// Called once.
    var onEnd: ((End) -> Void)?

    init(from source: HostStream, to sink: HostStream, on loop: EventLoop) {
        self.source = source
        self.sink = sink
        self.loop = loop
    }

    deinit {
        forget()
    }

    /// Bytes read and not yet delivered.
    var pending: Int { buffer.count - sent }

    func start() {
        update()
    }

    /// Delivers nothing more; ``onEnd`` is not called.
    func stop() {
        onEnd = nil
        finish(.delivered)
    }

    private func read() {
        guard pending == 0, !sourceEnded, let source else { return }
        do throws(SystemError) {
            buffer = try source.descriptor.read(upTo: Self.bufferSize)
            sent = 0
            if buffer.isEmpty { sourceEnded = true }
        } catch {
            switch error.errno {
            case .wouldBlock: break
            // A terminal whose other side is gone answers so; to the reader it is the end of the file.
            case .ioError, .connectionReset: sourceEnded = true
            default: return finish(.failed(error))
            }
        }
        write()
    }

    private func write() {
        guard let sink else { return }
        do throws(SystemError) {
            while pending > 0 {
                let count = try sink.descriptor.write(buffer[sent...].prefix(sink.pieceSize))
                if delivered == 0 { onFirstByte?() }
                delivered &+= UInt64(count)
                sent += count
                // A blocking sink takes one piece for each time it is ready.
                if sink.readiness == .polled, sink.pieceSize < Self.bufferSize { break }
            }
        } catch {
            switch error.errno {
            case .wouldBlock: break
            case .brokenPipe, .connectionReset, .socketNotConnected: return finish(.sinkClosed)
            default: return finish(.failed(error))
            }
        }
        update()
    }

    /// Waits for what is needed next: room in the sink when there is something to deliver, else something to read.
    private func update() {
        guard let source, let sink else { return }
        if sourceEnded, pending == 0 { return finish(.delivered) }
        do throws(SystemError) {
            try watch(sink, for: pending > 0 ? .writable : [])
            try watch(source, pending == 0)
        } catch {
            finish(.failed(error))
        }
    }

    private func watch(_ source: HostStream, _ wanted: Bool) throws(SystemError) {
        switch source.readiness {
        case .always:
            guard wanted, timer == nil else { return }
            timer = loop.schedule(afterNanoseconds: 0) { [weak self] in
                self?.timer = nil
                self?.read()
            }
        case .polled where wanted && !watchesSource:
            try loop.add(source.descriptor, .readable) { [weak self] _ in self?.read() }
            watchesSource = true
        case .polled where !wanted && watchesSource:
            // Not only silent: a peer that hung up would be reported again and again.
            loop.remove(source.descriptor)
            watchesSource = false
        case .polled: break
        }
    }

    private func watch(_ sink: HostStream, for interest: EventLoop.Interest) throws(SystemError) {
        guard sink.readiness == .polled, interest != sinkInterest else { return }
        if sinkInterest == nil {
            try loop.add(sink.descriptor, interest) { [weak self] in self?.sinkReady($0) }
        } else {
            try loop.modify(sink.descriptor, interest)
        }
        sinkInterest = interest
    }

    private func sinkReady(_ events: EventLoop.Interest) {
        // The reader has gone before there was anything to write.
        if events.contains(.error) || (events.contains(.hangup) && pending == 0) { return finish(.sinkClosed) }
        write()
    }

    private func finish(_ end: End) {
        guard self.end == nil else { return }
        self.end = end
        forget()
        source = nil
        sink = nil
        onEnd?(end)
        onEnd = nil
    }

    private func forget() {
        if watchesSource, let source { loop.remove(source.descriptor) }
        if sinkInterest != nil, let sink { loop.remove(sink.descriptor) }
        if let timer { loop.cancel(timer) }
        watchesSource = false
        sinkInterest = nil
        timer = nil
    }
}
