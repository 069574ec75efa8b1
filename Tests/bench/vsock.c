// The guest's end of a vsock measurement: dials the host and does what `mode` bytes ask.
// usage: vsock PORT. A connection for each work of talk.h.
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

#include "talk.h"

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

int main(int argc, char **argv) {
    unsigned port = argc > 1 && atoi(argv[1]) > 0 ? (unsigned)atoi(argv[1]) : 5000;
    for (const char *mode = "roi"; *mode; mode++) talk(dial(port), *mode);
    if (getpid() == 1 && argc < 2) reboot(RB_AUTOBOOT);
    return 0;
}
