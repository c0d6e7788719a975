//! Results quantised in blocks of columns with a scale for each, in the product's own kernel, against the graph's evaluation.

use crate::{product, schedules};
use gable_codegen::contraction::schedule::Schedule;
use gable_codegen::contraction::wgmma::schedule::Sharing;
use gable_ptx::Target;
use gable_tensor::random::Random;
use gable_tensor::{DType, Tensor};

/// How a result is quantised.
#[derive(Clone, Copy)]
struct Format {
    code: &'static str,
    largest: f32,
    scale: &'static str,
    block: usize,
}

const FP8: Format = Format { code: "e4m3", largest: 448.0, scale: "f32", block: 128 };
const MXFP8: Format = Format { code: "e4m3", largest: 448.0, scale: "ue8m0", block: 32 };
const MXFP4: Format = Format { code: "e2m1", largest: 6.0, scale: "ue8m0", block: 32 };
const NVFP4: Format = Format { code: "e2m1", largest: 6.0, scale: "e4m3", block: 16 };
const ALL: [Format; 4] = [FP8, MXFP8, MXFP4, NVFP4];

/// A product with a bias and an activation, and what it is quantised to. Rows of zeros have a scale of their own.
fn source((m, n, k): (usize, usize, usize), format: Format) -> String {
    let Format { code, largest, scale, block } = format;
    let blocks = n / block;
    format!(
        "graph @quantised(%a: bf16[{m}, {k}], %b: bf16[{k}, {n}], %bias: bf16[{n}]) {{\n  region @r contraction {{\n    \
         %sum = matmul %a, %b {{acc=f32, out=bf16}} : bf16[{m}, {n}]\n    \
         %all = broadcast %bias {{shape=[{m}, {n}]}} : bf16[{m}, {n}]\n    \
         %biased = add %sum, %all : bf16[{m}, {n}]\n    \
         %y = relu %biased : bf16[{m}, {n}]\n    \
         %wide = cast %y {{to=f32}} : f32[{m}, {n}]\n    \
         %x = reshape %wide {{shape=[{m}, {blocks}, {block}]}} : f32[{m}, {blocks}, {block}]\n    \
         %size = abs %x : f32[{m}, {blocks}, {block}]\n    \
         %amax = reduce %size {{kind=max, axes=[2], keep=true}} : f32[{m}, {blocks}, 1]\n    \
         %least = const {{value=f32[](0.001)}} : f32[]\n    \
         %leasts = broadcast %least {{shape=[{m}, {blocks}, 1]}} : f32[{m}, {blocks}, 1]\n    \
         %some = max %amax, %leasts : f32[{m}, {blocks}, 1]\n    \
         %largest = const {{value=f32[]({largest:.1})}} : f32[]\n    \
         %largests = broadcast %largest {{shape=[{m}, {blocks}, 1]}} : f32[{m}, {blocks}, 1]\n    \
         %ratio = div %some, %largests : f32[{m}, {blocks}, 1]\n    \
         %scale = cast %ratio {{to={scale}}} : {scale}[{m}, {blocks}, 1]\n    \
         %exact = cast %scale {{to=f32}} : f32[{m}, {blocks}, 1]\n    \
         %scales = broadcast %exact {{shape=[{m}, {blocks}, {block}]}} : f32[{m}, {blocks}, {block}]\n    \
         %quotient = div %x, %scales : f32[{m}, {blocks}, {block}]\n    \
         %code = cast %quotient {{to={code}}} : {code}[{m}, {blocks}, {block}]\n    \
         %codes = reshape %code {{shape=[{m}, {n}]}} : {code}[{m}, {n}]\n    \
         %s = reshape %scale {{shape=[{m}, {blocks}]}} : {scale}[{m}, {blocks}]\n  }}\n  return codes = %codes, scales = %s\n}}\n"
    )
}

/// The same with codes of e2m1 two to a byte.
fn packed(shape: (usize, usize, usize), format: Format) -> String {
    in_pairs(&source(shape, format), shape)
}

fn in_pairs(source: &str, (m, n, _): (usize, usize, usize)) -> String {
    let apart = format!("%codes = reshape %code {{shape=[{m}, {n}]}} : e2m1[{m}, {n}]");
    let half = n / 2;
    let pairs = format!(
        "%pairs = reshape %code {{shape=[{m}, {half}, 2]}} : e2m1[{m}, {half}, 2]\n    \
         %codes = bitcast %pairs {{to=u8}} : u8[{m}, {half}]"
    );
    assert!(source.contains(&apart), "{source}");
    source.replace(&apart, &pairs)
}

fn wgmma(m: u32, n: u32, consumers: u32, sharing: Sharing) -> Schedule {
    Schedule::Wgmma(schedules::wgmma((m, n), DType::BF16, consumers, sharing))
}

#[test]
fn wgmma_gives_codes_and_scales_of_every_format() {
    for format in ALL {
        for shape in [(128, 256, 64), (70, 384, 40)] {
            let source = source(shape, format);
            product::check(&source, Target::Sm90a, wgmma(128, 128, 2, Sharing::Cooperative));
            product::check(&source, Target::Sm90a, wgmma(64, 256, 2, Sharing::PingPong));
        }
    }
}

