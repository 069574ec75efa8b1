extension JSON {
    /// The text of `value`, its members in the order of the type's fields.
    ///
    /// - Throws: what the type's own `encode(to:)` throws; a number that is not finite.
    public static func encode(_ value: some Encodable, _ layout: Layout = .compact) throws -> String {
        write(try self.value(of: value), layout)
    }

    /// `value` as a JSON value.
    public static func value(of value: some Encodable) throws -> Value {
        let slot = Slot()
        try SlotEncoder(slot: slot, codingPath: []).encode(value)
        return slot.value
    }
}

/// Where one value is going to stand. A reference, because Swift's encoding containers are filled
/// after they were handed out.
private final class Slot {
    enum Held {
        case scalar(JSON.Content)
        case array([Slot])
        case object([(key: String, slot: Slot)])
    }

    var held = Held.scalar(.null)
    var sorted = false

    func element() -> Slot {
        let slot = Slot()
        if case .array(var slots) = held {
            held = .scalar(.null)
            slots.append(slot)
            held = .array(slots)
        } else {
            held = .array([slot])
        }
        return slot
    }

    func member(_ key: String) -> Slot {
        let slot = Slot()
        if case .object(var slots) = held {
            held = .scalar(.null)
            slots.append((key, slot))
            held = .object(slots)
        } else {
            held = .object([(key, slot)])
        }
        return slot
    }

    var value: JSON.Value {
        switch held {
        case .scalar(let content): return JSON.Value(content)
        case .array(let slots): return JSON.Value(.array(slots.map(\.value)))
        case .object(let slots):
            var object = JSON.Object()
            for (key, slot) in slots { _ = object.append(key, slot.value) }
            if sorted { object.sort() }
            return JSON.Value(.object(object))
        }
    }
}

private struct SlotEncoder: Encoder, SingleValueEncodingContainer {
    let slot: Slot
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        slot.held = .object([])
        // Only a dictionary has keys of any name. Its order differs from run to run; sorted, equal values have equal texts.
        // (A cast of the value to find out costs a look through all of the program's conformances for each type.)
        slot.sorted = Key(stringValue: "\0") != nil
        return KeyedEncodingContainer(ObjectEncoder(slot: slot, codingPath: codingPath))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        slot.held = .array([])
        return ArrayEncoder(slot: slot, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }

    private func number<T: Numeric & CustomStringConvertible>(_ value: T) { slot.held = .scalar(.number(value.description)) }

    func encodeNil() { slot.held = .scalar(.null) }
    func encode(_ value: Bool) { slot.held = .scalar(.bool(value)) }
    func encode(_ value: String) { slot.held = .scalar(.string(value)) }
    func encode(_ value: Double) throws {
        guard value.isFinite else {
            throw EncodingError.invalidValue(value, .init(codingPath: codingPath, debugDescription: "JSON has no \(value)"))
        }
        number(value)
    }
    func encode(_ value: Float) throws { try encode(Double(value)) }
    func encode(_ value: Int) { number(value) }
    func encode(_ value: Int8) { number(value) }
    func encode(_ value: Int16) { number(value) }
    func encode(_ value: Int32) { number(value) }
    func encode(_ value: Int64) { number(value) }
    func encode(_ value: UInt) { number(value) }
    func encode(_ value: UInt8) { number(value) }
    func encode(_ value: UInt16) { number(value) }
    func encode(_ value: UInt32) { number(value) }
    func encode(_ value: UInt64) { number(value) }
    func encode(_ value: some Encodable) throws { try value.encode(to: self) }
}

private struct ObjectEncoder<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let slot: Slot
    let codingPath: [any CodingKey]

    private func encoder(_ key: some CodingKey) -> SlotEncoder {
        SlotEncoder(slot: slot.member(key.stringValue), codingPath: codingPath + [key])
    }

    func encodeNil(forKey key: Key) { encoder(key).encodeNil() }
    func encode(_ value: Bool, forKey key: Key) { encoder(key).encode(value) }
    func encode(_ value: String, forKey key: Key) { encoder(key).encode(value) }
    func encode(_ value: Double, forKey key: Key) throws { try encoder(key).encode(value) }
    func encode(_ value: Float, forKey key: Key) throws { try encoder(key).encode(value) }
    func encode(_ value: Int, forKey key: Key) { encoder(key).encode(value) }
    func encode(_ value: Int8, forKey key: Key) { encoder(key).encode(value) }
    func encode(_ value: Int16, forKey key: Key) { encoder(key).encode(value) }
    func encode(_ value: Int32, forKey key: Key) { encoder(key).encode(value) }
    func encode(_ value: Int64, forKey key: Key) { encoder(key).encode(value) }
    func encode(_ value: UInt, forKey key: Key) { encoder(key).encode(value) }
    func encode(_ value: UInt8, forKey key: Key) { encoder(key).encode(value) }
    func encode(_ value: UInt16, forKey key: Key) { encoder(key).encode(value) }
    func encode(_ value: UInt32, forKey key: Key) { encoder(key).encode(value) }
    func encode(_ value: UInt64, forKey key: Key) { encoder(key).encode(value) }
    func encode(_ value: some Encodable, forKey key: Key) throws { try encoder(key).encode(value) }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type, forKey key: Key) -> KeyedEncodingContainer<Nested> {
        encoder(key).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { encoder(key).unkeyedContainer() }
    func superEncoder() -> any Encoder { SlotEncoder(slot: slot.member("super"), codingPath: codingPath) }
    func superEncoder(forKey key: Key) -> any Encoder { encoder(key) }
}

private struct ArrayEncoder: UnkeyedEncodingContainer {
    let slot: Slot
    let codingPath: [any CodingKey]

    var count: Int {
        guard case .array(let slots) = slot.held else { return 0 }
        return slots.count
    }

    private func encoder() -> SlotEncoder { SlotEncoder(slot: slot.element(), codingPath: codingPath) }

    func encodeNil() { encoder().encodeNil() }
    func encode(_ value: Bool) { encoder().encode(value) }
    func encode(_ value: String) { encoder().encode(value) }
    func encode(_ value: Double) throws { try encoder().encode(value) }
    func encode(_ value: Float) throws { try encoder().encode(value) }
    func encode(_ value: Int) { encoder().encode(value) }
    func encode(_ value: Int8) { encoder().encode(value) }
    func encode(_ value: Int16) { encoder().encode(value) }
    func encode(_ value: Int32) { encoder().encode(value) }
    func encode(_ value: Int64) { encoder().encode(value) }
    func encode(_ value: UInt) { encoder().encode(value) }
    func encode(_ value: UInt8) { encoder().encode(value) }
    func encode(_ value: UInt16) { encoder().encode(value) }
    func encode(_ value: UInt32) { encoder().encode(value) }
    func encode(_ value: UInt64) { encoder().encode(value) }
    func encode(_ value: some Encodable) throws { try encoder().encode(value) }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        encoder().container(keyedBy: type)
    }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { encoder().unkeyedContainer() }
    func superEncoder() -> any Encoder { encoder() }
}
