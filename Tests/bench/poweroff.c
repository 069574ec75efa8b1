// The shortest life of an init: switches the machine off. QEMU's microvm has no power switch, so it resets there.
#include <sys/reboot.h>

int main(void) {
    reboot(RB_POWER_OFF);
    reboot(RB_AUTOBOOT);
    return 0;
}
