// The guest's end of a TCP measurement: connects to the host and does what `mode` bytes ask.
// usage: tcp HOST PORT. As a machine's first program, by tcp=HOST,PORT,ADDRESS,PREFIX-LENGTH of the kernel's command line; eth0 gets the address first.
// A connection for each work of talk.h.
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

#include "talk.h"

// Not the process id: a container's first process has 1 too.
static int is_init;

static void give_up(const char *what) {
    perror(what);
    if (is_init) reboot(RB_AUTOBOOT);
    exit(1);
}

static void set_address(const char *address, int length) {
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = {.ifr_name = "eth0"};
    struct sockaddr_in *place = (struct sockaddr_in *)&request.ifr_addr;
    place->sin_family = AF_INET;
    inet_pton(AF_INET, address, &place->sin_addr);
    if (ioctl(s, SIOCSIFADDR, &request) != 0) give_up("eth0 address");
    place->sin_addr.s_addr = htonl(~0u << (32 - length));
    if (ioctl(s, SIOCSIFNETMASK, &request) != 0) give_up("eth0 mask");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(s, SIOCSIFFLAGS, &request) != 0) give_up("eth0 up");
    close(s);
}

static void work(const char *host, int port, char mode) {
    int s = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &address.sin_addr);
    if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof(address)) != 0) give_up("connect");
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    talk(s, mode);
}

int main(int argc, char **argv) {
    char host[16], address[16];
    int port, length;
    is_init = argc < 3;
    if (is_init) {
        const char *words = getenv("tcp");
        if (!words || sscanf(words, "%15[^,],%d,%15[^,],%d", host, &port, address, &length) != 4) give_up("tcp=");
        set_address(address, length);
    } else if (sscanf(argv[1], "%15s", host) != 1 || (port = atoi(argv[2])) <= 0) {
        return 2;
    }
    for (const char *mode = "roi"; *mode; mode++) work(host, port, *mode);
    if (is_init) reboot(RB_AUTOBOOT);
    return 0;
}
