#include "CLinux.h"

#include <malloc.h>

void clinux_keep_memory(void) {
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
}

void clinux_share_heap(void) {
    mallopt(M_ARENA_MAX, 1);
}
