// Reads a mapped file here and there, and looks at what a kernel may have mapped around: contents, the file's end, other mappings, what is
// written meanwhile and what is cut off. usage: mapped-around FILE; exits 0 if all is right. Build with -static -O2.
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 40, REST = 100 };

static sigjmp_buf over;
static void beyond(int signal) { siglongjmp(over, signal); }

static int fail(const char *what) { return fprintf(stderr, "%s\n", what), 1; }

// Whether a page there ends the access with SIGBUS.
static int is_beyond(volatile char *at) {
    if (sigsetjmp(over, 1)) return 1;
    (void)*at;
    return 0;
}

int main(int argc, char **argv) {
    char page[PAGE];
    if (argc != 2) return 2;
    signal(SIGBUS, beyond);
    int file = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (file < 0) return fail(argv[1]);
    for (int i = 0; i < PAGES; i++) {
        memset(page, 1 + i, PAGE);
        if (pwrite(file, page, i < PAGES - 1 ? PAGE : REST, (off_t)i * PAGE) < 0) return fail("write");
    }

    // At another place of its page table than in the file, and longer than that.
    char *all = mmap(NULL, (PAGES + 8) * PAGE, PROT_READ, MAP_SHARED, file, 0);
    char *some = mmap(NULL, 24 * PAGE, PROT_READ, MAP_PRIVATE, file, 3 * PAGE);
    char *own = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    char *shared = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (all == MAP_FAILED || some == MAP_FAILED || own == MAP_FAILED || shared == MAP_FAILED) return fail("mmap");

    for (int n = 0, i = 5; n < PAGES; n++, i = (i + 17) % PAGES) {
        if (all[i * PAGE] != 1 + i || shared[i * PAGE + 1] != 1 + i) return fail("another page's bytes");
        if (i < 24 && some[i * PAGE + PAGE - 1] != 4 + i) return fail("another page's bytes, from the fourth on");
    }
    if (all[(PAGES - 1) * PAGE + REST] != 0) return fail("bytes behind the end");
    if (!is_beyond(all + PAGES * PAGE)) return fail("a page behind the end");

    // A private page is one's own, with those around it still the file's.
    if (own[10 * PAGE] != 11) return fail("a private page");
    own[11 * PAGE] = 99;
    if (all[11 * PAGE] != 12 || own[11 * PAGE] != 99 || own[12 * PAGE] != 13) return fail("a private page that was written");
    shared[12 * PAGE] = 98;
    if (all[12 * PAGE] != 98 || own[12 * PAGE] != 98) return fail("a shared page that was written");
    if (pread(file, page, 1, 12 * PAGE) != 1 || page[0] != 98) return fail("a shared page in the file");

    if (ftruncate(file, 20 * PAGE)) return fail("truncate");
    if (is_beyond(all + 19 * PAGE) || !is_beyond(all + 20 * PAGE) || !is_beyond(some + 18 * PAGE)) return fail("pages that were cut off");
    if (ftruncate(file, PAGES * PAGE)) return fail("truncate");
    if (all[20 * PAGE] != 0 || all[21 * PAGE] != 0) return fail("bytes that were cut off");
    return 0;
}
