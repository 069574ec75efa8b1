public import TTRPC

/// The service of `agent.proto`, for ``TTRPC/MethodTable/on(_:_:)`` and ``TTRPC/Client/call(_:_:deadline:_:)``.
public enum AgentMethods {
    private static let service = "microvm.agent.v1.Agent"

    public static let connect = Method<ConnectRequest, ConnectResponse>(service, "Connect")
    public static let createContainer = Method<CreateContainerRequest, ProcessResponse>(service, "CreateContainer")
    public static let prepareContainer = Method<CreateContainerRequest, Empty>(service, "PrepareContainer")
    public static let startContainer = Method<ContainerRequest, Empty>(service, "StartContainer")
    public static let deleteContainer = Method<ContainerRequest, Empty>(service, "DeleteContainer")
    public static let exec = Method<ExecRequest, ProcessResponse>(service, "Exec")
    public static let wait = Method<ProcessRequest, WaitResponse>(service, "Wait")
    public static let signal = Method<SignalRequest, Empty>(service, "Signal")
    public static let resizeConsole = Method<ResizeConsoleRequest, Empty>(service, "ResizeConsole")
    public static let listProcesses = Method<ContainerRequest, ListProcessesResponse>(service, "ListProcesses", responseLimit: 1 << 20)
    public static let stats = Method<ContainerRequest, StatsResponse>(service, "Stats", responseLimit: 256 << 10)
    public static let update = Method<UpdateRequest, Empty>(service, "Update")
    public static let pause = Method<ContainerRequest, Empty>(service, "Pause")
    public static let resume = Method<ContainerRequest, Empty>(service, "Resume")
    public static let waitOOM = Method<ContainerRequest, OOMResponse>(service, "WaitOOM")
    public static let holdStreams = Method<ContainerRequest, HoldStreamsResponse>(service, "HoldStreams")
    public static let releaseStreams = Method<ContainerRequest, Empty>(service, "ReleaseStreams")
    public static let attachStreams = Method<AttachStreamsRequest, Empty>(service, "AttachStreams")
    public static let renew = Method<RenewRequest, Empty>(service, "Renew")
    public static let configureNetwork = Method<ConfigureNetworkRequest, Empty>(service, "ConfigureNetwork")
    public static let powerOff = Method<Empty, Empty>(service, "PowerOff")
}

/// The service `Monitor` of `agent.proto`.
public enum MonitorMethods {
    private static let service = "microvm.agent.v1.Monitor"

    public static let snapshot = Method<SnapshotRequest, Empty>(service, "Snapshot")
    public static let join = Method<JoinRequest, Empty>(service, "Join")
    public static let leave = Method<Empty, Empty>(service, "Leave")
}
