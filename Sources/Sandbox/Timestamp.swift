import Glibc

/// RFC 3339 with nanoseconds, in UTC.
public func timestamp(_ nanosecondsSinceEpoch: UInt64) -> String {
    var seconds = Int(nanosecondsSinceEpoch / 1_000_000_000)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    let date = [padded(Int(parts.tm_year) + 1900, 4), padded(Int(parts.tm_mon) + 1, 2), padded(Int(parts.tm_mday), 2)]
    let time = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { padded(Int($0), 2) }
    let fraction = padded(Int(nanosecondsSinceEpoch % 1_000_000_000), 9)
    return date.joined(separator: "-") + "T" + time.joined(separator: ":") + ".\(fraction)Z"
}

private func padded(_ value: Int, _ width: Int) -> String {
    let digits = "\(value)"
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}
