//! Exchange between the lanes of a warp. `mask` names the lanes that take part; all of them must execute the instruction.
//!
//! The last operand of a shuffle, `bounds`, packs the segment: 0x1F for the whole warp, 0 for `up`.

use super::columns::*;
use crate::meaning::{Meaning, Shuffle as From, Vote as Of, WarpReduce as By};
use crate::scalar::ScalarType;
use crate::slot::B32AndPred;

const fn shuffle(mode: From, in_range: bool, ty: ScalarType) -> Meaning {
    Shuffle { mode, in_range, ty }
}
use crate::target::Feature;

super::forms! {
    { "data-movement-and-conversion-instructions-shfl-sync", LoadStore, WarpSync, BASE }
    shfl_bfly_b32(B32 <- a: RegB32, b: B32, bounds: B32, mask: B32) = "shfl.sync.bfly.b32" => shuffle(From::Butterfly, false, B32);
    shfl_bfly_f32(F32 <- a: RegF32, b: B32, bounds: B32, mask: B32) = "shfl.sync.bfly.b32" => shuffle(From::Butterfly, false, F32);
    shfl_down_b32(B32 <- a: RegB32, b: B32, bounds: B32, mask: B32) = "shfl.sync.down.b32" => shuffle(From::Down, false, B32);
    shfl_down_f32(F32 <- a: RegF32, b: B32, bounds: B32, mask: B32) = "shfl.sync.down.b32" => shuffle(From::Down, false, F32);
    shfl_up_b32(B32 <- a: RegB32, b: B32, bounds: B32, mask: B32) = "shfl.sync.up.b32" => shuffle(From::Up, false, B32);
    shfl_up_f32(F32 <- a: RegF32, b: B32, bounds: B32, mask: B32) = "shfl.sync.up.b32" => shuffle(From::Up, false, F32);
    shfl_idx_b32(B32 <- a: RegB32, b: B32, bounds: B32, mask: B32) = "shfl.sync.idx.b32" => shuffle(From::Index, false, B32);
    shfl_idx_f32(F32 <- a: RegF32, b: B32, bounds: B32, mask: B32) = "shfl.sync.idx.b32" => shuffle(From::Index, false, F32);
    shfl_down_pred_b32(B32AndPred <- a: RegB32, b: B32, bounds: B32, mask: B32) = "shfl.sync.down.b32" => shuffle(From::Down, true, B32);
    shfl_up_pred_b32(B32AndPred <- a: RegB32, b: B32, bounds: B32, mask: B32) = "shfl.sync.up.b32" => shuffle(From::Up, true, B32);

    { "parallel-synchronization-and-communication-instructions-vote-sync", Alu, WarpSync, BASE }
    vote_all(Pred <- a: Pred, mask: B32) = "vote.sync.all.pred" => Vote(Of::All);
    vote_any(Pred <- a: Pred, mask: B32) = "vote.sync.any.pred" => Vote(Of::Any);
    vote_uni(Pred <- a: Pred, mask: B32) = "vote.sync.uni.pred" => Vote(Of::Uniform);
    vote_ballot(B32 <- a: Pred, mask: B32) = "vote.sync.ballot.b32" => Vote(Of::Ballot);

    { "parallel-synchronization-and-communication-instructions-redux-sync", Alu, WarpSync, from(80, 7, 0) }
    redux_add_u32(B32 <- a: RegB32, mask: B32) = "redux.sync.add.u32" => WarpReduce(By::Add, U32);
    redux_add_s32(B32 <- a: RegB32, mask: B32) = "redux.sync.add.s32" => WarpReduce(By::Add, S32);
    redux_min_u32(B32 <- a: RegB32, mask: B32) = "redux.sync.min.u32" => WarpReduce(By::Min, U32);
    redux_min_s32(B32 <- a: RegB32, mask: B32) = "redux.sync.min.s32" => WarpReduce(By::Min, S32);
    redux_max_u32(B32 <- a: RegB32, mask: B32) = "redux.sync.max.u32" => WarpReduce(By::Max, U32);
    redux_max_s32(B32 <- a: RegB32, mask: B32) = "redux.sync.max.s32" => WarpReduce(By::Max, S32);
    redux_and_b32(B32 <- a: RegB32, mask: B32) = "redux.sync.and.b32" => WarpReduce(By::And, B32);
    redux_or_b32(B32 <- a: RegB32, mask: B32) = "redux.sync.or.b32" => WarpReduce(By::Or, B32);
    redux_xor_b32(B32 <- a: RegB32, mask: B32) = "redux.sync.xor.b32" => WarpReduce(By::Xor, B32);

    { "parallel-synchronization-and-communication-instructions-redux-sync", Alu, WarpSync, with(Feature::FloatRedux, 8, 6) }
    redux_min_f32(F32 <- a: RegF32, mask: B32) = "redux.sync.min.f32" => WarpReduce(By::Min, F32);
    redux_max_f32(F32 <- a: RegF32, mask: B32) = "redux.sync.max.f32" => WarpReduce(By::Max, F32);
    redux_min_nan_f32(F32 <- a: RegF32, mask: B32) = "redux.sync.min.NaN.f32" => WarpReduce(By::MinNan, F32);
    redux_max_nan_f32(F32 <- a: RegF32, mask: B32) = "redux.sync.max.NaN.f32" => WarpReduce(By::MaxNan, F32);
    redux_max_abs_f32(F32 <- a: RegF32, mask: B32) = "redux.sync.max.abs.f32" => WarpReduce(By::MaxAbs, F32);
    redux_max_abs_nan_f32(F32 <- a: RegF32, mask: B32) = "redux.sync.max.abs.NaN.f32" => WarpReduce(By::MaxAbsNan, F32);

    { "parallel-synchronization-and-communication-instructions-activemask", Alu, Volatile, BASE }
    activemask(B32 <- ) = "activemask.b32" => ActiveMask;
}
