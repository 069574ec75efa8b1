// KVM's ioctl numbers, which are macros over sizeof, and structures ending in flexible arrays.
#pragma once

#include <linux/kvm.h>
#include <stdint.h>

#define CKVM_NUMBER(name) static const unsigned long c##name = name;
CKVM_NUMBER(KVM_GET_API_VERSION)
CKVM_NUMBER(KVM_CHECK_EXTENSION)
CKVM_NUMBER(KVM_GET_VCPU_MMAP_SIZE)
CKVM_NUMBER(KVM_GET_SUPPORTED_CPUID)
CKVM_NUMBER(KVM_GET_MSR_INDEX_LIST)
CKVM_NUMBER(KVM_CREATE_VM)
CKVM_NUMBER(KVM_SET_TSS_ADDR)
CKVM_NUMBER(KVM_SET_IDENTITY_MAP_ADDR)
CKVM_NUMBER(KVM_CREATE_IRQCHIP)
CKVM_NUMBER(KVM_CREATE_PIT2)
CKVM_NUMBER(KVM_SET_USER_MEMORY_REGION)
CKVM_NUMBER(KVM_IOEVENTFD)
CKVM_NUMBER(KVM_IRQFD)
CKVM_NUMBER(KVM_CREATE_VCPU)
CKVM_NUMBER(KVM_RUN)
CKVM_NUMBER(KVM_GET_REGS)
CKVM_NUMBER(KVM_SET_REGS)
CKVM_NUMBER(KVM_GET_SREGS)
CKVM_NUMBER(KVM_SET_SREGS)
CKVM_NUMBER(KVM_SET_CPUID2)
CKVM_NUMBER(KVM_GET_MSRS)
CKVM_NUMBER(KVM_SET_MSRS)
CKVM_NUMBER(KVM_GET_LAPIC)
CKVM_NUMBER(KVM_SET_LAPIC)
CKVM_NUMBER(KVM_GET_XSAVE)
CKVM_NUMBER(KVM_SET_XSAVE)
CKVM_NUMBER(KVM_GET_XCRS)
CKVM_NUMBER(KVM_SET_XCRS)
CKVM_NUMBER(KVM_GET_VCPU_EVENTS)
CKVM_NUMBER(KVM_SET_VCPU_EVENTS)
CKVM_NUMBER(KVM_GET_MP_STATE)
CKVM_NUMBER(KVM_SET_MP_STATE)
CKVM_NUMBER(KVM_GET_TSC_KHZ)
CKVM_NUMBER(KVM_SET_TSC_KHZ)
CKVM_NUMBER(KVM_GET_DEBUGREGS)
CKVM_NUMBER(KVM_SET_DEBUGREGS)
CKVM_NUMBER(KVM_GET_CPUID2)
CKVM_NUMBER(KVM_KVMCLOCK_CTRL)
CKVM_NUMBER(KVM_GET_IRQCHIP)
CKVM_NUMBER(KVM_SET_IRQCHIP)
CKVM_NUMBER(KVM_GET_PIT2)
CKVM_NUMBER(KVM_SET_PIT2)
CKVM_NUMBER(KVM_GET_CLOCK)
CKVM_NUMBER(KVM_SET_CLOCK)
CKVM_NUMBER(KVM_GET_STATS_FD)
#undef CKVM_NUMBER

#define CKVM_MAX_CPUID_ENTRIES 256
struct ckvm_cpuid {
    uint32_t count;
    uint32_t padding;
    struct kvm_cpuid_entry2 entries[CKVM_MAX_CPUID_ENTRIES];
};

#define CKVM_MAX_MSRS 256
struct ckvm_msrs {
    uint32_t count;
    uint32_t padding;
    struct kvm_msr_entry entries[CKVM_MAX_MSRS];
};

#define CKVM_MAX_MSR_INDICES 1024
struct ckvm_msr_list {
    uint32_t count;
    uint32_t indices[CKVM_MAX_MSR_INDICES];
};

// struct kvm_irqchip without its union, which is as long as the largest chip.
struct ckvm_irqchip {
    uint32_t chip;
    uint32_t padding;
    uint8_t state[512];
};
_Static_assert(sizeof(struct ckvm_irqchip) == sizeof(struct kvm_irqchip), "struct kvm_irqchip has grown");

// The parts of struct kvm_run this project reads, without its union.
struct ckvm_exit {
    uint32_t reason;
    uint8_t is_write;
    uint8_t size;        // bytes of one access
    uint32_t count;      // port accesses of a string instruction
    uint64_t address;    // port or guest-physical address
    uint64_t data;       // what an MMIO write carries
    uint64_t data_offset; // where in struct kvm_run port data lies
    uint32_t detail;     // suberror, system event, entry failure (low bits)
    uint64_t detail_data[4];
};

static inline void ckvm_read_exit(const struct kvm_run *run, struct ckvm_exit *out) {
    out->reason = run->exit_reason;
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        out->is_write = run->io.direction == KVM_EXIT_IO_OUT;
        out->size = run->io.size;
        out->count = run->io.count;
        out->address = run->io.port;
        out->data_offset = run->io.data_offset;
        break;
    case KVM_EXIT_MMIO:
        out->is_write = run->mmio.is_write;
        out->size = run->mmio.len;
        out->address = run->mmio.phys_addr;
        __builtin_memcpy(&out->data, run->mmio.data, sizeof(out->data));
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        out->detail = run->internal.suberror;
        out->count = run->internal.ndata < 4 ? run->internal.ndata : 4;
        for (uint32_t index = 0; index < out->count; index++) out->detail_data[index] = run->internal.data[index];
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        out->detail = run->system_event.type;
        break;
    case KVM_EXIT_FAIL_ENTRY:
        out->detail_data[0] = run->fail_entry.hardware_entry_failure_reason;
        break;
    default:
        break;
    }
}

static inline void ckvm_set_mmio_data(struct kvm_run *run, uint64_t value) {
    __builtin_memcpy(run->mmio.data, &value, sizeof(value));
}

static inline void ckvm_set_ioeventfd(struct kvm_ioeventfd *out, uint64_t address, uint32_t length, int fd, uint64_t match) {
    *out = (struct kvm_ioeventfd){
        .datamatch = match, .addr = address, .len = length, .fd = fd, .flags = KVM_IOEVENTFD_FLAG_DATAMATCH};
}
