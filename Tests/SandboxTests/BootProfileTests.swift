import Testing

@testable import Sandbox

@Suite("Boot profiles")
struct BootProfileTests {
    private let symbols = SymbolTable(
        """
        ffffffff81000000 T start_kernel
        ffffffff81000100 t do_one_initcall
        ffffffff81000200 T net_init
        ffffffff81000280 d not_code
        ffffffff81000300 T memset
        """)

    private var profile: BootProfile {
        BootProfile(
            """
            1 ffffffff81000300 ffffffff81000210 ffffffff81000110 ffffffff81000010
            2 ffffffff81000210 ffffffff81000110 ffffffff81000010
            3 401000
            4 ffffffff81000310 ffffffff81000020
            """, symbols)
    }

    @Test("an address belongs to the last function before it; one below all of them to none")
    func symbolNames() {
        #expect(symbols.name(of: 0xffff_ffff_8100_0000) == "start_kernel")
        #expect(symbols.name(of: 0xffff_ffff_8100_02ff) == "net_init")
        #expect(symbols.name(of: 0xffff_ffff_ffff_ffff) == "memset")
        #expect(symbols.name(of: 0x1000) == nil)
        #expect(SymbolTable("").name(of: 1) == nil)
    }

    @Test("rows are by running function and by initcall, user programs one of them, and folded stacks begin with the outermost")
    func rows() {
        #expect(profile.count == 4)
        #expect(
            profile.functions == [
                .init(function: "memset", samples: 2), .init(function: "net_init", samples: 1), .init(function: "user programs", samples: 1),
            ])
        #expect(profile.initcalls == [.init(function: "net_init", samples: 2)])
        #expect(profile.folded.contains("start_kernel;do_one_initcall;net_init;memset 1\n"))
    }

    @Test("the flame graph shows callers above what they called, and leaves out what is rare")
    func flame() {
        let lines = profile.flame(atLeast: 0.5, width: 4).split(separator: "\n").map(String.init)
        #expect(lines == [" 75.0 %  start_kernel ▇▇▇", " 50.0 %   do_one_initcall ▇▇", " 50.0 %    net_init ▇▇"])
        #expect(BootProfile("", symbols).flame(atLeast: 0) == "")
    }
}
