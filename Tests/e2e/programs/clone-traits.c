// Prints what machines must not share, a line each: boot id, a UUID and random bytes of the kernel's, host name, where the
// program, its stack, its heap and the vDSO are. Then the time of day, and what TCP starts connections with: two initial sequence
// numbers and a time stamp, less the clocks that are part of them. What is left of these comes from the kernel's secrets alone, and
// with one secret it is the same but for some milliseconds of clock.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static void check(int result, const char *what) {
    if (result >= 0) return;
    perror(what);
    exit(1);
}

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    check(clock_gettime(clock, &now), "clock_gettime");
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static struct sockaddr_in loopback(uint16_t port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int stream(uint16_t port) {
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    check(fd, "socket");
    check(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), "SO_REUSEADDR");
    check(bind(fd, (struct sockaddr *)&address, sizeof address), "bind");
    return fd;
}

static void print_file(const char *path) {
    char text[64];
    int fd = open(path, O_RDONLY);
    check(fd, path);
    ssize_t count = read(fd, text, sizeof text);
    check(count, path);
    fwrite(text, 1, count, stdout);
    close(fd);
}

static void print_traits(void) {
    print_file("/proc/sys/kernel/random/boot_id");
    print_file("/proc/sys/kernel/random/uuid");
    uint64_t random;
    check(getrandom(&random, sizeof random, 0), "getrandom");
    printf("random %016lx\n", random);
    char name[65] = "";
    check(gethostname(name, 64), "gethostname");
    printf("%s\nprogram %p\nstack %p\nheap %p\nvdso %lx\n%ld\n", name, (void *)print_traits, (void *)name, sbrk(0), getauxval(AT_SYSINFO_EHDR), time(NULL));
}

static void bring_loopback_up(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    check(fd, "socket");
    check(ioctl(fd, SIOCSIFFLAGS, &request), "lo up");
    close(fd);
}

int main(void) {
    print_traits();
    bring_loopback_up();
    int sniffer = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
    check(sniffer, "packet socket");
    struct sockaddr_ll lo = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = if_nametoindex("lo")};
    check(bind(sniffer, (struct sockaddr *)&lo, sizeof lo), "bind to lo");
    struct timeval patience = {.tv_sec = 10};
    check(setsockopt(sniffer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), "SO_RCVTIMEO");

    int server = stream(7000);
    check(listen(server, 8), "listen");
    for (uint16_t port = 7001; port <= 7002; port++) {
        struct sockaddr_in target = loopback(7000);
        int client = stream(port);
        uint64_t wall = nanoseconds(CLOCK_REALTIME), up = nanoseconds(CLOCK_MONOTONIC);
        check(connect(client, (struct sockaddr *)&target, sizeof target), "connect");
        for (;;) {
            uint8_t packet[256];
            ssize_t count = recv(sniffer, packet, sizeof packet, 0);
            check(count, "no SYN was seen");
            uint8_t *tcp = packet + (packet[0] & 15) * 4;
            // SYN without ACK, from our port.
            if (count < tcp - packet + 20 || (tcp[13] & 0x12) != 0x02 || (tcp[0] << 8 | tcp[1]) != port) continue;
            uint32_t number, stamp = 0;
            memcpy(&number, tcp + 4, 4);
            for (uint8_t *option = tcp + 20; option < tcp + (tcp[12] >> 4) * 4 && *option;) {
                if (*option == 8) memcpy(&stamp, option + 2, 4);
                option += *option == 1 ? 1 : option[1] ? option[1] : 1;
            }
            printf("%u ", ntohl(number) - (uint32_t)(wall >> 6));
            if (port == 7002) printf("%u\n", ntohl(stamp) - (uint32_t)(up / 1000000));
            break;
        }
    }
    return 0;
}
