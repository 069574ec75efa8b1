// File operations in a guest, timed: the same program as a container's command and as init of a peer's guest.
// usage: files DIRECTORY [FILES]; prepared by the host: DIRECTORY/many/0…FILES-1 and DIRECTORY/large (64 MiB).
// Writes "NAME VALUE" lines to DIRECTORY/results.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LARGE (64 << 20)
#define BLOCK (1 << 20)

static FILE *results;
static char path[256];
static char *block;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what) {
    perror(what);
    if (results) fprintf(results, "failed %s\n", what);
    if (results) fclose(results);
    if (getpid() == 1) reboot(RB_AUTOBOOT);
    exit(1);
}

static const char *name(const char *directory, const char *kind, int number) {
    snprintf(path, sizeof(path), "%s/%s/%d", directory, kind, number);
    return path;
}

static void stat_all(const char *directory, int count, const char *what) {
    struct stat status;
    double start = now();
    for (int i = 0; i < count; i++)
        if (stat(name(directory, "many", i), &status) != 0) fail("stat");
    fprintf(results, "%s_us %.3f\n", what, (now() - start) / count * 1e6);
}

static void open_all(const char *directory, int count, const char *what) {
    double start = now();
    for (int i = 0; i < count; i++) {
        int file = open(name(directory, "many", i), O_RDONLY);
        if (file < 0 || read(file, block, 4096) < 0 || close(file) != 0) fail("open, read, close");
    }
    fprintf(results, "%s_us %.3f\n", what, (now() - start) / count * 1e6);
}

static void create_all(const char *directory, int count) {
    snprintf(path, sizeof(path), "%s/made", directory);
    mkdir(path, 0755);
    double start = now();
    for (int i = 0; i < count; i++) {
        int file = open(name(directory, "made", i), O_CREAT | O_EXCL | O_WRONLY, 0644);
        if (file < 0 || close(file) != 0) fail("create");
    }
    fprintf(results, "create_us %.3f\n", (now() - start) / count * 1e6);
}

static void list_all(const char *directory) {
    snprintf(path, sizeof(path), "%s/many", directory);
    double start = now();
    DIR *stream = opendir(path);
    if (!stream) fail("opendir");
    while (readdir(stream)) {}
    closedir(stream);
    fprintf(results, "readdir_ms %.3f\n", (now() - start) * 1e3);
}

static void read_large(const char *directory, const char *what) {
    snprintf(path, sizeof(path), "%s/large", directory);
    double start = now();
    int file = open(path, O_RDONLY);
    if (file < 0) fail("open large");
    for (ssize_t total = 0, got; total < LARGE; total += got)
        if ((got = read(file, block, BLOCK)) <= 0) fail("read large");
    close(file);
    fprintf(results, "%s_ms %.3f\n", what, (now() - start) * 1e3);
}

static void write_large(const char *directory) {
    snprintf(path, sizeof(path), "%s/written", directory);
    double start = now();
    int file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (file < 0) fail("create large");
    for (ssize_t total = 0, put; total < LARGE; total += put)
        if ((put = write(file, block, BLOCK)) <= 0) fail("write large");
    close(file);
    fprintf(results, "write_64MiB_ms %.3f\n", (now() - start) * 1e3);
}

int main(int argc, char **argv) {
    const char *directory = argc > 1 && argv[1][0] == '/' ? argv[1] : "/mnt";
    int count = argc > 2 ? atoi(argv[2]) : 5000;
    if (getpid() == 1 && argc < 2) mount("fs", "/mnt", "virtiofs", 0, NULL);
    block = malloc(BLOCK);
    memset(block, 'x', BLOCK);
    snprintf(path, sizeof(path), "%s/results", directory);
    results = fopen(path, "w");
    if (!results) fail("results");

    stat_all(directory, count, "stat_cold");
    stat_all(directory, count, "stat_again");
    open_all(directory, count / 10, "open_read_close");
    list_all(directory);
    create_all(directory, 300);
    read_large(directory, "read_64MiB_cold");
    read_large(directory, "read_64MiB_again");
    write_large(directory);
    fprintf(results, "done 1\n");
    fclose(results);
    sync();
    if (getpid() == 1 && argc < 2) reboot(RB_AUTOBOOT);
    return 0;
}
