/// Signals as kill(1) and engines write them.
enum SignalName {
    /// x86-64's, in the order of their numbers from 1 (signal(7)).
    private static let names = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD",
        "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ]
    /// Those of the C library; the kernel's begin at 32.
    private static let realtime = 34...64

    /// `15`, `TERM`, `SIGTERM`, `RTMIN+1`.
    static func number(of text: String) -> Int32? {
        if let number = Int32(text) { return (0...64).contains(number) ? number : nil }
        var name = text.uppercased()[...]
        if name.hasPrefix("SIG") { name = name.dropFirst(3) }
        if let index = names.firstIndex(of: String(name)) { return Int32(index + 1) }
        let base: Int
        if name.hasPrefix("RTMIN") { base = realtime.lowerBound } else if name.hasPrefix("RTMAX") { base = realtime.upperBound } else { return nil }
        let offset = name.count == 5 ? 0 : Int(name.dropFirst(5))
        return offset.map { base + $0 }.flatMap { realtime.contains($0) ? Int32($0) : nil }
    }
}
