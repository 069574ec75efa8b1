extension Spec {
    /// The caller's supplementary groups as the container has them; nil: it has those of ``Process/user``.
    ///
    /// By crun's annotation, which `podman run --group-add keep-groups` sets. A group that no mapping of the container's names is left out.
    public func originalGroups(_ callers: @autoclosure () throws -> [UInt32]) rethrows -> [UInt32]? {
        guard annotations["run.oci.keep_original_groups"] == "1" else { return nil }
        let groups = try callers()
        guard let mappings = linux?.gidMappings, !mappings.isEmpty else { return groups }
        return groups.compactMap { group in
            mappings.first { $0.hostID <= group && group - $0.hostID < $0.size }.flatMap { UInt32(exactly: UInt64($0.containerID) + UInt64(group - $0.hostID)) }
        }
    }
}
