// swift-tools-version: 6.2
import PackageDescription

/// Modules a guest's bytes pass through: unsafe constructs do not compile in them unless they are
/// spelled `unsafe`, and only Linux, KVM and GuestMemory may spell it (Tests/SourceRules checks).
let strict: [SwiftSetting] = [
    .strictMemorySafety(),
    .treatWarning("StrictMemorySafety", as: .error),
]

let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")

let package = Package(
    name: "microvm",
    products: [
        .executable(name: "microvm", targets: ["microvm"]),
        .executable(name: "microvm-vmm", targets: ["microvm-vmm"]),
        .executable(name: "microvm-agent", targets: ["microvm-agent"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        // Without its default traits SwiftProtobuf needs FoundationEssentials only.
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
    ],
    targets: [
        // The kernel's interface.
        .target(name: "CLinux"),
        .target(name: "Linux", dependencies: ["CLinux", system], swiftSettings: strict),

        // The machine: arrows point down only.
        .target(name: "KVM", dependencies: ["CLinux", "Linux"], swiftSettings: strict),
        .target(name: "GuestMemory", dependencies: ["CLinux", "Linux"], swiftSettings: strict),
        .target(name: "FUSE", dependencies: ["GuestMemory", "Linux"], swiftSettings: strict),
        .target(name: "Virtio", dependencies: ["FUSE", "GuestMemory", "Linux"], swiftSettings: strict),
        .target(name: "Machine", dependencies: ["CLinux", "KVM", "Virtio", "FUSE", "GuestMemory", "Linux"], swiftSettings: strict),
        .executableTarget(name: "microvm-vmm", dependencies: ["Machine", "FUSE", "GuestMemory", "KVM", "Virtio", "Linux"], swiftSettings: strict),

        // What host and guest say to each other.
        .target(name: "OCI", dependencies: ["Linux"], swiftSettings: strict),
        .target(name: "TTRPC", dependencies: ["Linux", protobuf], exclude: ["ttrpc.proto"]),
        .target(name: "AgentAPI", dependencies: ["TTRPC", protobuf], exclude: ["agent.proto"]),

        // The host side.
        .target(name: "Sandbox", dependencies: ["OCI", "AgentAPI", "TTRPC", "KVM", "Linux", logging, protobuf]),
        .executableTarget(name: "microvm", dependencies: ["Sandbox", "AgentAPI", "TTRPC", "OCI", "KVM", "Linux", arguments, logging]),

        // The guest side.
        .systemLibrary(name: "CSeccomp", path: "guest/CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),
        .systemLibrary(name: "CCapability", path: "guest/CCapability", pkgConfig: "libcap", providers: [.apt(["libcap-dev"])]),
        .target(
            name: "Agent", dependencies: ["OCI", "AgentAPI", "TTRPC", "Linux", "CLinux", "CSeccomp", "CCapability"], path: "guest/Agent"),
        .executableTarget(
            name: "microvm-agent", dependencies: ["Agent"], path: "guest/microvm-agent", exclude: ["huge-pages.ld"],
            // Only lld reads such a script whole; its layout is that of a static program, which only a release is.
            linkerSettings: [
                .unsafeFlags(
                    [
                        "-static-executable", "-use-ld=lld", "-Xlinker", "-z", "-Xlinker", "max-page-size=0x200000",
                        "-Xlinker", "-T\(Context.packageDirectory)/guest/microvm-agent/huge-pages.ld",
                    ], .when(configuration: .release))
            ]),

        .testTarget(name: "LinuxTests", dependencies: ["Linux", "CLinux"]),
        .testTarget(name: "KVMTests", dependencies: ["KVM", "CLinux", "Linux"]),
        .testTarget(name: "GuestMemoryTests", dependencies: ["GuestMemory", "Linux"]),
        .target(name: "FakeDriver", dependencies: ["Virtio", "GuestMemory", "Linux"], path: "Tests/FakeDriver"),
        .testTarget(name: "FUSETests", dependencies: ["FUSE", "GuestMemory", "Linux", "CLinux"]),
        .testTarget(name: "VirtioTests", dependencies: ["FUSE", "Virtio", "FakeDriver", "GuestMemory", "Linux"]),
        .testTarget(name: "MachineTests", dependencies: ["Machine", "microvm-vmm", "CLinux", "KVM", "Virtio", "GuestMemory", "Linux"]),
        .testTarget(name: "OCITests", dependencies: ["OCI", "Linux"]),
        .testTarget(name: "TTRPCTests", dependencies: ["TTRPC", "Linux"]),
        .testTarget(name: "SandboxTests", dependencies: ["Sandbox", "OCI", "AgentAPI", "Linux"]),
        .executableTarget(name: "fake-vmm", dependencies: ["AgentAPI", "TTRPC", "OCI", "Linux"], path: "Tests/FakeVMM"),
        .testTarget(name: "AgentTests", dependencies: ["Agent", "AgentAPI", "OCI", "TTRPC", "Linux", "CLinux"]),
        .testTarget(name: "CommandTests", dependencies: ["microvm", "fake-vmm", "OCI", "Linux"]),
    ]
)
