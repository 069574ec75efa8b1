// Vector registers of processes that take turns on a CPU must not mix: three processes keep values in all sixteen
// YMM registers (or XMM, without AVX) and yield, thousands of times. Exits 0 if every value stayed, 1 if one changed.
// Build with -static -O2; it needs no -mavx, so that it also runs where there is none.
#define _GNU_SOURCE
#include <immintrin.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { processes = 3, registers = 16, width = 32 };

// Loads the registers, yields without leaving them to the compiler, and stores them again: the system call is
// made here because a C library's wrapper may use vector registers itself.
__attribute__((target("avx"))) static void yield_with_ymm(const uint8_t *in, uint8_t *out) {
    long result;
    __asm__ volatile(
        "vmovups 0(%[in]), %%ymm0; vmovups 32(%[in]), %%ymm1; vmovups 64(%[in]), %%ymm2; vmovups 96(%[in]), %%ymm3;"
        "vmovups 128(%[in]), %%ymm4; vmovups 160(%[in]), %%ymm5; vmovups 192(%[in]), %%ymm6; vmovups 224(%[in]), %%ymm7;"
        "vmovups 256(%[in]), %%ymm8; vmovups 288(%[in]), %%ymm9; vmovups 320(%[in]), %%ymm10; vmovups 352(%[in]), %%ymm11;"
        "vmovups 384(%[in]), %%ymm12; vmovups 416(%[in]), %%ymm13; vmovups 448(%[in]), %%ymm14; vmovups 480(%[in]), %%ymm15;"
        "syscall;"
        "vmovups %%ymm0, 0(%[out]); vmovups %%ymm1, 32(%[out]); vmovups %%ymm2, 64(%[out]); vmovups %%ymm3, 96(%[out]);"
        "vmovups %%ymm4, 128(%[out]); vmovups %%ymm5, 160(%[out]); vmovups %%ymm6, 192(%[out]); vmovups %%ymm7, 224(%[out]);"
        "vmovups %%ymm8, 256(%[out]); vmovups %%ymm9, 288(%[out]); vmovups %%ymm10, 320(%[out]); vmovups %%ymm11, 352(%[out]);"
        "vmovups %%ymm12, 384(%[out]); vmovups %%ymm13, 416(%[out]); vmovups %%ymm14, 448(%[out]); vmovups %%ymm15, 480(%[out]);"
        : "=a"(result)
        : "a"(24L /* sched_yield */), [in] "r"(in), [out] "r"(out)
        : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

static void yield_with_xmm(const uint8_t *in, uint8_t *out) {
    long result;
    __asm__ volatile(
        "movups 0(%[in]), %%xmm0; movups 16(%[in]), %%xmm1; movups 32(%[in]), %%xmm2; movups 48(%[in]), %%xmm3;"
        "movups 64(%[in]), %%xmm4; movups 80(%[in]), %%xmm5; movups 96(%[in]), %%xmm6; movups 112(%[in]), %%xmm7;"
        "syscall;"
        "movups %%xmm0, 0(%[out]); movups %%xmm1, 16(%[out]); movups %%xmm2, 32(%[out]); movups %%xmm3, 48(%[out]);"
        "movups %%xmm4, 64(%[out]); movups %%xmm5, 80(%[out]); movups %%xmm6, 96(%[out]); movups %%xmm7, 112(%[out]);"
        : "=a"(result)
        : "a"(24L), [in] "r"(in), [out] "r"(out)
        : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
}

static int run(int number, int rounds) {
    const int has_avx = __builtin_cpu_supports("avx");
    const int bytes = has_avx ? registers * width : 128;
    uint8_t in[registers * width], out[registers * width];
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < bytes; i++) in[i] = (uint8_t)(number * 83 + round * 7 + i);
        if (has_avx) yield_with_ymm(in, out); else yield_with_xmm(in, out);
        for (int i = 0; i < bytes; i++)
            if (in[i] != out[i]) {
                printf("process %d, round %d: byte %d of the vector registers is %d, not %d\n", number, round, i, out[i], in[i]);
                return 1;
            }
    }
    return 0;
}

int main(int count, char **arguments) {
    const int rounds = count > 1 ? atoi(arguments[1]) : 2000;
    int failed = 0, status;
    // On one CPU they must take turns.
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof(first), &first);
    for (int number = 0; number < processes; number++) {
        pid_t child = fork();
        if (child < 0) return perror("fork"), 1;
        if (child == 0) exit(run(number, rounds));
    }
    while (wait(&status) > 0) failed |= status != 0;
    if (!failed) printf("%d processes, %d rounds, %s: kept\n", processes, rounds, __builtin_cpu_supports("avx") ? "avx" : "sse");
    return failed;
}