#[test]
fn tcgen05_gives_codes_and_scales_of_every_format() {
    for format in ALL {
        for shape in [(128, 256, 64), (70, 384, 40)] {
            let source = source(shape, format);
            let single = schedules::tcgen05(128, DType::BF16, 3);
            product::check(&source, Target::Sm100a, Schedule::Tcgen05(single));
            let pair = schedules::paired(schedules::tcgen05(256, DType::BF16, 3));
            product::check(&source, Target::Sm103a, Schedule::Tcgen05(pair));
        }
    }
}

#[test]
fn warps_that_the_copy_engine_feeds_give_codes_and_scales_of_every_format() {
    for format in ALL {
        for shape in [(128, 256, 64), (70, 384, 40)] {
            let source = source(shape, format);
            product::check(
                &source,
                Target::Sm120a,
                Schedule::MmaRing(schedules::mma_ring((64, 128), (2, 1), DType::BF16, 3)),
            );
        }
    }
}

/// Every pipeline, with scales that leave as `moved` says instead of as `rows`.
fn check_moved(source: &str, rows: &str, moved: &str) {
    assert!(source.contains(rows), "{source}");
    let source = source.replace(rows, moved);
    product::check(&source, Target::Sm90a, wgmma(128, 128, 2, Sharing::PingPong));
    product::check(&source, Target::Sm100a, Schedule::Tcgen05(schedules::tcgen05(128, DType::BF16, 3)));
    let ring = schedules::mma_ring((64, 128), (2, 1), DType::BF16, 3);
    product::check(&source, Target::Sm120a, Schedule::MmaRing(ring));
}

#[test]
fn scales_leave_transposed_or_as_atoms_of_128_rows_by_four() {
    let transposed = "%t = transpose %scale {perm=[1, 0, 2]} : ue8m0[8, 256, 1]\n    \
                      %s = reshape %t {shape=[8, 256]} : ue8m0[8, 256]";
    let atoms = "%parts = reshape %scale {shape=[2, 4, 32, 2, 4]} : ue8m0[2, 4, 32, 2, 4]\n    \
                 %s = transpose %parts {perm=[0, 3, 2, 1, 4]} : ue8m0[2, 2, 32, 4, 4]";
    let rows = "%s = reshape %scale {shape=[256, 8]} : ue8m0[256, 8]";
    for moved in [transposed, atoms] {
        check_moved(&source((256, 256, 64), MXFP8), rows, moved);
    }
}

/// Beside bytes of two codes, scales of 16 columns as the next product takes them.
#[test]
fn scales_of_codes_in_pairs_leave_transposed_or_as_atoms() {
    let transposed = "%t = transpose %scale {perm=[1, 0, 2]} : e4m3[16, 256, 1]\n    \
                      %s = reshape %t {shape=[16, 256]} : e4m3[16, 256]";
    let atoms = "%parts = reshape %scale {shape=[2, 4, 32, 4, 4]} : e4m3[2, 4, 32, 4, 4]\n    \
                 %s = transpose %parts {perm=[0, 3, 2, 1, 4]} : e4m3[2, 4, 32, 4, 4]";
    let rows = "%s = reshape %scale {shape=[256, 16]} : e4m3[256, 16]";
    for moved in [transposed, atoms] {
        check_moved(&packed((256, 256, 64), NVFP4), rows, moved);
    }
}

#[test]
fn any_shape_is_quantised_as_the_graph_says() {
    let mut random = Random::named(1, "quantised");
    let mut below = |bound: u64| random.below(bound) as usize;
    for round in 0..12 {
        let format = ALL[round % ALL.len()];
        let n = format.block.max(16) * (1 + below(512 / format.block as u64));
        let shape = (1 + below(160), n, 8 * (1 + below(16)));
        let source = source(shape, format);
        let target = [Target::Sm90a, Target::Sm100a, Target::Sm120a][round / ALL.len()];
        let schedule = match target {
            Target::Sm90a => wgmma(128, 128, 2, Sharing::Cooperative),
            Target::Sm100a => Schedule::Tcgen05(schedules::tcgen05(128, DType::BF16, 3)),
            _ => Schedule::MmaRing(schedules::mma_ring((64, 128), (4, 1), DType::BF16, 3)),
        };
        product::check(&source, target, schedule);
    }
}

#[test]
fn what_no_tile_holds_is_quantised_by_a_second_kernel() {
    let cases = [
        ((70, 256, 64), Target::Sm90a, 1),
        ((70, 256, 64), Target::Sm100a, 1),
        ((70, 256, 64), Target::Sm120a, 1),
        ((4, 256, 64), Target::Sm90a, 2),
    ];
    for (shape, target, kernels) in cases {
        for format in ALL {
            // The factors in memory as few rows are multiplied best.
            let source = source(shape, format)
                .replace("%b: bf16[64, 256]", "%bt: bf16[256, 64]")
                .replace("    %sum =", "    %b = transpose %bt {perm=[1, 0]} : bf16[64, 256]\n    %sum =");
            assert_eq!(product::launches(&source, target), kernels, "{target}\n{source}");
            if format.code == "e2m1" {
                assert_eq!(product::launches(&in_pairs(&source, shape), target), kernels, "{target}\n{source}");
            }
        }
    }
}

