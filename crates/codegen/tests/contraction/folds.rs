//! Reductions of the result's rows in the product's kernel, and in kernels of their own where it cannot, against the graph's
//! evaluation.

use crate::{product, schedules};
use gable_codegen::Class;
use gable_codegen::contraction::schedule::{MmaSyncSchedule, Schedule, Tile};
use gable_codegen::contraction::wgmma::schedule::{Sharing, WgmmaSchedule};
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module, Target};
use gable_tensor::{DType, Scalar, Tensor};

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

fn tcgen05(n: u32) -> Schedule {
    Schedule::Tcgen05(schedules::tcgen05(n, DType::BF16, 2))
}

fn tcgen05_pairs(n: u32) -> Schedule {
    Schedule::Tcgen05(schedules::paired(schedules::tcgen05(n, DType::BF16, 2)))
}

fn mma_ring(extent: (u32, u32), warps: (u32, u32)) -> Schedule {
    Schedule::MmaRing(schedules::mma_ring(extent, warps, DType::BF16, 2))
}

fn mma_sync((m, n): (u32, u32), warps: (u32, u32)) -> Schedule {
    let tile = Tile { m, n, k: 32 };
    Schedule::MmaSync(MmaSyncSchedule { tile, products: 1, warps, stages: 2, group: 2 })
}

#[test]
fn threads_of_tensor_memory_have_rows_of_their_own() {
    for shape in [(256, 256, 64), (100, 200, 72), (1, 8, 8), (140, 264, 40)] {
        let source = source(shape, "");
        product::check(&source, Target::Sm100a, tcgen05(64));
        product::check(&source, Target::Sm103a, tcgen05(256));
        product::check(&source, Target::Sm100a, tcgen05_pairs(128));
    }
    // Results that the copy engine cannot write.
    for shape in [(70, 37, 64), (130, 100, 40)] {
        product::check(&source(shape, ""), Target::Sm100a, tcgen05(64));
        product::check(&source(shape, ""), Target::Sm100a, tcgen05_pairs(96));
    }
}

#[test]
fn quads_of_warps_that_the_copy_engine_feeds_share_rows() {
    for shape in [(128, 128, 64), (100, 200, 72), (1, 8, 8), (70, 37, 64)] {
        let source = source(shape, "");
        product::check(&source, Target::Sm120a, mma_ring((64, 128), (2, 2)));
        product::check(&source, Target::Sm120a, mma_ring((32, 64), (2, 1)));
        // Columns of a warp that are no whole staging buffers.
        product::check(&source, Target::Sm120a, mma_ring((64, 64), (2, 2)));
    }
}

#[test]
fn lanes_of_warps_on_plain_tiles_share_rows() {
    for shape in [(64, 64, 64), (100, 72, 40), (33, 37, 20), (1, 2, 8)] {
        let source = source(shape, "");
        for target in [Target::Sm90a, Target::Sm120a] {
            product::check(&source, target, mma_sync((64, 32), (2, 2)));
            product::check(&source, target, mma_sync((32, 64), (2, 1)));
        }
    }
    // Three or six lanes do not halve.
    let refused = product::refused(&source((64, 96, 64), ""), Target::Sm120a, mma_sync((64, 48), (4, 1)));
    assert!(refused.contains("does not reduce rows"), "{refused}");
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
    let source = source((70, 136, 64), more);
    product::check(&source, Target::Sm90a, wgmma(64, 64, 2, Sharing::PingPong));
    product::check(&source, Target::Sm100a, tcgen05(64));
    product::check(&source, Target::Sm120a, mma_ring((64, 64), (4, 1)));
    product::check(&source, Target::Sm120a, mma_sync((64, 32), (2, 1)));
}

#[test]
fn batches_have_rows_of_their_own() {
    let source = "graph @batched(%a: bf16[3, 72, 64], %b: bf16[3, 64, 136]) {\n  region @r contraction {\n    \
        %sum = matmul %a, %b {acc=f32, out=bf16} : bf16[3, 72, 136]\n    \
        %rows = reduce %sum {kind=min, axes=[2], keep=false} : bf16[3, 72]\n  }\n  return c = %sum, rows = %rows\n}\n";
    product::check(source, Target::Sm90a, wgmma(64, 64, 2, Sharing::PingPong));
    product::check(source, Target::Sm100a, tcgen05_pairs(128));
    product::check(source, Target::Sm120a, mma_ring((64, 64), (4, 1)));
    product::check(source, Target::Sm120a, mma_sync((64, 32), (2, 1)));
}

