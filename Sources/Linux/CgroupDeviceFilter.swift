import CLinux
import Glibc

/// A BPF program that decides which devices the processes of a cgroup may use.
public enum CgroupDeviceFilter {
    // linux/bpf.h
    private static let load = 5, attach = 8, detach = 9
    private static let programType: UInt32 = 15, attachType: UInt32 = 6, allowMulti: UInt32 = 2, replace: UInt32 = 4

    /// Hands instructions (`struct bpf_insn`, 8 bytes each) to the kernel's verifier.
    public static func load(_ instructions: [UInt64]) throws(SystemError) -> Descriptor {
        var instructions = instructions
        let count = instructions.count
        var license: (CChar, CChar, CChar, CChar) = (0x47, 0x50, 0x4c, 0)
        let result = try withAddress(of: &license) { (license) throws(SystemError) in
            try unsafe instructions.withUnsafeMutableBytes { bytes in
                let code = UInt64(UInt(bitPattern: bytes.baseAddress))
                return Result { () throws(SystemError) -> Int in
                    // prog_type, insn_cnt | insns | license | log | … | expected_attach_type at byte 68
                    var attributes = [UInt64](repeating: 0, count: 9)
                    attributes[0] = UInt64(programType) | UInt64(count) << 32
                    attributes[1] = code
                    attributes[2] = UInt64(license)
                    attributes[8] = UInt64(attachType) << 32
                    return try call("load device filter", Self.load, &attributes)
                }
            }.get()
        }
        return Descriptor(adopting: Int32(truncatingIfNeeded: result))
    }

    /// Puts `program` in force for a cgroup, in the place of `old` if there is one.
    public static func attach(_ program: Descriptor, to cgroup: Descriptor, replacing old: Descriptor?) throws(SystemError) {
        var attributes: [UInt64] = [
            UInt64(UInt32(bitPattern: cgroup.raw)) | UInt64(UInt32(bitPattern: program.raw)) << 32,
            UInt64(attachType) | UInt64(old == nil ? allowMulti : allowMulti | replace) << 32,
            UInt64(UInt32(bitPattern: old?.raw ?? 0)),
        ]
        _ = try call("attach device filter", attach, &attributes)
    }

    /// Takes it back.
    public static func detach(_ program: Descriptor, from cgroup: Descriptor) throws(SystemError) {
        var attributes: [UInt64] = [
            UInt64(UInt32(bitPattern: cgroup.raw)) | UInt64(UInt32(bitPattern: program.raw)) << 32, UInt64(attachType),
        ]
        _ = try call("detach device filter", detach, &attributes)
    }

    private static func call(_ stage: String, _ command: Int, _ attributes: inout [UInt64]) throws(SystemError) -> Int {
        let count = 8 * attributes.count
        return try unsafe attributes.withUnsafeMutableBytes { bytes in
            let address = Int(bitPattern: bytes.baseAddress)
            return Result { () throws(SystemError) -> Int in try systemCall(stage, SYS_bpf, command, address, count) }
        }.get()
    }
}
