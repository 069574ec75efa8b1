import Glibc
import Linux

/// Network devices the host plugs in while the machine runs.
///
/// There is no bus that would tell: each has its place from the start, where the driver found nothing when the kernel booted.
/// It is asked to look again.
enum NetworkDevices {
    private static let bind = "/sys/bus/platform/drivers/virtio-mmio/bind"

    /// Does nothing for a device that the driver has already.
    static func find(place: UInt32) throws(SystemError) {
        do throws(SystemError) { _ = try Descriptor.open(bind, O_WRONLY).write(Array("virtio-mmio.\(place)".utf8)) } catch {
            // ENODEV: there is nothing, or it has its driver.
            guard error.errno.rawValue == ENODEV || error.errno == .resourceBusy else { throw error }
        }
    }
}
