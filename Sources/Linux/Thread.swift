import CLinux
import Glibc
import Synchronization

/// A POSIX thread with a name. Device and vCPU threads are these, never tasks of the concurrency pool.
public final class Thread: @unchecked Sendable {
    private var handle = pthread_t()

    private static let prologue = Mutex<(@Sendable (_ name: String) -> Void)?>(nil)

    /// Has every thread that starts from now on run `body` first, given the thread's name: for what a thread must take
    /// upon itself, such as a system call filter.
    public static func setPrologue(_ body: @escaping @Sendable (_ name: String) -> Void) {
        prologue.withLock { $0 = body }
    }

    /// Starts `body` on a new thread called `name` (15 bytes at most are shown by ps).
    public init(_ name: String, stackSize: Int = 256 << 10, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        defer { unsafe pthread_attr_destroy(&attributes) }
        unsafe pthread_attr_setstacksize(&attributes, stackSize)
        let start = unsafe Unmanaged.passRetained(Start(name, body)).toOpaque()
        let result = unsafe pthread_create(
            &handle, &attributes,
            { argument in
                guard let argument = unsafe argument else { return nil }
                let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                unsafe clinux_set_thread_name(start.name)
                Thread.prologue.withLock { $0 }?(start.name)
                start.body()
                return nil
            }, start)
        if result != 0 {
            unsafe Unmanaged<Start>.fromOpaque(start).release()
            throw SystemError("start thread \(name)", Errno(rawValue: result))
        }
    }

    /// Waits for the thread's end. Call once.
    public func join() {
        pthread_join(handle, nil)
    }

    /// Sends `signal` to this thread, which makes a blocking system call return `EINTR`.
    public func interrupt(_ signal: Int32) {
        pthread_kill(handle, signal)
    }

    private final class Start {
        let name: String
        let body: @Sendable () -> Void
        init(_ name: String, _ body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
}

extension Thread {
    /// Runs `body` on a thread of its own and waits for its end. What it changes of its thread alone, such as the namespaces, goes with it.
    public static func run<Value: Sendable>(_ name: String, _ body: @escaping @Sendable () throws -> Value) throws -> Value {
        let outcome = Outcome<Value>()
        try Thread(name) { outcome.set(Result { try body() }) }.join()
        return try outcome.get(name)
    }

    private final class Outcome<Value: Sendable>: Sendable {
        private let result = Mutex<Result<Value, any Error>?>(nil)

        func set(_ new: Result<Value, any Error>) { result.withLock { $0 = new } }

        func get(_ name: String) throws -> Value {
            guard let result = result.withLock({ $0 }) else { throw SystemError("thread \(name)", .canceled) }
            return try result.get()
        }
    }
}

/// Keeps `signal` from the calling thread, and from threads and processes it starts.
public func blockSignal(_ signal: Int32) {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, signal)
    unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
}
