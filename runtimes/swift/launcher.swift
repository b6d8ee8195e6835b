// Runs a Swift action: compiled into one program with it, by compile.sh.
//
// Orders come on standard input, answers go out on file descriptor 3, as
// runtimes/README.md says; logs are what the program prints. The last line,
// which compile.sh adds, names the action's function.

import Foundation
#if canImport(Glibc)
import Glibc
#endif

private let notAResult = "The action did not return a dictionary or array."

/// Takes the pipes away from the descriptors at which the action and its
/// children would find them.
private func movePipes() -> (UnsafeMutablePointer<FILE>, Int32) {
    let orders = fcntl(0, F_DUPFD_CLOEXEC, 100)
    let frames = fcntl(3, F_DUPFD_CLOEXEC, 100)
    let null = open("/dev/null", O_RDONLY)
    guard orders >= 0, frames >= 0, null >= 0, dup2(null, 0) == 0, let stream = fdopen(orders, "r") else {
        exit(70)
    }
    close(null)
    close(3)
    return (stream, frames)
}

private func send(_ frames: Int32, _ head: String, _ content: Data) {
    var line = Data(head.utf8)
    line.append(content)
    line.append(10)
    line.withUnsafeBytes { bytes in
        var sent = 0
        while sent < bytes.count {
            let count = write(frames, bytes.baseAddress! + sent, bytes.count - sent)
            if count < 0 { exit(70) }
            sent += count
        }
    }
}

private func fault(_ words: String) -> Data {
    return (try? JSONSerialization.data(withJSONObject: ["error": words])) ?? Data("{\"error\":\"\"}".utf8)
}

/// An answer, or nil for one that is neither a dictionary nor an array.
private func encoded(_ answer: Any) -> Data? {
    guard answer is [String: Any] || answer is [Any], JSONSerialization.isValidJSONObject(answer) else { return nil }
    return try? JSONSerialization.data(withJSONObject: answer)
}

/// Runs for ever: `action` gets what came as JSON, and answers in JSON, or nil.
private func serve(_ action: (Any, Data) throws -> Data?) -> Never {
    let (orders, frames) = movePipes()
    send(frames, "", Data("{\"ok\":true}".utf8))
    var text: UnsafeMutablePointer<CChar>?
    var room = 0
    var variables: [String: UnsafeMutablePointer<CChar>] = [:]
    while true {
        let length = getline(&text, &room, orders)
        guard length > 0, let text = text else { exit(0) }
        let line = Data(bytes: text, count: length)
        guard let order = (try? JSONSerialization.jsonObject(with: line)) as? [String: Any] else { exit(70) }
        for (name, value) in order where name != "value" {
            // The C library would keep whatever `setenv` was given until the end.
            let variable = strdup("__OW_\(name.uppercased())=\(value)")
            _ = putenv(variable!)
            free(variables.updateValue(variable!, forKey: name))
        }
        let id = order["activation_id"] as? String ?? ""
        let value = order["value"] ?? [String: Any]()
        let input = (try? JSONSerialization.data(withJSONObject: value)) ?? Data("{}".utf8)
        var frame = "R \(id) "
        var answer: Data
        do {
            if let result = try action(value, input) {
                answer = result
            } else {
                frame = "F \(id) "
                answer = fault(notAResult)
            }
        } catch {
            answer = fault("\(error)")
        }
        fflush(stdout)
        send(frames, frame, answer)
    }
}

/// `func main(args: Any) -> Any`
private func run(_ action: @escaping (Any) -> Any) -> Never {
    serve { value, _ in encoded(action(value)) }
}

/// `func main(args: [String: Any]) -> [String: Any]`
private func run(_ action: @escaping ([String: Any]) -> [String: Any]) -> Never {
    serve { value, _ in encoded(action(value as? [String: Any] ?? [:])) }
}

/// Waits for the completion of an action that answers with a `Codable`.
private func waited<Output: Encodable>(_ begin: (@escaping (Output?, Error?) -> Void) throws -> Void) throws -> Data? {
    var result: Result<Output?, Error> = .success(nil)
    let done = DispatchSemaphore(value: 0)
    try begin { output, error in
        result = error.map { .failure($0) } ?? .success(output)
        done.signal()
    }
    done.wait()
    return try result.get().map { try JSONEncoder().encode($0) }
}

/// `func main(param: Input, completion: (Output?, Error?) -> Void)`
private func run<Input: Decodable, Output: Encodable>(
    _ action: @escaping (Input, @escaping (Output?, Error?) -> Void) -> Void
) -> Never {
    serve { _, data in
        let input = try JSONDecoder().decode(Input.self, from: data)
        return try waited { action(input, $0) }
    }
}

/// `func main(completion: (Output?, Error?) -> Void)`
private func run<Output: Encodable>(_ action: @escaping (@escaping (Output?, Error?) -> Void) -> Void) -> Never {
    serve { _, _ in try waited { action($0) } }
}
