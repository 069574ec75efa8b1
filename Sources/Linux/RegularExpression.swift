import Glibc

/// A POSIX extended regular expression (regex(7)).
@safe
public final class RegularExpression {
    private var compiled = unsafe regex_t()

    /// - Returns: nil if `pattern` is none.
    public init?(_ pattern: String) {
        guard unsafe regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB) == 0 else { return nil }
    }

    deinit { unsafe regfree(&compiled) }

    /// Whether it is found anywhere in `text`.
    public func matches(_ text: String) -> Bool {
        unsafe regexec(&compiled, text, 0, nil, 0) == 0
    }
}
