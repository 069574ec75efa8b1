extension Spec {
    /// The same with the values of environment variables left out, for tables and logs: they hold passwords.
    public func redacted() -> Spec {
        var spec = self
        if let env = spec.process?.env { spec.process?.env = redactedEnvironment(env) }
        for stage in [\Hooks.prestart, \.createRuntime, \.createContainer, \.startContainer, \.poststart, \.poststop] {
            guard let hooks = spec.hooks?[keyPath: stage] else { continue }
            spec.hooks?[keyPath: stage] = hooks.map { hook in
                var hook = hook
                hook.env = hook.env.map(redactedEnvironment)
                return hook
            }
        }
        return spec
    }
}

private func redactedEnvironment(_ environment: [String]) -> [String] {
    environment.map { String($0.prefix { $0 != "=" }) + "=…" }
}

// Printing or logging one of these by accident must not tell its environment either.
extension Process: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        var process = self
        process.env = redactedEnvironment(env)
        return (try? JSON.encode(process)) ?? "process"
    }

    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(reflecting: description) }
}

extension Hook: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        var hook = self
        hook.env = env.map(redactedEnvironment)
        return (try? JSON.encode(hook)) ?? "hook"
    }

    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(reflecting: description) }
}
