import Glibc
import Linux
import Logging

/// Log lines in runc's two forms: logrus text, or one JSON object a line. Engines parse both.
enum Log {
    /// Sends swift-log's lines where the global options say. Call once.
    ///
    /// - Parameter silent: nothing reaches standard error, which is a container's.
    static func configure(_ options: GlobalOptions, silent: Bool) throws(SystemError) {
        let file = try options.log.map { path throws(SystemError) in
            try Descriptor.open(path, O_WRONLY | O_CREAT | O_APPEND, mode: 0o644)
        }
        let sink = LogSink(file: file, format: options.logFormat, level: options.debug ? .debug : .info, silent: silent)
        LoggingSystem.bootstrap { _ in sink }
    }

    /// One line for an error that ends the command.
    static func report(_ error: any Error) {
        Logger(label: "microvm").error("\(error)")
    }
}

private struct LogSink: LogHandler {
    /// Nil: standard error.
    let file: Descriptor?
    let format: LogFormat
    let level: Logger.Level
    let silent: Bool
    var metadata: Logger.Metadata = [:]

    var logLevel: Logger.Level {
        get { level }
        set { _ = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let message = event.message.description
        let line = LogLine(level: event.level, message: message, nanosecondsSinceEpoch: wallClockNanoseconds())
        // A reader that went away, or a full disk, must not end the container.
        try? file?.writeAll(line.text(format))
        guard !silent else { return }
        if file == nil { try? Descriptor.standardError.writeAll(line.text(format)) }
        if file != nil, event.level >= .error { try? Descriptor.standardError.writeAll(message + "\n") }
    }
}

struct LogLine {
    let level: Logger.Level
    let message: String
    let nanosecondsSinceEpoch: UInt64

    func text(_ format: LogFormat) -> String {
        switch format {
        case .text: "time=\(quoted(timestamp)) level=\(levelName) msg=\(quoted(message))\n"
        case .json: "{\"level\":\(quoted(levelName)),\"msg\":\(quoted(message)),\"time\":\(quoted(timestamp))}\n"
        }
    }

    /// logrus's names.
    private var levelName: String {
        switch level {
        case .trace: "trace"
        case .debug: "debug"
        case .info, .notice: "info"
        case .warning: "warning"
        case .error: "error"
        case .critical: "fatal"
        }
    }

    /// RFC 3339 in UTC.
    private var timestamp: String {
        var seconds = Int(nanosecondsSinceEpoch / 1_000_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        let date = [Int(parts.tm_year) + 1900, Int(parts.tm_mon) + 1, Int(parts.tm_mday)].map(twoDigits).joined(separator: "-")
        return date + "T" + [parts.tm_hour, parts.tm_min, parts.tm_sec].map { twoDigits(Int($0)) }.joined(separator: ":") + "Z"
    }
}

private func twoDigits(_ value: Int) -> String {
    value < 10 ? "0\(value)" : "\(value)"
}

/// A JSON string, which logrus's text form also reads.
private func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case _ where scalar.value < 0x20:
            let digits = String(scalar.value, radix: 16)
            result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + "\""
}