#[test]
fn codes_of_four_bits_leave_two_to_a_byte() {
    for format in [MXFP4, NVFP4] {
        for shape in [(128, 256, 64), (70, 416, 40)] {
            let source = packed(shape, format);
            product::check(&source, Target::Sm90a, wgmma(128, 128, 2, Sharing::Cooperative));
            product::check(&source, Target::Sm90a, wgmma(64, 256, 2, Sharing::PingPong));
            let single = schedules::tcgen05(128, DType::BF16, 3);
            product::check(&source, Target::Sm100a, Schedule::Tcgen05(single));
            let pair = schedules::paired(schedules::tcgen05(256, DType::BF16, 3));
            product::check(&source, Target::Sm103a, Schedule::Tcgen05(pair));
            let ring = schedules::mma_ring((64, 128), (2, 1), DType::BF16, 3);
            product::check(&source, Target::Sm120a, Schedule::MmaRing(ring));
        }
    }
}

/// A product of zeros plus any numbers, quantised; blocks of zeros have a scale of zero.
fn of_addend((m, n, k): (usize, usize, usize), format: Format) -> String {
    let all = format!("%all = broadcast %bias {{shape=[{m}, {n}]}} : bf16[{m}, {n}]\n    ");
    let middle = format!(
        "%biased = add %sum, %all : bf16[{m}, {n}]\n    %y = relu %biased : bf16[{m}, {n}]\n    \
         %wide = cast %y {{to=f32}} : f32[{m}, {n}]"
    );
    let source = source((m, n, k), format);
    assert!(source.contains(&all) && source.contains(&middle), "{source}");
    source
        .replace(&all, "")
        .replace(&middle, &format!("%wide = add %sum, %bias : f32[{m}, {n}]"))
        .replace(&format!("%bias: bf16[{n}]"), &format!("%bias: f32[{m}, {n}]"))
        .replace(&format!("{{acc=f32, out=bf16}} : bf16[{m}, {n}]"), &format!("{{acc=f32, out=f32}} : f32[{m}, {n}]"))
        .replace("f32[](0.001)", "f32[](0.0)")
}

/// Rows of ordinary numbers, with zeros of both signs and numbers far below the others; every eighth row has numbers of every size, by
/// blocks of 16 also zeros alone, numbers below the normal ones, infinities and no numbers.
fn any_numbers(rows: usize, columns: usize) -> Tensor {
    let mut random = Random::named(7, "quotients");
    let mut next = move |bound: u64| random.below(bound) as u32;
    let mut bits: Vec<u32> = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        let is_wild = row % 8 == 7;
        let (mut kind, mut exponent) = (0, 0);
        for column in 0..columns {
            if column % 16 == 0 {
                (kind, exponent) = (next(8), next(254));
            }
            let fraction = next(2) << 31 | next(1 << 23);
            bits.push(match (is_wild, kind) {
                (true, 0) => next(2) << 31,
                (true, 1) => next(1 << 22),
                (true, 2) if next(8) == 0 => 0x7f80_0000 | next(2) << 31,
                (true, 3) if next(8) == 0 => 0x7fc0_0000,
                (true, 4) => fraction | next(254) << 23,
                (true, _) => fraction | exponent.saturating_sub(next(12)) << 23,
                // The first of a block is no zero, so that its scale is none.
                _ if column % 16 == 0 => fraction | (120 + next(12)) << 23,
                _ => match next(8) {
                    0 => next(2) << 31,
                    1 => fraction | next(100) << 23,
                    _ => fraction | (116 + next(16)) << 23,
                },
            });
        }
    }
    let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    Tensor::new(DType::F32, vec![rows, columns], bytes).expect("four bytes for each")
}

#[test]
fn quotients_by_scales_have_the_bits_of_a_division() {
    let (m, n, k) = (128, 256, 16);
    let given =
        [("a", Tensor::new(DType::BF16, vec![m, k], vec![0; 2 * m * k]).expect("zeros")), ("bias", any_numbers(m, n))];
    let e5m2 = Format { code: "e5m2", largest: 57344.0, scale: "f32", block: 64 };
    for format in [FP8, NVFP4, e5m2, Format { code: "e4m3", block: 16, ..FP8 }] {
        let source = of_addend((m, n, k), format);
        let schedules = [
            (Target::Sm90a, wgmma(128, 128, 2, Sharing::Cooperative)),
            (Target::Sm100a, Schedule::Tcgen05(schedules::tcgen05(128, DType::BF16, 3))),
            (Target::Sm120a, Schedule::MmaRing(schedules::mma_ring((64, 128), (2, 1), DType::BF16, 3))),
        ];
        for (target, schedule) in schedules {
            product::check_given(&source, target, schedule, &given);
        }
    }
}
