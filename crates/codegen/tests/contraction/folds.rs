//! Reductions of the result's rows in the product's kernel, and in kernels of their own where it cannot, against the graph's
//! evaluation.

use crate::{product, schedules};
use gable_codegen::contraction::schedule::Schedule;
use gable_codegen::contraction::wgmma::schedule::{Sharing, WgmmaSchedule};
use gable_ptx::Target;
use gable_tensor::DType;

/// A product with a residual, the squares of whose rows are added up, and whose largest size in a row is found.
fn source((m, n, k): (usize, usize, usize), more: &str) -> String {
    format!(
        "graph @rows(%a: bf16[{m}, {k}], %b: bf16[{n}, {k}], %rest: bf16[{m}, {n}]) {{\n  region @r contraction {{\n    \
         %t = transpose %b {{perm=[1, 0]}} : bf16[{k}, {n}]\n    \
         %sum = matmul %a, %t {{acc=f32, out=bf16}} : bf16[{m}, {n}]\n    \
         %y = add %sum, %rest : bf16[{m}, {n}]\n    \
         %wide = cast %y {{to=f32}} : f32[{m}, {n}]\n    \
         %squares = mul %wide, %wide : f32[{m}, {n}]\n    \
         %ss = reduce %squares {{kind=sum, axes=[1], keep=true}} : f32[{m}, 1]\n    \
         %size = abs %y : bf16[{m}, {n}]\n    \
         %amax = reduce %size {{kind=max, axes=[1], keep=true}} : bf16[{m}, 1]\n{more}  }}\n  \
         return y = %y, ss = %ss, amax = %{}\n}}\n",
        if more.is_empty() { "amax" } else { "last" }
    )
}

fn wgmma(m: u32, n: u32, consumers: u32, sharing: Sharing) -> Schedule {
    Schedule::Wgmma(schedules::wgmma((m, n), DType::BF16, consumers, sharing))
}

#[test]
fn wgmma_reduces_rows_of_every_tile() {
    for shape in [(128, 256, 64), (100, 200, 72), (1, 8, 8), (72, 328, 40)] {
        let source = source(shape, "");
        product::check(&source, Target::Sm90a, wgmma(128, 128, 2, Sharing::Cooperative));
        product::check(&source, Target::Sm90a, wgmma(64, 64, 2, Sharing::PingPong));
        product::check(&source, Target::Sm90a, wgmma(64, 192, 1, Sharing::Cooperative));
    }
}

#[test]
fn a_whole_tile_of_a_residual_waits_in_more_buffers() {
    for shape in [(256, 256, 64), (100, 200, 72)] {
        let source = source(shape, "");
        let tiles = [(128, 128, Sharing::PingPong), (64, 256, Sharing::PingPong), (128, 256, Sharing::Cooperative)];
        for (m, n, sharing) in tiles {
            let Schedule::Wgmma(two) = wgmma(m, n, 2, sharing) else { unreachable!("a schedule on wgmma") };
            let four = WgmmaSchedule { buffers: 4, stages: 2, ..two };
            product::check(&source, Target::Sm90a, Schedule::Wgmma(four));
        }
    }
}

#[test]
fn ctas_that_share_a_tile_leave_folds_of_their_own_columns() {
    let single = schedules::wgmma((128, 128), DType::BF16, 2, Sharing::Cooperative);
    let whole = WgmmaSchedule { ctas: 132, split: 2, ..single };
    for shape in [(128, 128, 128), (72, 192, 200)] {
        product::check(&source(shape, ""), Target::Sm90a, Schedule::Wgmma(whole));
    }
}

#[test]
fn what_follows_a_fold_is_computed_by_the_join() {
    let more = "    %narrow = cast %ss {to=bf16} : bf16[70, 1]\n    %both = max %narrow, %amax : bf16[70, 1]\n    \
                %last = reshape %both {shape=[7, 10]} : bf16[7, 10]\n";
    product::check(&source((70, 136, 64), more), Target::Sm90a, wgmma(64, 64, 2, Sharing::PingPong));
}

#[test]
fn batches_have_rows_of_their_own() {
    let source = "graph @batched(%a: bf16[3, 72, 64], %b: bf16[3, 64, 136]) {\n  region @r contraction {\n    \
        %sum = matmul %a, %b {acc=f32, out=bf16} : bf16[3, 72, 136]\n    \
        %rows = reduce %sum {kind=min, axes=[2], keep=false} : bf16[3, 72]\n  }\n  return c = %sum, rows = %rows\n}\n";
    product::check(source, Target::Sm90a, wgmma(64, 64, 2, Sharing::PingPong));
}

#[test]
fn partial_results_are_joined_in_one_order_whatever_the_order_of_threads() {
    let source = source((200, 328, 40), "");
    product::check_equal_in_every_order(&source, Target::Sm90a, wgmma(64, 64, 2, Sharing::PingPong));
}

#[test]
fn sums_quantised_by_a_scale_leave_as_bytes_beside_the_row_maxima_that_the_next_scale_needs() {
    for (m, n) in [(128, 256), (70, 144)] {
        let source = format!(
            "graph @quantised(%a: bf16[{m}, 64], %b: bf16[64, {n}], %scale: f32[]) {{\n  region @r contraction {{\n    \
             %sum = matmul %a, %b {{acc=f32, out=f32}} : f32[{m}, {n}]\n    \
             %all = broadcast %scale {{shape=[{m}, {n}]}} : f32[{m}, {n}]\n    \
             %scaled = mul %sum, %all : f32[{m}, {n}]\n    \
             %q = cast %scaled {{to=e4m3}} : e4m3[{m}, {n}]\n    \
             %size = abs %sum : f32[{m}, {n}]\n    \
             %amax = reduce %size {{kind=max, axes=[1], keep=true}} : f32[{m}, 1]\n  }}\n  return q = %q, amax = %amax\n}}\n"
        );
        product::check(&source, Target::Sm90a, wgmma(64, 128, 2, Sharing::PingPong));
        product::check(&source, Target::Sm90a, wgmma(128, 128, 2, Sharing::Cooperative));
        // Narrower tiles store what they have, and leave rows to a kernel of their own.
        let refused = product::refused(&source, Target::Sm90a, wgmma(64, 64, 2, Sharing::PingPong));
        assert!(refused.contains("does not reduce rows"), "{refused}");
    }
}
