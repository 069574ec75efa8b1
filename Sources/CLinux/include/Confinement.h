// What a process needs to give up rights, and Swift cannot import: calls without a wrapper in the C library,
// and structures of headers Glibc's module leaves out.
#pragma once

#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <linux/audit.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

// struct sock_filter.
struct clinux_filter_instruction {
    uint16_t code;
    uint8_t jump_true, jump_false;
    uint32_t value;
};

// Filters the calling thread's system calls from now on; no_new_privs must be set.
static inline long clinux_filter_thread(const struct clinux_filter_instruction *instructions, uint16_t count) {
    struct sock_fprog program = {.len = count, .filter = (struct sock_filter *)instructions};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static inline int clinux_unshare(int flags) { return unshare(flags); }

// What is mounted from now on stays in this namespace.
static inline int clinux_make_mounts_private(void) { return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL); }

// An empty tmpfs that no path leads to.
static inline int clinux_make_tmpfs(void) {
    int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    if (context < 0) return -1;
    int tree = -1;
    if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        tree = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
    close(context);
    return tree;
}

static inline int clinux_set_mount_attributes(int tree, uint64_t attributes) {
    struct mount_attr attr = {.attr_set = attributes};
    return (int)syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr));
}

// Mounts a detached tree over the working directory.
static inline int clinux_mount_here(int tree) {
    return (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH);
}

// The working directory, a mount, becomes the root; what was the root lies over it afterwards.
static inline int clinux_pivot_here(void) { return (int)syscall(SYS_pivot_root, ".", "."); }

static inline int clinux_detach_here(void) { return umount2(".", MNT_DETACH); }