/// Rows that are in groups are reduced by the tile of their own group, not by those that see them beyond another's end.
#[test]
fn groups_have_rows_of_their_own() {
    let source = "graph @grouped(%x: bf16[300, 64], %w: bf16[5, 64, 136], %ends: i32[5]) {\n  region @r contraction {\n    \
        %sum = grouped_matmul %x, %w, %ends {acc=f32, out=bf16} : bf16[300, 136]\n    %size = abs %sum : bf16[300, 136]\n    \
        %rows = reduce %size {kind=max, axes=[1], keep=true} : bf16[300, 1]\n  }\n  return c = %sum, rows = %rows\n}\n";
    for ends in [[1, 1, 130, 131, 300], [37, 101, 167, 233, -1], [0, 300, 300, 20, 7]] {
        let scalars: Vec<Scalar> = ends.into_iter().map(Scalar::I).collect();
        let given = [("ends", Tensor::from_scalars(DType::I32, vec![5], scalars))];
        for (target, schedule) in [
            (Target::Sm90a, wgmma(64, 64, 2, Sharing::PingPong)),
            (Target::Sm100a, tcgen05(64)),
            (Target::Sm100a, tcgen05_pairs(128)),
            (Target::Sm120a, mma_ring((64, 64), (4, 1))),
            (Target::Sm120a, mma_sync((64, 32), (2, 1))),
        ] {
            product::check_given(source, target, schedule, &given);
        }
    }
}

#[test]
fn partial_results_are_joined_in_one_order_whatever_the_order_of_threads() {
    let source = source((200, 328, 40), "");
    product::check_equal_in_every_order(&source, Target::Sm90a, wgmma(64, 64, 2, Sharing::PingPong));
    product::check_equal_in_every_order(&source, Target::Sm100a, tcgen05(64));
    product::check_equal_in_every_order(&source, Target::Sm120a, mma_ring((64, 64), (2, 1)));
    product::check_equal_in_every_order(&source, Target::Sm120a, mma_sync((64, 32), (2, 1)));
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

#[test]
fn kernels_that_reduce_rows_assemble_without_spills() {
    let Ok(ptxas) = Ptxas::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas");
        eprintln!("SKIPPED: no ptxas");
        return;
    };
    let cases = [
        (Target::Sm90a, wgmma(128, 128, 2, Sharing::PingPong)),
        (Target::Sm100a, tcgen05(256)),
        (Target::Sm100a, tcgen05_pairs(256)),
        (Target::Sm103a, tcgen05(64)),
        (Target::Sm120a, mma_ring((128, 128), (4, 2))),
        (Target::Sm120a, mma_ring((64, 64), (2, 2))),
        (Target::Sm120a, mma_sync((128, 128), (2, 4))),
        (Target::Sm90a, mma_sync((64, 64), (2, 2))),
    ];
    for (number, (target, schedule)) in cases.into_iter().enumerate() {
        let mut module = Module::new(target, Vec::new());
        // Whole tiles, edges, and results that the copy engine cannot write.
        for shape in [(4096, 4096, 1024), (4095, 4088, 1024), (4095, 4095, 1024)] {
            let source = source(shape, "");
            // Hopper's warpgroups reduce rows that leave through staging buffers.
            if shape.1 % 8 != 0 && matches!(schedule, Schedule::Wgmma(_)) {
                continue;
            }
            let mut kernel = product::kernel(&source, target, schedule);
            assert_eq!(Class::found(&kernel), schedule.class(), "{schedule}");
            kernel.name = format!("rows_{number}_{}_{}", shape.0, shape.1);
            module.push(kernel);
        }
        schedules::assert_no_spills(&ptxas, &module, target);
    }
}

/// The region is not taken apart: kernels that leave rows to others are refused.
#[test]
fn what_the_rule_takes_reduces_rows() {
    let source = source((4096, 4096, 1024), "");
    for (target, class) in [
        (Target::Sm90a, Class::Wgmma),
        (Target::Sm100a, Class::Tcgen05),
        (Target::Sm103a, Class::Tcgen05),
        (Target::Sm120a, Class::MmaSync),
        (Target::Sm121a, Class::MmaSync),
    ] {
        assert_eq!(product::chosen(&source, target).class(), class, "{target}");
    }
}
