enum Version {
    static let number = "0.1.0"

    /// Engines read the first line, `NAME version NUMBER`, and the `spec:` line.
    static let text = """
        microvm version \(number)
        spec: 1.2.0
        """
}
