// What Swift cannot import: variadic calls, ioctl numbers (macros with sizeof), and structures whose
// headers Glibc's module map leaves out. Everything here is a header or a static inline; nothing decides.
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

// Glibc's module is compiled without _GNU_SOURCE, where fd_set names its member otherwise; clang rejects two
// definitions, but only if it happens to meet both (a clean build failed, the next one did not).
#include <features.h>
#pragma push_macro("__USE_XOPEN")
#undef __USE_XOPEN
#include <sys/select.h>
#pragma pop_macro("__USE_XOPEN")

#include <asm/kvm_para.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include "CKVM.h"
#include <linux/kvm.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "Confinement.h"
#include "FileSystem.h"
#include "Program.h"

// openat2(2) with RESOLVE_IN_ROOT gives up (EAGAIN) on ".." when anything at all was mounted or renamed since it began: how often to begin.
#define CLINUX_WALKS 100

// A raw system call: the result, or -errno. Never touches errno, so it may run where the caller's
// thread-local storage is somebody else's.
static inline long clinux_syscall(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
    int walks = number == SYS_openat2 ? CLINUX_WALKS : 1;
    long result;
    do {
        register long r10 __asm__("r10") = d;
        register long r8 __asm__("r8") = e;
        register long r9 __asm__("r9") = f;
        __asm__ volatile("syscall"
                         : "=a"(result)
                         : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                         : "rcx", "r11", "memory");
    } while (result == -EAGAIN && --walks > 0);
    return result;
#else
#error "microvm runs on x86-64"
#endif
}

static inline int clinux_ioctl(int fd, unsigned long request, uintptr_t argument) {
    return ioctl(fd, request, argument);
}

// The other end of a pseudo terminal's master, unlocked: its number, or -1.
static inline int clinux_terminal_peer(int master) {
    int unlocked = 0;
    if (ioctl(master, TIOCSPTLCK, &unlocked) != 0) return -1;
    return ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

static inline int clinux_renameat2(int from, const char *name, int to, const char *new_name, unsigned flags) {
    return renameat2(from, name, to, new_name, flags);
}

static inline int clinux_fcntl(int fd, int command, long argument) { return fcntl(fd, command, argument); }

static inline int clinux_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d) {
    return prctl(option, a, b, c, d);
}

static inline int clinux_accept(int fd, int flags) { return accept4(fd, NULL, NULL, flags | SOCK_CLOEXEC); }

// What a signal means, or NULL.
static inline const char *clinux_signal_text(int signal) { return sigdescr_np(signal); }

// The kernel keeps the first 15 bytes.
static inline void clinux_set_thread_name(const char *name) { prctl(PR_SET_NAME, (unsigned long)name, 0, 0, 0); }

// struct epoll_event without its union, which Swift's strict memory safety counts as unsafe.
struct __attribute__((packed)) clinux_epoll_event {
    uint32_t events;
    uint64_t data;
};

static inline int clinux_epoll_ctl(int epoll, int operation, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data = {.u64 = data}};
    return epoll_ctl(epoll, operation, fd, &event);
}

static inline int clinux_epoll_wait(int epoll, struct clinux_epoll_event *events, int count, int milliseconds) {
    return epoll_wait(epoll, (struct epoll_event *)events, count, milliseconds);
}

// One message with descriptors beside it: the CMSG macros do not reach Swift.
#define CLINUX_MAX_DESCRIPTORS 16

union clinux_rights {
    struct cmsghdr header;
    char space[CMSG_SPACE(CLINUX_MAX_DESCRIPTORS * sizeof(int))];
};

static inline ssize_t clinux_send(int socket, const void *bytes, size_t count, const int *fds, size_t fd_count) {
    struct iovec data = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    union clinux_rights rights;
    if (fd_count > CLINUX_MAX_DESCRIPTORS) {
        errno = EINVAL;
        return -1;
    }
    if (fd_count > 0) {
        message.msg_control = &rights;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        __builtin_memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

// fds must have room for CLINUX_MAX_DESCRIPTORS.
static inline ssize_t clinux_receive(int socket, void *bytes, size_t limit, int *fds, size_t *fd_count) {
    struct iovec data = {.iov_base = bytes, .iov_len = limit};
    union clinux_rights rights;
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof(rights)};
    ssize_t count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    *fd_count = 0;
    if (count < 0) return count;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        *fd_count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        __builtin_memcpy(fds, CMSG_DATA(header), *fd_count * sizeof(int));
    }
    return count;
}

// Ring indices are shared with the other side without a lock (virtio 1.2, 2.7.6 and 2.7.13.4.1).
static inline uint16_t clinux_load_acquire(const void *address) {
    return __atomic_load_n((const uint16_t *)address, __ATOMIC_ACQUIRE);
}

static inline void clinux_store_release(void *address, uint16_t value) {
    __atomic_store_n((uint16_t *)address, value, __ATOMIC_RELEASE);
}

// Page table entries change under both sides' hands: bits are set without losing what the other wrote.
static inline void clinux_set_bits(void *address, uint64_t bits) {
    __atomic_fetch_or((uint64_t *)address, bits, __ATOMIC_SEQ_CST);
}

static inline void clinux_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// Makes malloc keep what is freed (mallopt(3)).
void clinux_keep_memory(void);

// Gives all threads one heap, before there is a second (mallopt(3)): each of its own is 64 MiB of addresses and some pages.
void clinux_share_heap(void);

// A lock on one byte of a file, owned by the open file (fcntl(2), F_OFD_SETLK): 0, or -1 with EAGAIN when another has it.
static inline int clinux_lock_byte(int fd, long position) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = position, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock);
}

// Whether another open file has that lock: 1 or 0, -1 on errors.
static inline int clinux_is_byte_locked(int fd, long position) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = position, .l_len = 1};
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0) return -1;
    return lock.l_type != F_UNLCK;
}

static inline int clinux_pidfd_open(int pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

static inline int clinux_pidfd_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

// Size in bytes of the tmpfs (linux/magic.h) the file is on: 0 on another file system, -1 on errors.
static inline long long clinux_tmpfs_size(int fd) {
    struct statfs status;
    if (fstatfs(fd, &status) != 0) return -1;
    return status.f_type == 0x01021994 ? (long long)status.f_blocks * status.f_bsize : 0;
}

static inline unsigned clinux_major(dev_t device) { return major(device); }
static inline unsigned clinux_minor(dev_t device) { return minor(device); }
