import Synchronization

/// The few ISA ports a minimal kernel touches. Everything else reads as all ones and swallows writes.
final class PortBus: Sendable {
    /// What a write to a port asks of the machine.
    enum Request: Equatable, Sendable {
        case reset
        case panicked
        case powerOff
    }

    private enum Port {
        static let keyboardData: UInt16 = 0x60
        static let keyboardCommand: UInt16 = 0x64
        static let cmosIndex: UInt16 = 0x70
        static let cmosData: UInt16 = 0x71
        static let serial: UInt16 = 0x3f8
        static let panic: UInt16 = 0x505
    }

    /// Pulse the reset line (i8042 command).
    private static let keyboardReset: UInt8 = 0xfe

    /// pvpanic (include/uapi/misc/pvpanic.h).
    private enum Panic { static let panicked: UInt8 = 1, shutdown: UInt8 = 4 }

    private let serial: SerialPort

    init(serialOutput: @escaping @Sendable (UInt8) -> Void) {
        serial = SerialPort(base: Port.serial, output: serialOutput)
    }

    func read(_ port: UInt16, count: Int) -> [UInt8] {
        let value: UInt8 =
            switch port {
            case let port where serial.contains(port): serial.read(port)
            // No key waiting, ready for commands.
            case Port.keyboardData, Port.keyboardCommand: 0
            // Registers that read as zero have no update in progress; all ones cost every boot a second
            // of udelay (rtc-mc146818-lib.c).
            case Port.cmosIndex, Port.cmosData: 0
            case Port.panic: Panic.panicked | Panic.shutdown
            default: 0xff
            }
        return [UInt8](repeating: value, count: count)
    }

    func write(_ port: UInt16, _ data: [UInt8]) -> Request? {
        guard let value = data.first else { return nil }
        switch port {
        case let port where serial.contains(port):
            for byte in data { serial.write(port, byte) }
            return nil
        case Port.keyboardCommand: return value == Self.keyboardReset ? .reset : nil
        case Port.panic where value & Panic.panicked != 0: return .panicked
        case Port.panic where value & Panic.shutdown != 0: return .powerOff
        default: return nil
        }
    }
}

/// Enough of a 16550 for `earlyprintk=serial`: always ready to send, never anything received, no interrupts.
struct SerialPort: Sendable {
    let base: UInt16
    let output: @Sendable (UInt8) -> Void

    private enum Register { static let data: UInt16 = 0, lineControl: UInt16 = 3, lineStatus: UInt16 = 5 }
    /// Transmitter empty and its holding register too.
    private static let idle: UInt8 = 0x60
    private let divisorLatch = DivisorLatch()

    func contains(_ port: UInt16) -> Bool { port >= base && port < base + 8 }

    func read(_ port: UInt16) -> UInt8 { port == base + Register.lineStatus ? Self.idle : 0 }

    func write(_ port: UInt16, _ value: UInt8) {
        switch port - base {
        case Register.lineControl: divisorLatch.open.store(value & 0x80 != 0, ordering: .relaxed)
        case Register.data where !divisorLatch.open.load(ordering: .relaxed): output(value)
        default: break
        }
    }

    /// While open, the data register is the baud rate's.
    private final class DivisorLatch: Sendable {
        let open = Atomic<Bool>(false)
    }
}
