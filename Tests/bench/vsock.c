// The guest's end of a vsock measurement: dials the host and does what `mode` bytes ask.
// usage: vsock PORT. For each: connect, send one byte naming the work, do it, close.
//   r  answers 1,000 single bytes     o  sends 32 MiB     i  takes 32 MiB and answers one byte
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOTAL (32 << 20)
#define BLOCK (64 << 10)
static char block[BLOCK];

static int dial(unsigned port) {
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port};
    int s = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof(address)) != 0) {
        perror("vsock");
        if (getpid() == 1) reboot(RB_AUTOBOOT);
        exit(1);
    }
    return s;
}

static void work(unsigned port, char mode) {
    int s = dial(port);
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

int main(int argc, char **argv) {
    unsigned port = argc > 1 && atoi(argv[1]) > 0 ? (unsigned)atoi(argv[1]) : 5000;
    for (const char *mode = "roi"; *mode; mode++) work(port, *mode);
    if (getpid() == 1 && argc < 2) reboot(RB_AUTOBOOT);
    return 0;
}
