// What a file server needs of the kernel and Swift cannot import: structures whose headers clash with
// Glibc's module, variadic calls, and calls that must act on one thread only.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

// struct statx, reduced to what is used.
struct clinux_metadata {
    uint64_t device, inode, mount, size, blocks;
    int64_t accessed, modified, changed, born;
    uint32_t accessed_ns, modified_ns, changed_ns, born_ns;
    uint32_t mode, links, user, group, block_size, major, minor, mask;
};

static inline int clinux_metadata_at(int directory, const char *name, int flags, struct clinux_metadata *result) {
    struct statx x;
    unsigned mask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
    // statx is not variadic, but its structure comes from either of two headers.
    if (syscall(SYS_statx, directory, name, flags | AT_NO_AUTOMOUNT, mask, &x) != 0) return -1;
    *result = (struct clinux_metadata){
        .device = (uint64_t)x.stx_dev_major << 32 | x.stx_dev_minor,
        .inode = x.stx_ino,
        .mount = x.stx_mask & STATX_MNT_ID ? x.stx_mnt_id : 0,
        .size = x.stx_size,
        .blocks = x.stx_blocks,
        .accessed = x.stx_atime.tv_sec,
        .modified = x.stx_mtime.tv_sec,
        .changed = x.stx_ctime.tv_sec,
        .born = x.stx_btime.tv_sec,
        .accessed_ns = x.stx_atime.tv_nsec,
        .modified_ns = x.stx_mtime.tv_nsec,
        .changed_ns = x.stx_ctime.tv_nsec,
        .born_ns = x.stx_btime.tv_nsec,
        .mode = x.stx_mode,
        .links = x.stx_nlink,
        .user = x.stx_uid,
        .group = x.stx_gid,
        .block_size = x.stx_blksize,
        .major = x.stx_rdev_major,
        .minor = x.stx_rdev_minor,
        .mask = x.stx_mask,
    };
    return 0;
}

static inline int clinux_open_at(int directory, const char *name, int flags, mode_t mode) {
    return openat(directory, name, flags, mode);
}

// What is at a path below a directory, named and not opened.
static inline int clinux_open_below(int directory, const char *path) {
    struct open_how how = {
        .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof(how));
}

// The number of a descriptor as a path in /proc/self/fd.
struct clinux_number {
    char text[12];
};

static inline struct clinux_number clinux_number(int fd) {
    struct clinux_number number;
    unsigned value = (unsigned)fd;
    char digits[12];
    int count = 0;
    do digits[count++] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    for (int i = 0; i < count; i++) number.text[i] = digits[count - 1 - i];
    number.text[count] = 0;
    return number;
}

// Opens the inode behind a descriptor anew; `numbers` is /proc/self/fd.
static inline int clinux_reopen(int numbers, int fd, int flags) {
    struct clinux_number number = clinux_number(fd);
    return openat(numbers, number.text, flags);
}

// Where the file behind a descriptor is; `numbers` is /proc/self/fd.
static inline ssize_t clinux_target(int numbers, int fd, void *target, size_t size) {
    return readlinkat(numbers, clinux_number(fd).text, (char *)target, size);
}

static inline int clinux_change_mode(int numbers, int fd, mode_t mode) {
    struct clinux_number number = clinux_number(fd);
    return fchmodat(numbers, number.text, mode, 0);
}

static inline int clinux_link(int numbers, int fd, int directory, const char *name) {
    struct clinux_number number = clinux_number(fd);
    return linkat(numbers, number.text, directory, name, AT_SYMLINK_FOLLOW);
}

// Extended attributes by number: the working directory of the calling thread is /proc/self/fd.
static inline ssize_t clinux_get_attribute(int fd, const char *name, void *value, size_t size) {
    return getxattr(clinux_number(fd).text, name, value, size);
}

static inline ssize_t clinux_list_attributes(int fd, void *names, size_t size) {
    return listxattr(clinux_number(fd).text, (char *)names, size);
}

static inline int clinux_set_attribute(int fd, const char *name, const void *value, size_t size, int flags) {
    return setxattr(clinux_number(fd).text, name, value, size, flags);
}

static inline int clinux_remove_attribute(int fd, const char *name) { return removexattr(clinux_number(fd).text, name); }

// The target of the symbolic link behind an O_PATH descriptor.
static inline ssize_t clinux_read_link(int fd, void *target, size_t size) { return readlinkat(fd, "", (char *)target, size); }

static inline ssize_t clinux_getdents(int fd, void *buffer, size_t count) { return syscall(SYS_getdents64, fd, buffer, count); }

// The C library changes the identity of every thread; a file server changes that of one.
static inline long clinux_thread_set_user(uint32_t user) { return syscall(SYS_setresuid, -1, (uid_t)user, -1); }
static inline long clinux_thread_set_group(uint32_t group) { return syscall(SYS_setresgid, -1, (gid_t)group, -1); }
// Working directory and umask of its own for the calling thread.
static inline int clinux_thread_own_directory(int directory) {
    if (unshare(CLONE_FS) != 0 || fchdir(directory) != 0) return -1;
    umask(0);
    return 0;
}

static inline long clinux_thread_drop_groups(void) { return syscall(SYS_setgroups, 0, 0); }

struct clinux_capabilities {
    uint64_t effective, permitted, inheritable;
};

static inline long clinux_capabilities_get(struct clinux_capabilities *result) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) != 0) return -1;
    result->effective = data[0].effective | (uint64_t)data[1].effective << 32;
    result->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    result->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    return 0;
}

static inline long clinux_capabilities_set(struct clinux_capabilities wanted) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)wanted.effective, (uint32_t)wanted.permitted, (uint32_t)wanted.inheritable},
        {(uint32_t)(wanted.effective >> 32), (uint32_t)(wanted.permitted >> 32), (uint32_t)(wanted.inheritable >> 32)},
    };
    return syscall(SYS_capset, &header, data);
}
