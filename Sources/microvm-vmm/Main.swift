import CLinux
import Glibc
import KVM
import Linux
import Machine

@main
struct Main {
    static func main() {
        let began = monotonicNanoseconds()
        clinux_share_heap()
        var options: Options
        do { options = try Options(Array(CommandLine.arguments.dropFirst())) } catch {
            standardError("microvm-vmm: \(error)\n\(Options.usage)")
            exit(2)
        }
        do {
            if let snapshot = options.verify {
                try Machine.verify(snapshot)
                exit(0)
            }
            let vmm = try VMM(options, began: began)
            options.letGoOfFiles()
            let reason = try vmm.run()
            if case .error(let text) = reason { standardError("microvm-vmm: \(text)") }
            exit(reason.status)
        } catch let error as MachineError where error.stage == MachineError.loadKernel {
            standardError("microvm-vmm: \(error)")
            exit(7)
        } catch let error as MachineError where error.isOfSnapshot {
            standardError("microvm-vmm: \(error)")
            exit(8)
        } catch {
            standardError("microvm-vmm: \(error)")
            exit(3)
        }
    }

    private static func standardError(_ text: String) {
        try? Descriptor.standardError.writeAll(text + "\n")
    }
}

extension EndReason {
    var status: Int32 {
        switch self {
        case .powerOff, .stopped: 0
        case .error: 3
        case .guestPanic: 4
        case .reset: 5
        case .tripleFault: 6
        }
    }
}
