import CLinux
import GuestMemory

/// Why an instruction cannot be completed as it stands: the exception a CPU would raise.
enum GuestFault: Error, Equatable {
    case page(address: UInt64, errorCode: UInt32)
    case generalProtection
}

/// The guest's page tables, walked as its CPU would (Intel SDM volume 3, 4.5 to 4.8).
///
/// KVM_TRANSLATE tells where an address lies but not whether it may be written: a write that goes through all the
/// same would end in pages that processes share until one of them writes.
struct PageTables {
    let memory: GuestMemory
    /// CR3, CR0, CR4 and the privilege the vCPU runs with.
    let special: kvm_sregs
    let flags: UInt64

    private enum Entry {
        static let present: UInt64 = 1
        static let writable: UInt64 = 1 << 1
        static let user: UInt64 = 1 << 2
        static let accessed: UInt64 = 1 << 5
        static let dirty: UInt64 = 1 << 6
        static let large: UInt64 = 1 << 7
        static let address: UInt64 = 0x000f_ffff_ffff_f000
    }

    private enum Control {
        static let writeProtect: UInt64 = 1 << 16  // CR0
        static let fiveLevels: UInt64 = 1 << 12  // CR4
        static let userAccessPrevention: UInt64 = 1 << 21  // CR4
        static let alignmentCheck: UInt64 = 1 << 18  // RFLAGS
        static let longModeActive: UInt64 = 1 << 10  // EFER
    }

    private enum ErrorCode { static let present: UInt32 = 1, write: UInt32 = 2, user: UInt32 = 4 }

    /// The guest-physical address behind a data access in 64-bit mode.
    ///
    /// - Throws: ``GuestFault``, or what guest memory says of a table outside it.
    func physicalAddress(_ address: UInt64, write: Bool) throws -> UInt64 {
        guard special.efer & Control.longModeActive != 0 else { throw GuestFault.generalProtection }
        let levels = special.cr4 & Control.fiveLevels != 0 ? 5 : 4
        let unused = 64 - (12 + 9 * levels)
        let signExtended = (Int64(bitPattern: address) << Int64(unused)) >> Int64(unused)
        guard UInt64(bitPattern: signExtended) == address else { throw GuestFault.generalProtection }
        let isUser = special.ss.dpl == 3
        let code = (write ? ErrorCode.write : 0) | (isUser ? ErrorCode.user : 0)

        var table = special.cr3 & Entry.address
        var rights: UInt64 = .max
        for level in stride(from: levels - 1, through: 0, by: -1) {
            let shift = UInt64(12 + 9 * level)
            let slot = try memory.slice(table &+ 8 * (address >> shift & 0x1ff), 8)
            let entry: UInt64 = try slot.load(at: 0)
            guard entry & Entry.present != 0 else { throw GuestFault.page(address: address, errorCode: code) }
            rights &= entry
            let isLeaf = level == 0 || (level <= 2 && entry & Entry.large != 0)
            guard isLeaf else {
                try set(Entry.accessed, in: entry, slot)
                table = entry & Entry.address
                continue
            }
            guard isAllowed(rights, write: write, isUser: isUser) else {
                throw GuestFault.page(address: address, errorCode: code | ErrorCode.present)
            }
            try set(Entry.accessed | (write ? Entry.dirty : 0), in: entry, slot)
            let offset = (UInt64(1) << shift) - 1
            return entry & Entry.address & ~offset | address & offset
        }
        throw GuestFault.generalProtection
    }

    private func isAllowed(_ rights: UInt64, write: Bool, isUser: Bool) -> Bool {
        let isUserPage = rights & Entry.user != 0
        if isUser, !isUserPage { return false }
        if !isUser, isUserPage, special.cr4 & Control.userAccessPrevention != 0, flags & Control.alignmentCheck == 0 { return false }
        // The kernel may write to read-only pages unless it asked not to.
        return !write || rights & Entry.writable != 0 || (!isUser && special.cr0 & Control.writeProtect == 0)
    }

    private func set(_ bits: UInt64, in entry: UInt64, _ slot: GuestSlice) throws {
        if entry & bits != bits { try slot.setBits(bits, at: 0) }
    }
}
