/// A kernel's System.map: which function an address is in.
public struct SymbolTable: Sendable {
    private let addresses: [UInt64]
    private let names: [String]

    /// - Parameter text: `ADDRESS TYPE NAME` lines, as nm(1) prints them; only code is kept.
    public init(_ text: String) {
        let symbols = text.split(separator: "\n").compactMap { line -> (UInt64, String)? in
            let words = line.split(separator: " ")
            guard words.count == 3, "tTwW".contains(words[1]), let address = UInt64(words[0], radix: 16) else { return nil }
            return (address, String(words[2]))
        }.sorted { $0.0 < $1.0 }
        addresses = symbols.map(\.0)
        names = symbols.map(\.1)
    }

    /// The last function that begins at or before `address`.
    public func name(of address: UInt64) -> String? {
        var (low, high) = (0, addresses.count)
        while low < high {
            let middle = (low + high) / 2
            if addresses[middle] <= address { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? names[low - 1] : nil
    }
}
