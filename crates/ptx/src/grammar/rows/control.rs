//! Branches, calls, ends, the stack.

use super::{BASE, rows, sm};

rows! {
    Bra:
        "bra{.uni}", BASE;
    Brx:
        "brx.idx{.uni}", sm(30, 6, 0);
    Call:
        "call{.uni}", BASE;
    Ret:
        "ret{.uni}", BASE;
    Exit:
        "exit", BASE;
    Trap:
        "trap", BASE;
    Brkpt:
        "brkpt", BASE;
    Alloca:
        "alloca(.u32|.u64)", sm(52, 7, 3);
    Stacksave:
        "stacksave(.u32|.u64)", sm(52, 7, 3);
    Stackrestore:
        "stackrestore(.u32|.u64)", sm(52, 7, 3);
}
