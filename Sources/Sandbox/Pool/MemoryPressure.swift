import Glibc
import Linux

/// Whether this host runs short of memory: tasks wait for it (`/proc/pressure/memory`), or little is available.
final class MemoryPressure {
    /// Tasks waited for a tenth of two seconds, which the kernel lets everybody ask for.
    private static let trigger = "some 200000 2000000"
    /// As much of ten seconds, in percent.
    private static let waiting = 10.0
    private static let pressurePath = "/proc/pressure/memory"
    /// Kilobytes; less on small hosts, a tenth of what they have.
    private static let reserve = 1 << 20

    private let loop: EventLoop
    private var file: Descriptor?

    /// Calls `body` as soon as tasks wait for memory, where the kernel says so.
    init(on loop: EventLoop, _ body: @escaping () -> Void) {
        self.loop = loop
        guard let file = try? Descriptor.open(Self.pressurePath, O_RDWR | O_NONBLOCK), (try? file.writeAll(Self.trigger + "\0")) != nil,
            (try? loop.add(file, .priority) { _ in body() }) != nil
        else { return }
        self.file = file
    }

    deinit {
        if let file { loop.remove(file) }
    }

    static func isHigh() -> Bool {
        func contents(_ path: String) -> String { (try? Descriptor.open(path, O_RDONLY).read(upTo: 4096)).map { String(decoding: $0, as: UTF8.self) } ?? "" }
        return isHigh(information: contents("/proc/meminfo"), pressure: contents(pressurePath))
    }

    /// - Parameters:
    ///   - information: `/proc/meminfo` (proc(5)).
    ///   - pressure: `/proc/pressure/memory` (Documentation/accounting/psi.rst); empty where there is none.
    static func isHigh(information: String, pressure: String) -> Bool {
        var values: [Substring: Int] = [:]
        for line in information.split(separator: "\n") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == ":" })
            if words.count >= 2 { values[words[0]] = Int(words[1]) }
        }
        if let total = values["MemTotal"], let available = values["MemAvailable"], available < min(total / 10, reserve) { return true }
        let some = pressure.split(separator: "\n").first { $0.hasPrefix("some ") }?.split(separator: " ") ?? []
        return some.contains { $0.hasPrefix("avg10=") && (Double($0.dropFirst(6)) ?? 0) >= waiting }
    }
}
