/// What a request asks for (linux/fuse.h, enum fuse_opcode).
public enum Opcode: UInt32, CaseIterable, Sendable {
    case lookup = 1
    case forget = 2
    case getAttributes = 3
    case setAttributes = 4
    case readLink = 5
    case symbolicLink = 6
    case makeNode = 8
    case makeDirectory = 9
    case unlink = 10
    case removeDirectory = 11
    case rename = 12
    case link = 13
    case open = 14
    case read = 15
    case write = 16
    case fileSystemStatistics = 17
    case release = 18
    case synchronize = 20
    case setExtendedAttribute = 21
    case getExtendedAttribute = 22
    case listExtendedAttributes = 23
    case removeExtendedAttribute = 24
    case flush = 25
    case initialize = 26
    case openDirectory = 27
    case readDirectory = 28
    case releaseDirectory = 29
    case synchronizeDirectory = 30
    case getLock = 31
    case setLock = 32
    case setLockWaiting = 33
    case access = 34
    case create = 35
    case interrupt = 36
    case destroy = 38
    case batchForget = 42
    case allocate = 43
    case readDirectoryPlus = 44
    case rename2 = 45
    case seek = 46
    case copyFileRange = 47
    case setUpMapping = 48
    case removeMapping = 49
    case synchronizeFileSystem = 50
    case temporaryFile = 51
    case statx = 52

    /// Bytes its answer's body always has: checked before anything is done, so that nothing is done that the
    /// guest never hears of.
    var answerSize: Int {
        switch self {
        case .lookup, .makeNode, .makeDirectory, .symbolicLink, .link: Reply.entrySize
        case .create, .temporaryFile: Reply.entrySize + 16
        case .open, .openDirectory: 16
        case .getAttributes, .setAttributes: 104
        case .statx: 288
        case .fileSystemStatistics: 80
        case .initialize: 64
        case .write, .copyFileRange, .seek: 8
        default: 0
        }
    }

    /// Whether it may take long, waiting for a disk: such a request must not hold up others.
    public var mayBlock: Bool {
        switch self {
        case .synchronize, .synchronizeDirectory, .synchronizeFileSystem, .allocate, .copyFileRange: true
        default: false
        }
    }
}
