//! One product whose columns go to several outputs, by given schedules of every pipeline, against the graph's evaluation.

use crate::product;
use crate::schedules;
use gable_codegen::contraction::few_rows::schedule::{FewRowsSchedule, FragmentsSchedule};
use gable_codegen::contraction::schedule::{FmaSchedule, MmaSyncSchedule, Schedule, Tile};
use gable_codegen::contraction::wgmma::schedule::Sharing;
use gable_ptx::Target;
use gable_tensor::DType;

/// A product with bias, of which the first `parts[0]` columns leave as they are, the next through ReLU, the last as heads
/// of eight columns, each head's rows together.
fn split(dtype: &str, m: usize, parts: [usize; 3], k: usize) -> String {
    let n: usize = parts.iter().sum();
    let [q, r, s] = parts;
    let slice = |name: &str, first: usize, count: usize| {
        format!(
            "    %{name} = slice %moved {{starts=[0, {first}], ends=[{m}, {}], steps=[1, 1]}} : {dtype}[{m}, {count}]\n",
            first + count
        )
    };
    let (first, second, third) = (slice("q", 0, q), slice("r", q, r), slice("s", q + r, s));
    let heads = s / 8;
    format!(
        "graph @split(%a: {dtype}[{m}, {k}], %b: {dtype}[{n}, {k}], %bias: {dtype}[{n}]) {{\n  region @r contraction {{\n    \
         %t = transpose %b {{perm=[1, 0]}} : {dtype}[{k}, {n}]\n    \
         %sum = matmul %a, %t {{acc=f32, out={dtype}}} : {dtype}[{m}, {n}]\n    \
         %wide = broadcast %bias {{shape=[{m}, {n}]}} : {dtype}[{m}, {n}]\n    \
         %moved = add %sum, %wide : {dtype}[{m}, {n}]\n{first}{second}{third}    \
         %act = relu %r : {dtype}[{m}, {r}]\n    \
         %rows = reshape %s {{shape=[{m}, {heads}, 8]}} : {dtype}[{m}, {heads}, 8]\n    \
         %heads = transpose %rows {{perm=[1, 0, 2]}} : {dtype}[{heads}, {m}, 8]\n  }}\n  \
         return q = %q, r = %act, s = %heads\n}}\n"
    )
}

/// The same with rows for all parts, so that all leave by the copy engine where the parts are whole chunks.
fn rows(dtype: &str, m: usize, parts: [usize; 3], k: usize) -> String {
    split(dtype, m, parts, k).replace("s = %heads", "s = %s").lines().filter(|line| !line.contains("%rows")).fold(
        String::new(),
        |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        },
    )
}

fn wgmma(extent: (u32, u32), dtype: DType, consumers: u32, sharing: Sharing) -> Schedule {
    Schedule::Wgmma(schedules::wgmma(extent, dtype, consumers, sharing))
}

fn tcgen05(n: u32, dtype: DType) -> Schedule {
    Schedule::Tcgen05(schedules::tcgen05(n, dtype, 3))
}

fn mma((m, n, k): (u32, u32, u32), warps: (u32, u32)) -> Schedule {
    Schedule::MmaSync(MmaSyncSchedule { tile: Tile { m, n, k }, products: 1, warps, stages: 3, group: 2 })
}

#[test]
fn parts_of_whole_chunks_leave_by_the_copy_engine() {
    for m in [128, 70] {
        let source = rows("bf16", m, [128, 64, 64], 72);
        let kernel = product::kernel(&source, Target::Sm90a, wgmma((128, 128), DType::BF16, 2, Sharing::Cooperative));
        assert!(kernel.to_string().contains("map_out2"), "results leave through maps");
        product::check(&source, Target::Sm90a, wgmma((128, 128), DType::BF16, 2, Sharing::Cooperative));
        product::check(&source, Target::Sm90a, wgmma((64, 64), DType::BF16, 2, Sharing::PingPong));
        product::check(&source, Target::Sm100a, tcgen05(128, DType::BF16));
    }
}

#[test]
fn other_parts_are_stored_from_registers() {
    for parts in [[128, 64, 64], [40, 24, 8], [3, 5, 16]] {
        let source = split("bf16", 70, parts, 64);
        product::check(&source, Target::Sm90a, wgmma((64, 64), DType::BF16, 1, Sharing::Cooperative));
        product::check(&source, Target::Sm100a, tcgen05(64, DType::BF16));
        product::check(&source, Target::Sm120a, mma((32, 32, 32), (2, 2)));
    }
}

#[test]
fn every_pipeline_splits() {
    let tile = Tile { m: 32, n: 32, k: 8 };
    let fma = Schedule::Fma(FmaSchedule { tile, products: 1, thread: (4, 4), group: 2 });
    product::check(&split("f32", 34, [12, 20, 8], 20), Target::Sm120a, fma);
    let fragments = FragmentsSchedule { warps: 2, tiles: 1, products: 1, depth: 1, ctas: 2, rows_ahead: true };
    let fragments = Schedule::FewRows(FewRowsSchedule::Fragments(fragments));
    product::check(&split("bf16", 3, [24, 10, 8], 256), Target::Sm90a, fragments);
}
