//! Tiles that running CTAs take over from those that have not begun, on `tcgen05`: single CTAs and pairs, edges, batches, block
//! scales, every way out, against the graph's evaluation.

use crate::block_scaled;
use crate::product::{self, product};
use crate::schedules;
use gable_codegen::Class;
use gable_codegen::contraction::schedule::{Schedule, Tile};
use gable_codegen::contraction::tcgen05::schedule::Tcgen05Schedule;
use gable_ptx::nvdisasm::Nvdisasm;
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module, Target};
use gable_tensor::DType;

fn single(n: u32, stages: u32) -> Tcgen05Schedule {
    Tcgen05Schedule { takes_over: true, ..schedules::tcgen05(n, DType::BF16, stages) }
}

fn paired(n: u32, stages: u32) -> Tcgen05Schedule {
    schedules::paired(single(n, stages))
}

#[test]
fn every_tile_is_multiplied_once_whoever_has_it() {
    // One tile, a few, and more than there are slots for answers.
    for (m, n, k) in [(100, 40, 72), (300, 136, 64), (520, 264, 40)] {
        let source = product("bf16", (m, n, k), [false, true], "bf16", "");
        for schedule in [single(64, 2), paired(64, 3)] {
            product::check(&source, Target::Sm100a, Schedule::Tcgen05(schedule));
        }
    }
    let source = "graph @batched(%a: bf16[2, 3, 130, 72], %b: bf16[2, 3, 72, 80]) {\n  region @r contraction {\n    \
        %sum = matmul %a, %b {acc=f32, out=bf16} : bf16[2, 3, 130, 80]\n  }\n  return c = %sum\n}\n";
    product::check(source, Target::Sm103a, Schedule::Tcgen05(single(64, 3)));
}

#[test]
fn what_follows_the_product_and_brings_its_scales_takes_over_too() {
    for (m, n) in [(290, 136), (130, 66)] {
        let source = product("bf16", (m, n, 64), [false, true], "bf16", &product::layer(m, n));
        product::check(&source, Target::Sm100a, Schedule::Tcgen05(single(64, 2)));
        product::check(&source, Target::Sm100a, Schedule::Tcgen05(paired(64, 2)));
    }
    let format = block_scaled::MXFP6;
    let source = block_scaled::graph((300, 136, 320), format, "bf16");
    let plain = Tcgen05Schedule { takes_over: true, ..schedules::tcgen05(64, DType::U8, 2) };
    let scaled = Tcgen05Schedule { tile: Tile { k: format.span(), ..plain.tile }, scales: format.span() / 32, ..plain };
    for schedule in [scaled, schedules::paired(scaled)] {
        product::check_over(&source, Target::Sm100a, Schedule::Tcgen05(schedule), block_scaled::inputs);
    }
}

#[test]
fn kernels_that_take_over_assemble_without_spills_in_their_class() {
    let (Ok(ptxas), Ok(nvdisasm)) = (Ptxas::find(), Nvdisasm::find()) else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas and nvdisasm");
        eprintln!("SKIPPED: no ptxas or no nvdisasm");
        return;
    };
    let source = product("bf16", (4096, 4096, 4096), [false, true], "bf16", &product::layer(4096, 4096));
    let cases = [(Target::Sm100a, single(256, 3)), (Target::Sm103a, paired(256, 3)), (Target::Sm100f, single(64, 4))];
    for (target, schedule) in cases {
        let schedule = Schedule::Tcgen05(schedule);
        let kernel = product::kernel(&source, target, schedule);
        assert_eq!(Class::found(&kernel), schedule.class(), "{schedule}");
        let name = kernel.name.clone();
        let module = Module::new(target, vec![kernel]);
        let assembled = ptxas.assemble(&module.to_string(), target).unwrap_or_else(|e| panic!("{target}: {e}"));
        assert_eq!(assembled.kernels[0].stack_bytes, 0, "{target} {schedule}");
        let code = nvdisasm.instructions(&assembled.cubin).unwrap_or_else(|e| panic!("{target} {schedule}: {e}"));
        assert_eq!(schedule.class().kept_by(&code[&name]), Ok(()), "{target} {schedule}");
    }
}

#[test]
fn the_launch_has_ctas_for_every_tile() {
    let source = product("bf16", (520, 264, 40), [false, true], "bf16", "");
    for (schedule, ctas) in [(single(64, 2), 5 * 5), (paired(64, 2), 2 * 3 * 5)] {
        let schedule = Schedule::Tcgen05(schedule);
        assert_eq!(product::grid(&source, Target::Sm100a, schedule), ctas, "{schedule}");
    }
    // Where threads carry an operand, tiles are walked over in order.
    let refused = |source: &str, schedule| product::refused(source, Target::Sm100a, Schedule::Tcgen05(schedule));
    let carried = Tcgen05Schedule { carriers: 1, ..single(64, 2) };
    let odd = product("bf16", (128, 64, 74), [false, true], "bf16", "");
    assert!(refused(&odd, carried).contains("tiles that are taken over"));
}
