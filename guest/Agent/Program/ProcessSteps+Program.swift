import CLinux
import Glibc
import Linux
import OCI

/// Which program is executed, with what environment.
extension ProcessSteps {
    static let defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    /// The spec's variables, the last of a name counting, and `HOME`.
    var environment: [String] {
        var values: [String] = []
        var places: [Substring: Int] = [:]
        for variable in process.env {
            let name = variable.prefix { $0 != "=" }
            if let place = places[name] {
                values[place] = variable
            } else {
                places[name] = values.count
                values.append(variable)
            }
        }
        if places["HOME"] == nil, let home { values.append("HOME=\(home)") }
        return values
    }

    /// Where the program may be, in the order of the search.
    var candidates: [String] {
        let name = process.args.first ?? ""
        if name.contains("/") { return [name] }
        if name.isEmpty { return [] }
        let path = environment.last { $0.hasPrefix("PATH=") }.map { String($0.dropFirst("PATH=".count)) } ?? Self.defaultPath
        return path.split(separator: ":", omittingEmptySubsequences: false).map { $0.isEmpty ? "./\(name)" : "\($0)/\(name)" }
    }

    /// Looks the program up now, with the process's own rights, so that `create` can say it is not there.
    ///
    /// - Returns: holds the path's address.
    func findProgram(_ program: inout SystemCallProgram) -> SystemCallProgram.Register {
        let path = program.register()
        program.stage(Self.findStage)
        let isThere: [Errno] = [.noSuchFileOrDirectory, .permissionDenied, .notDirectory]
        let candidates = candidates
        program.firstOf(candidates) { program, candidate in
            // AT_EACCESS: by the effective ids.
            program.call(SYS_faccessat2, .literal(AT_FDCWD), program.text(candidate), .literal(X_OK), 0x200, tolerating: isThere)
        } then: { program, candidate in
            program.load(program.text(candidate), into: path)
        } otherwise: { program in
            for candidate in candidates {
                program.call(SYS_faccessat2, .literal(AT_FDCWD), program.text(candidate), .literal(F_OK), 0x200, tolerating: isThere)
                program.onSuccess { $0.fail(.permissionDenied) }
            }
            program.fail(.noSuchFileOrDirectory)
        }
        return path
    }

    static let findStage = "find program"
}
