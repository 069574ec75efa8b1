import AgentAPI
import Testing

@testable import microvm

@Suite("A container's processes as ps shows them")
struct ProcessTableTests {
    let process = ListProcessesResponse.Process.with {
        $0.pid = 60
        $0.parent = 1
        $0.user = 7
        $0.name = "sh"
        $0.command = "sh -c \u{1b}[31mred"
        $0.state = "Ss+"
        $0.terminal = "pts/0"
        $0.millisecondsSinceStart = 100_000
        $0.cpuMilliseconds = 25_000
        $0.virtualKibibytes = 4096
        $0.residentKibibytes = 512
    }

    func table(_ options: String...) throws -> [[Substring]] {
        let context = ProcessTable.Context(memory: 1024, passwd: "root:x:0:0::/:\nada:x:7:7::/:\nother:x:7:7::/:\nbroken\n")
        return try ProcessTable(options).text([process], context).split(separator: "\n").map { $0.split(separator: " ") }
    }

    @Test("without options as -ef: the user by the host's name, and nothing a terminal would obey")
    func full() throws {
        let rows = try table()
        #expect(rows[0].joined(separator: " ") == "UID PID PPID C STIME TTY TIME CMD")
        #expect(rows[1][..<4].joined(separator: " ") == "ada 60 1 25")
        #expect(rows[1][5...].joined(separator: " ") == "pts/0 00:00:25 sh -c ?[31mred")
        #expect(try table("-ef") == rows)
        #expect(try table("-e", "-f") == rows)
    }

    @Test("-e, -x, aux and -o have the columns that ps gives them")
    func options() throws {
        #expect(try table("-e")[0] == ["PID", "TTY", "TIME", "CMD"])
        #expect(try table("-e")[1].last == "sh")
        #expect(try table("-e", "-x")[0] == ["PID", "TTY", "STAT", "TIME", "COMMAND"])
        #expect(try table("ax")[1][..<4].joined(separator: " ") == "60 pts/0 Ss+ 0:25")
        let users = try table("aux")
        #expect(users[0] == ["USER", "PID", "%CPU", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND"])
        #expect(users[1][..<6].joined(separator: " ") == "ada 60 25.0 50.0 4096 512")
        #expect(try table("-o", "pid,etime,comm=NAME") == [["PID", "ELAPSED", "NAME"], ["60", "01:40", "sh"]])
        #expect(try table("-opid", "-o", "uid") == [["PID", "UID"], ["60", "7"]])
    }

    @Test("what is no option, and no column, is refused by name", arguments: [["-Z"], ["--forest"], ["-"], ["-o"], ["-o", "pid,nice"], ["60"]])
    func unknown(options: [String]) {
        #expect(throws: Failure.self) { try ProcessTable(options) }
    }

    @Test("figures without measure do not trap")
    func extremes() throws {
        let huge = ListProcessesResponse.Process.with {
            $0.millisecondsSinceStart = .max
            $0.cpuMilliseconds = .max
            $0.residentKibibytes = .max
        }
        for columns in ProcessColumn.allCases {
            for memory in [0, UInt64.max] {
                let text = try ProcessTable(["-o", columns.rawValue]).text([huge, .init()], ProcessTable.Context(memory: memory, passwd: ""))
                #expect(text.split(separator: "\n", omittingEmptySubsequences: false).count == 4)
            }
        }
    }
}
