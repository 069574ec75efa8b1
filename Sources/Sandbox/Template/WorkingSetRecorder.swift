import Linux

/// Has a template's first machine tell its ``WorkingSet``, and writes it down: two questions to its VMM, whose answers nothing
/// waits for but the machine's end.
final class WorkingSetRecorder {
    /// Nil: it has been told.
    private var template: Descriptor?
    private let vmm: VMMProcess
    private var written = ""
    /// Whether the last answer is still to come.
    private(set) var isWaiting = false

    /// - Parameter vmm: one that watches its machine's memory.
    init(_ template: Descriptor, _ vmm: VMMProcess) {
        self.template = template
        self.vmm = vmm
    }

    /// The agent has answered: what was written to by now is what each of the template's machines writes.
    func agentAnswered() {
        vmm.request("written") { [weak self] in self?.written = (try? $0.get()) ?? "" }
    }

    /// The container has, or is at its end: what was touched by now is all there is to know. Later calls do nothing.
    func containerAnswered() {
        guard let template else { return }
        self.template = nil
        isWaiting = true
        vmm.request("touched") { [weak self] answer in
            guard let self else { return }
            if let touched = try? answer.get() { try? WorkingSet.record(touched: touched, written: written, for: template) }
            isWaiting = false
        }
    }
}
