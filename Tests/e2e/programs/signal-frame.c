// A signal frame, vector registers included, is written to the program's stack by the kernel, and must go where a write
// of the program itself would: not into a page another process shares until one writes, nor into the zero page.
// Exits 0 if so, 1 if not. Build with -static -O2.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { size = 64 << 10 };

static volatile sig_atomic_t handled;
static void handle(int signal) { handled = signal; }

// Takes a signal on `stack`.
static int take_signal(void *stack) {
    stack_t alternative = {.ss_sp = stack, .ss_size = size};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
    handled = 0;
    if (sigaltstack(&alternative, NULL) != 0 || sigaction(SIGUSR1, &action, NULL) != 0) return perror("sigaltstack"), 1;
    raise(SIGUSR1);
    return handled != SIGUSR1;
}

static int count_other(const unsigned char *memory, unsigned char wanted) {
    int other = 0;
    for (int i = 0; i < size; i++) other += memory[i] != wanted;
    return other;
}

static unsigned char *map(void) {
    unsigned char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) exit((perror("mmap"), 1));
    return memory;
}

int main(void) {
    int status = 0, failed = 0;

    // Pages never touched.
    failed |= take_signal(map());

    // Pages that were only read are all the zero page.
    unsigned char *read = map(), *witness = map();
    failed |= count_other(read, 0) != 0 || count_other(witness, 0) != 0;
    failed |= take_signal(read);
    if (count_other(witness, 0) != 0) failed = 1, puts("the zero page was written to");

    // Pages shared with a child until one of the two writes.
    unsigned char *shared = map();
    memset(shared, 0x5a, size);
    pid_t child = fork();
    if (child < 0) return perror("fork"), 1;
    if (child == 0) exit(take_signal(shared));
    waitpid(child, &status, 0);
    failed |= status != 0;
    if (count_other(shared, 0x5a) != 0) failed = 1, puts("the child's signal frame is in the parent's memory");

    // A stack that may only be read: the signal ends the process, not the machine.
    child = fork();
    if (child == 0) {
        mprotect(shared, size, PROT_READ);
        exit(take_signal(shared));
    }
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV) failed = 1, printf("read-only stack: status %x\n", status);

    if (!failed) puts("signal frames: where they belong");
    return failed;
}
