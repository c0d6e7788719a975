//! Instructions between the lanes of a warp.

use super::{BASE, has, rows, sm};
use crate::target::Feature::FloatRedux;

rows! {
    Activemask:
        "activemask.b32", sm(30, 6, 2);
    Vote:
        "vote.sync(.all|.any|.uni).pred", sm(30, 6, 0);
        "vote.sync.ballot.b32", sm(30, 6, 0);
    Match:
        "match(.any|.all).sync(.b32|.b64)", sm(70, 6, 0);
    Redux:
        "redux.sync(.add|.min|.max)(.u32|.s32)", sm(80, 7, 0);
        "redux.sync(.and|.or|.xor).b32", sm(80, 7, 0);
        "redux.sync(.min|.max){.abs}{.NaN}.f32", has(FloatRedux, 8, 6);
    Shfl:
        "shfl.sync(.up|.down|.bfly|.idx).b32", sm(30, 6, 0);
    ElectSync:
        "elect.sync", sm(90, 8, 0);
    Pmevent:
        "pmevent{.mask}", BASE;
}
