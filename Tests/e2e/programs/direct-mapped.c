// Writes a mapped file to another with O_DIRECT, reads that back into another mapping of a file, and compares.
// usage: direct-mapped SOURCE COPY; exits 0 if all is the same. Build with -static -O2.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *what) { return perror(what), 1; }

int main(int argc, char **argv) {
    struct stat status;
    if (argc != 3) return 2;
    int source = open(argv[1], O_RDONLY);
    if (source < 0 || fstat(source, &status) != 0) return fail(argv[1]);
    size_t size = status.st_size;
    char *mapped = mmap(NULL, size, PROT_READ, MAP_SHARED, source, 0);
    if (mapped == MAP_FAILED) return fail("mmap");

    int copy = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0644);
    if (copy < 0) return fail(argv[2]);
    for (size_t done = 0; done < size;) {
        ssize_t put = write(copy, mapped + done, size - done);
        if (put <= 0) return fail("write");
        done += put;
    }

    int back = open("/back", O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (back < 0 || ftruncate(back, size) != 0) return fail("/back");
    char *into = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, back, 0);
    if (into == MAP_FAILED) return fail("mmap");
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(copy, into + done, size - done, done);
        if (got <= 0) return fail("read");
        done += got;
    }
    return memcmp(mapped, into, size) != 0;
}
