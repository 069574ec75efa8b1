/// First in, first out, in one array that is kept for reuse.
struct FIFO<Element> {
    private var storage: [Element] = []
    private var head = 0

    var count: Int { storage.count - head }
    var isEmpty: Bool { head == storage.count }
    /// What is inside, oldest first.
    var contents: ArraySlice<Element> { storage[head...] }
    var first: Element? { isEmpty ? nil : storage[head] }

    mutating func append(_ element: Element) { storage.append(element) }

    mutating func append(contentsOf elements: some Collection<Element>) { storage.append(contentsOf: elements) }

    /// Makes room for exactly `count` more, so that appending them takes no memory beyond that.
    mutating func reserve(_ count: Int) {
        storage.removeFirst(head)
        head = 0
        storage.reserveCapacity(storage.count + count)
    }

    @discardableResult
    mutating func popFirst() -> Element? {
        guard let element = first else { return nil }
        removeFirst(1)
        return element
    }

    /// Drops the oldest `count`; all of them if there are fewer.
    mutating func removeFirst(_ count: Int) {
        head += min(max(count, 0), self.count)
        if head == storage.count {
            storage.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 64, head > storage.count / 2 {
            // Each element is moved once at most for every one dropped.
            storage.removeFirst(head)
            head = 0
        }
    }

    /// Empties it and gives its memory back.
    mutating func removeAll() { self = FIFO() }
}
