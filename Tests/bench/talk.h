// What a guest does with a connection to the host, whatever it goes over: it names the work by one byte and does it.
//   r  answers single bytes     o  sends 32 MiB     i  takes 32 MiB and answers one byte
#include <unistd.h>

#define TOTAL (32 << 20)
#define BLOCK (64 << 10)
static char block[BLOCK];

static void talk(int s, char mode) {
    ssize_t part;
    if (write(s, &mode, 1) != 1) return;
    switch (mode) {
    case 'r':
        while (read(s, block, 1) == 1 && write(s, block, 1) == 1) {}
        break;
    case 'o':
        for (ssize_t left = TOTAL; left > 0; left -= part)
            if ((part = write(s, block, left < BLOCK ? left : BLOCK)) <= 0) break;
        break;
    case 'i':
        for (ssize_t left = TOTAL; left > 0; left -= part)
            if ((part = read(s, block, BLOCK)) <= 0) break;
        if (write(s, block, 1) != 1) return;
        break;
    }
    // The host closes first, when it has everything.
    while (read(s, block, BLOCK) > 0) {}
    close(s);
}
