// A slow disk: shows FILE at PLACE, another file, and takes its time over each read. A loop device over PLACE is a disk of a
// cloud: so many requests a second, so many bytes a second, and so long until an answer. Writes are quick. Ends when PLACE is
// unmounted; what is killed leaves reads of it fail.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 32, LARGEST = 1 << 20, SECOND = 1000000000 };

static int channel, file;
static long latency, interval, bytes_per_second;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long idle_at;

// As a disk's front end does it: requests pass one after the other, and each then takes its latency.
static void take_time(long count) {
    struct timespec clock;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    long now = clock.tv_sec * SECOND + clock.tv_nsec, transfer = count * SECOND / bytes_per_second;
    pthread_mutex_lock(&lock);
    long begin = idle_at > now ? idle_at : now;
    idle_at = begin + (transfer > interval ? transfer : interval);
    long end = begin + transfer + latency;
    pthread_mutex_unlock(&lock);
    clock.tv_sec = end / SECOND, clock.tv_nsec = end % SECOND;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &clock, NULL) == EINTR) {}
}

static void answer(const struct fuse_in_header *request, int error, const void *data, size_t count) {
    struct fuse_out_header header = {.len = sizeof header + (error ? 0 : count), .error = -error, .unique = request->unique};
    struct iovec parts[2] = {{&header, sizeof header}, {(void *)data, error ? 0 : count}};
    if (writev(channel, parts, 2) < 0 && errno != ENOENT && errno != ENODEV) perror("slow-disk: answer");
}

static int attributes(struct fuse_attr *attributes) {
    struct stat status;
    if (fstat(file, &status)) return errno;
    *attributes = (struct fuse_attr){.ino = FUSE_ROOT_ID, .size = status.st_size, .blocks = status.st_blocks, .mode = S_IFREG | 0600, .nlink = 1, .blksize = 4096};
    return 0;
}

static void serve(const struct fuse_in_header *request, const void *body, char *buffer) {
    switch (request->opcode) {
    case FUSE_INIT: {
        const struct fuse_init_in *theirs = body;
        struct fuse_init_out ours = {
            .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_readahead = LARGEST, .max_write = LARGEST, .max_background = 128,
            .congestion_threshold = 128, .max_pages = LARGEST / 4096, .time_gran = 1,
            .flags = theirs->flags & (FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_BIG_WRITES | FUSE_MAX_PAGES)};
        return answer(request, 0, &ours, sizeof ours);
    }
    case FUSE_GETATTR:
    case FUSE_SETATTR: {
        struct fuse_attr_out out = {.attr_valid = 3600};
        int error = attributes(&out.attr);
        return answer(request, error, &out, sizeof out);
    }
    case FUSE_OPEN: return answer(request, 0, &(struct fuse_open_out){.open_flags = FOPEN_DIRECT_IO}, sizeof(struct fuse_open_out));
    case FUSE_READ: {
        const struct fuse_read_in *read = body;
        ssize_t got = pread(file, buffer, read->size < LARGEST ? read->size : LARGEST, read->offset);
        take_time(got);
        return answer(request, got < 0 ? errno : 0, buffer, got);
    }
    case FUSE_WRITE: {
        const struct fuse_write_in *write = body;
        ssize_t done = pwrite(file, write + 1, write->size, write->offset);
        return answer(request, done < 0 ? errno : 0, &(struct fuse_write_out){.size = done}, sizeof(struct fuse_write_out));
    }
    case FUSE_STATFS: return answer(request, 0, &(struct fuse_statfs_out){.st = {.bsize = 4096, .namelen = 255}}, sizeof(struct fuse_statfs_out));
    case FUSE_FLUSH:
    case FUSE_FSYNC:
    case FUSE_RELEASE: return answer(request, 0, NULL, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT: return;
    default: return answer(request, ENOSYS, NULL, 0);
    }
}

static void *serve_all(void *unused) {
    char *request = malloc(LARGEST + 4096), *buffer = malloc(LARGEST);
    for (;;) {
        ssize_t count = read(channel, request, LARGEST + 4096);
        if (count < 0 && errno == ENODEV) exit(0);
        if (count >= (ssize_t)sizeof(struct fuse_in_header)) serve((void *)request, request + sizeof(struct fuse_in_header), buffer);
    }
    return unused;
}

int main(int count, char **arguments) {
    if (count != 6) return fprintf(stderr, "usage: slow-disk FILE PLACE MICROSECONDS REQUESTS-PER-SECOND MB-PER-SECOND\n"), 2;
    latency = atol(arguments[3]) * 1000;
    interval = SECOND / atol(arguments[4]);
    bytes_per_second = atol(arguments[5]) * 1000000;
    if ((file = open(arguments[1], O_RDWR)) < 0) return perror(arguments[1]), 1;
    if ((channel = open("/dev/fuse", O_RDWR)) < 0) return perror("/dev/fuse"), 1;
    char options[80];
    snprintf(options, sizeof options, "fd=%d,rootmode=100000,user_id=0,group_id=0", channel);
    if (mount("slow-disk", arguments[2], "fuse.slow-disk", MS_NODEV | MS_NOSUID, options)) return perror(arguments[2]), 1;
    for (int index = 1; index < THREADS; index++) pthread_create(&(pthread_t){0}, NULL, serve_all, NULL);
    serve_all(NULL);
}
