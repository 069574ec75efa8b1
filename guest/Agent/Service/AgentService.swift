import AgentAPI
import Linux
import TTRPC

/// The methods of `agent.proto`, each one line to what does it.
struct AgentService {
    let containers: Containers
    let machine: MachineService

    var methods: MethodTable {
        var table = MethodTable()
        table.answer(AgentMethods.connect, machine.connect)
        addLifecycle(&table)
        addProcesses(&table)
        addState(&table)
        table.answer(AgentMethods.renew) { try machine.renew($0); return Empty() }
        table.answer(AgentMethods.configureNetwork) { request in
            do { try machine.configure(request) } catch { throw Containers.status(error) }
            return Empty()
        }
        table.on(AgentMethods.powerOff) { _, reply in machine.powerOff { reply.succeed(Empty()) } }
        return table
    }

    private func addLifecycle(_ table: inout MethodTable) {
        table.on(AgentMethods.createContainer) { request, reply in
            containers.create(request) { reply.answer($0) { pid in .with { $0.pid = pid } } }
        }
        table.answer(AgentMethods.prepareContainer) { try containers.prepare($0); return Empty() }
        table.on(AgentMethods.startContainer) { request, reply in
            containers.start(request.containerID) { reply.answer($0) { Empty() } }
        }
        table.on(AgentMethods.deleteContainer) { request, reply in
            containers.delete(request.containerID) { reply.answer($0) { Empty() } }
        }
    }

    private func addProcesses(_ table: inout MethodTable) {
        table.on(AgentMethods.exec) { request, reply in
            containers.exec(request) { reply.answer($0) { pid in .with { $0.pid = pid } } }
        }
        table.on(AgentMethods.wait) { request, reply in
            containers.wait(request) { result in
                reply.answer(result) { end in
                    .with {
                        $0.exitStatus = end.status
                        $0.exitedAtNs = end.at
                        $0.oomKilled = end.memoryKilled
                        if let output = end.output {
                            $0.output.stdout = output.output
                            $0.output.stderr = output.errors
                        }
                    }
                }
            }
        }
        table.answer(AgentMethods.signal) { try containers.signal($0); return Empty() }
        table.answer(AgentMethods.resizeConsole) { try containers.resize($0); return Empty() }
        table.answer(AgentMethods.listProcesses) { request in
            let processes = try containers.processes(request.containerID)
            return .with {
                $0.processes = processes
                $0.memoryKibibytes = ProcessList.memory()
            }
        }
    }

    private func addState(_ table: inout MethodTable) {
        table.answer(AgentMethods.stats) { request in
            let values = try containers.statistics(request.containerID)
            return .with { $0.values = values }
        }
        table.answer(AgentMethods.update) { request in
            do { try containers.update(request) } catch { throw Containers.status(error) }
            return Empty()
        }
        table.on(AgentMethods.pause) { request, reply in
            containers.setFrozen(true, request.containerID) { reply.answer($0) { Empty() } }
        }
        table.on(AgentMethods.resume) { request, reply in
            containers.setFrozen(false, request.containerID) { reply.answer($0) { Empty() } }
        }
        table.answer(AgentMethods.holdStreams) { try containers.holdStreams($0.containerID) }
        table.answer(AgentMethods.releaseStreams) { try containers.releaseStreams($0.containerID); return Empty() }
        table.on(AgentMethods.attachStreams) { request, reply in
            containers.attachStreams(request) { reply.answer($0) { Empty() } }
        }
        table.on(AgentMethods.waitOOM) { request, reply in
            containers.waitMemoryKill(request.containerID) { reply.answer($0) { kills in .with { $0.kills = kills } } }
        }
    }
}

extension MethodTable.Reply {
    fileprivate func answer<Value>(_ result: Result<Value, Status>, _ response: (Value) -> Response) {
        switch result {
        case .success(let value): succeed(response(value))
        case .failure(let status): fail(status)
        }
    }
}
