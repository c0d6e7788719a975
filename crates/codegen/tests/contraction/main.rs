//! The contraction kernels' main loops: run on the CPU against the plain sum, assembled for every target, chosen by rule.

mod block_scaled;
mod carried;
mod cases;
#[path = "../emulation/mod.rs"]
mod emulation;
mod few_rows;
mod folds;
mod grouped;
mod machine_code;
mod mma_ring;
mod pairs;
mod plain;
mod product;
mod quantised;
mod random_products;
mod realigned;
#[path = "../emulation/region.rs"]
mod region;
mod regions;
mod scaled;
mod schedules;
mod splits;
mod takeover;
mod tcgen05;
mod wgmma;

use gable_codegen::Class;
use gable_codegen::contraction;
use gable_codegen::contraction::few_rows::schedule::{FewRowsSchedule, FragmentsSchedule, LanesSchedule};
use gable_codegen::contraction::mma_ring::schedule::MmaRingSchedule;
use gable_codegen::contraction::problem::{Digit, Major, Memory, Operand, Problem, Store, Window};
use gable_codegen::contraction::rule;
use gable_codegen::contraction::schedule::{DirectSchedule, FmaSchedule, MmaSyncSchedule, Schedule, Tile};
use gable_codegen::contraction::tcgen05::schedule::Tcgen05Schedule;
use gable_codegen::contraction::wgmma::schedule::{Sharing, WgmmaSchedule};
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Kernel, KernelBuilder, Module, Target};
use gable_tensor::random::Random;
use gable_tensor::{DType, Scalar};
use plain::{Plain, elements, fill, product, reference};
use std::collections::BTreeMap;

fn kernel(
    problem: &Problem,
    schedule: &Schedule,
    behind: &[Option<Memory>; 2],
    batch: &[Vec<i64>; 2],
    target: Target,
) -> Kernel {
    let mut k = KernelBuilder::new("contraction", target);
    let mut plain = Plain::new(&mut k, problem, behind.clone(), batch.clone());
    contraction::emit(&mut k, problem, schedule, &mut plain).unwrap_or_else(|e| panic!("{problem}: {e}"));
    k.finish()
}

/// Runs the kernel on every target in every schedule and demands the exact result.
fn check(problem: &Problem, schedule: &Schedule, behind: [Option<Memory>; 2]) {
    check_batched(problem, schedule, behind, [Vec::new(), Vec::new()]);
}

/// The same with elements between batch entries of the factors.
fn check_batched(problem: &Problem, schedule: &Schedule, behind: [Option<Memory>; 2], batch: [Vec<i64>; 2]) {
    check_on(&emulation::TARGETS, problem, schedule, behind, batch);
}

/// The same on some targets.
fn check_on(
    targets: &[Target],
    problem: &Problem,
    schedule: &Schedule,
    behind: [Option<Memory>; 2],
    batch: [Vec<i64>; 2],
) {
    let memory_of = |operand: &Operand, behind: &Option<Memory>| match operand {
        Operand::Memory(memory) => memory.clone(),
        Operand::Expression { .. } => behind.clone().expect("an expression has memory behind it"),
    };
    let memories = [memory_of(&problem.a, &behind[0]), memory_of(&problem.b, &behind[1])];
    let data: Vec<Vec<u8>> = memories
        .iter()
        .zip(&batch)
        .zip(1..)
        .map(|((memory, strides), seed)| fill(memory.stored, elements(memory, &problem.batch, strides), seed))
        .collect();
    let factor = [&problem.a, &problem.b].iter().filter(|o| matches!(o, Operand::Expression { .. })).count();
    let expected =
        reference(problem, [&memories[0], &memories[1]], &batch, [&data[0], &data[1]], 2f64.powi(factor as i32));
    for &target in targets {
        let kernel = emulation::decode(&kernel(problem, schedule, &behind, &batch, target), target);
        for order in emulation::SCHEDULES {
            let found = emulated(&kernel, problem, schedule, &data, expected.len(), order)
                .unwrap_or_else(|fault| panic!("{problem}\n{schedule}\n{target}, {order}: {fault}"));
            let wrong = found.iter().zip(&expected).filter(|(f, e)| f != e).count();
            let first = found.iter().zip(&expected).position(|(f, e)| f != e);
            assert_eq!(
                first,
                None,
                "{problem}\n{schedule}\n{target}, {order}: {wrong} of {} wrong, first {:?} for {:?}",
                found.len(),
                first.map(|i| found[i]),
                first.map(|i| expected[i])
            );
        }
    }
}

/// The result of a decoded kernel over its two factors.
fn emulated(
    kernel: &gable_emulator::Kernel,
    problem: &Problem,
    schedule: &Schedule,
    data: &[Vec<u8>],
    elements: usize,
    order: gable_emulator::Schedule,
) -> Result<Vec<f64>, String> {
    let width = problem.out.bytes();
    let mut machine = emulation::Machine::new(order);
    let (a, b) = (machine.input("a", &data[0]), machine.input("b", &data[1]));
    let c = machine.output("c", elements * width);
    let (ctas, threads) = (schedule.ctas(problem) as u32, schedule.threads());
    let shared = schedule.shared_bytes(problem);
    let cluster = [schedule.cluster(), 1, 1];
    machine.run(kernel, &gable_emulator::Launch { cluster, ..launch_over(&[a, b, c], ctas, threads, shared) })?;
    let bytes = machine.bytes(c)?;
    Ok(bytes.chunks(width).map(|b| Scalar::load(problem.out, b).as_f64()).collect())
}

fn mma(m: u32, n: u32, k: u32, warps: (u32, u32), stages: u32) -> Schedule {
    Schedule::MmaSync(MmaSyncSchedule { tile: Tile { m, n, k }, products: 1, warps, stages, group: 2 })
}

fn fma(m: u32, n: u32, k: u32, thread: (u32, u32)) -> Schedule {
    Schedule::Fma(FmaSchedule { tile: Tile { m, n, k }, products: 1, thread, group: 2 })
}

fn memory(operand: &Operand) -> Memory {
    match operand {
        Operand::Memory(memory) => memory.clone(),
        Operand::Expression { .. } => unreachable!("the test's operand is memory"),
    }
}

#[test]
fn mma_sync_multiplies_every_majorness() {
    for transposed in [[false, false], [false, true], [true, false], [true, true]] {
        let problem = product(DType::BF16, (64, 64, 64), transposed);
        check(&problem, &mma(32, 32, 32, (2, 2), 2), [None, None]);
        check(&problem, &mma(32, 64, 64, (1, 2), 3), [None, None]);
    }
}

#[test]
fn mma_sync_is_right_at_edges() {
    for (m, n, k) in [(1, 1, 1), (7, 17, 63), (65, 63, 17), (72, 40, 88), (33, 136, 40)] {
        for transposed in [[false, false], [true, true]] {
            let problem = product(DType::F16, (m, n, k), transposed);
            check(&problem, &mma(32, 64, 32, (2, 2), 3), [None, None]);
        }
    }
}

#[test]
fn mma_sync_takes_expressions_conversions_and_batches() {
    let shape = (40, 48, 72);
    // f32 in memory, converted on the way.
    let mut converted = product(DType::BF16, shape, [false, false]);
    let narrow = |m: &Operand| match m {
        Operand::Memory(memory) => Memory { stored: DType::F32, ..memory.clone() },
        Operand::Expression { .. } => unreachable!("a product of memory"),
    };
    converted.a = Operand::Memory(narrow(&converted.a));
    converted.b = Operand::Memory(narrow(&converted.b));
    check(&converted, &mma(32, 64, 32, (2, 2), 3), [None, None]);
    // Computed by the region.
    let mut computed = converted.clone();
    let behind = [Some(narrow(&converted.a)), Some(narrow(&converted.b))];
    computed.a = Operand::Expression { major: Major::K, lanes: 4 };
    computed.b = Operand::Expression { major: Major::Outer, lanes: 4 };
    check(&computed, &mma(32, 64, 32, (2, 2), 3), behind.clone());
    computed.b = Operand::Expression { major: Major::K, lanes: 1 };
    check(&computed, &mma(32, 32, 64, (1, 2), 2), behind);
    // Two batch dimensions, B repeated over the first.
    let mut batched = product(DType::BF16, shape, [false, true]);
    batched.batch = vec![2, 3];
    let size = |n: i64| n * shape.2 as i64;
    let strides = [vec![3 * size(40), size(40)], vec![0, size(48)]];
    check_batched(&batched, &mma(32, 32, 32, (2, 2), 4), [None, None], strides);
}

#[test]
fn results_may_leave_along_m() {
    for out in [DType::F32, DType::BF16] {
        let mut problem = product(DType::BF16, (48, 40, 32), [false, false]);
        problem.out = out;
        problem.store = Store { along_m: true, lanes: 8 };
        check(&problem, &mma(32, 64, 32, (2, 2), 2), [None, None]);
        problem.element = DType::F32;
        problem.a = Operand::Memory(Memory { stored: DType::F32, ..memory(&problem.a) });
        problem.b = Operand::Memory(Memory { stored: DType::F32, ..memory(&problem.b) });
        check(&problem, &fma(32, 32, 16, (4, 4)), [None, None]);
    }
}

#[test]
fn tf32_multiplies_in_k_order() {
    for (m, n, k) in [(40, 40, 40), (17, 33, 7)] {
        let problem = product(DType::Tf32, (m, n, k), [false, true]);
        check(&problem, &mma(32, 32, 32, (2, 2), 3), [None, None]);
    }
}

#[test]
fn fma_multiplies_every_type_and_majorness_at_edges() {
    for (m, n, k) in [(64, 64, 16), (1, 1, 1), (63, 65, 17), (17, 40, 7)] {
        for transposed in [[false, false], [false, true], [true, false], [true, true]] {
            let problem = product(DType::F32, (m, n, k), transposed);
            check(&problem, &fma(64, 64, 16, (8, 4)), [None, None]);
            check(&problem, &fma(32, 64, 8, (8, 8)), [None, None]);
        }
    }
    for dtype in [DType::I8, DType::U8, DType::I16, DType::I32, DType::F16] {
        check(&product(dtype, (33, 40, 18), [false, true]), &fma(32, 32, 16, (4, 4)), [None, None]);
    }
    for dtype in [DType::F64, DType::I64] {
        let problem = product(dtype, (33, 40, 18), [true, false]);
        check(&problem, &fma(32, 32, 8, (4, 4)), [None, None]);
    }
}

#[test]
fn few_rows_are_summed_along_k_and_along_n() {
    for dtype in [DType::F32, DType::BF16] {
        for transposed in [[false, true], [false, false], [true, false], [true, true]] {
            for (m, n, k) in [(1, 40, 512), (3, 50, 96), (8, 9, 70), (2, 300, 33)] {
                let problem = product(dtype, (m, n, k), transposed);
                let schedule = rule::choose(&problem, Target::Sm90a).expect("a schedule");
                assert!(matches!(schedule, Schedule::FewRows(_)), "{problem}: {schedule}");
                check(&problem, &schedule, [None, None]);
            }
        }
    }
}

/// A two-dimensional convolution: image `[2, 9, 10, channels]` or channels first, filters `[filters, 3, 2, channels]`.
fn convolution(dtype: DType, channels: usize, channels_last: bool, element: DType) -> Problem {
    let (n, h, w, filters) = (2usize, 9usize, 10usize, 12usize);
    let (kh, kw, stride, dilation, low) = (3usize, 2usize, (2usize, 1usize), (1i64, 2i64), (1i64, 1i64));
    let (oh, ow) = ((h + 2 - kh) / stride.0 + 1, (w + 2 - 3) / stride.1 + 1);
    let c = channels as i64;
    let (sn, sh, sw, sc) = if channels_last {
        ((h * w * channels) as i64, w as i64 * c, c, 1)
    } else {
        ((h * w * channels) as i64, w as i64, 1, (h * w) as i64)
    };
    let along = |size, axis, step: i64, stride: i64| Digit { size, stride: step * stride, window: Some((axis, step)) };
    let taps = [along(kh, 0, dilation.0, sh), along(kw, 1, dilation.1, sw)];
    let channel = Digit::plain(channels, sc);
    let digits = if channels_last { vec![taps[0], taps[1], channel] } else { vec![channel, taps[0], taps[1]] };
    let k = kh * kw * channels;
    let image = Memory {
        entries: None,
        stored: dtype,
        alignment: 256,
        offset: -low.0 * sh - low.1 * sw,
        outer: vec![Digit::plain(n, sn), along(oh, 0, stride.0 as i64, sh), along(ow, 1, stride.1 as i64, sw)],
        k: digits,
        windows: vec![Window { low: low.0, size: h }, Window { low: low.1, size: w }],
    };
    Problem {
        batch: Vec::new(),
        ragged: false,
        m: n * oh * ow,
        n: filters,
        k,
        element,
        out: DType::F32,
        a: Operand::Memory(image),
        b: Operand::Memory(Memory::matrix(dtype, (filters, k as i64), (k, 1))),
        quantised: None,
        further: Vec::new(),
        addend: false,
        columns_together: 1,
        scaled: None,
        realigned: false,
        short_sums: false,
        store: Store { along_m: false, lanes: 4 },
    }
}

#[test]
fn convolutions_are_gathered_from_the_image() {
    for channels_last in [true, false] {
        for channels in [1, 3, 8, 16] {
            let problem = convolution(DType::BF16, channels, channels_last, DType::BF16);
            check(&problem, &mma(32, 32, 32, (2, 2), 3), [None, None]);
            let problem = convolution(DType::F32, channels, channels_last, DType::F32);
            check(&problem, &fma(32, 32, 16, (4, 4)), [None, None]);
        }
        check(&convolution(DType::F32, 8, channels_last, DType::BF16), &mma(32, 32, 64, (2, 2), 2), [None, None]);
    }
}

/// Sizes, types and directions that meet every candidate schedule and every way of bringing operands.
fn sweep() -> Vec<Problem> {
    let mut problems = Vec::new();
    for (m, n, k) in [
        (4096, 4096, 4096),
        (128, 384, 384),
        (4095, 4097, 1003),
        (17, 500, 768),
        (1, 4096, 4096),
        (64, 64, 20000),
        (300, 20, 64),
    ] {
        for dtype in [DType::BF16, DType::F32, DType::F64, DType::I8] {
            problems.push(product(dtype, (m, n, k), [false, false]));
            problems.push(product(dtype, (m, n, k), [true, true]));
        }
    }
    for channels in [3, 32] {
        problems.push(convolution(DType::BF16, channels, true, DType::BF16));
        problems.push(convolution(DType::F32, channels, false, DType::F32));
    }
    problems.push(product(DType::Tf32, (512, 512, 512), [false, true]));
    problems
}

#[test]
fn every_chosen_kernel_assembles_without_spills_in_its_class() {
    let Ok(ptxas) = Ptxas::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas");
        eprintln!("SKIPPED: no ptxas");
        return;
    };
    // Every problem where tiles have the most shared memory and where they have the least; a share of them elsewhere.
    let all = std::env::var_os("GABLE_EXHAUSTIVE").is_some();
    for (position, &target) in Target::ALL.iter().enumerate() {
        let takes =
            |i: usize| all || matches!(target, Target::Sm90a | Target::Sm120a) || i % Target::ALL.len() == position;
        let mut module = Module::new(target, Vec::new());
        let mut names = BTreeMap::new();
        for (i, problem) in sweep().into_iter().enumerate().filter(|(i, _)| takes(*i)) {
            let schedule = rule::choose(&problem, target).unwrap_or_else(|e| panic!("{problem}: {e}"));
            let mut kernel = kernel(&problem, &schedule, &[None, None], &[Vec::new(), Vec::new()], target);
            // Kernels on the ordinary pipes may be of integers.
            let found = Class::found(&kernel).max(Class::Fma);
            assert_eq!(found, schedule.class(), "{problem}: {schedule}");
            kernel.name = format!("contraction_{i}");
            names.insert(kernel.name.clone(), format!("{problem}: {schedule}"));
            module.push(kernel);
        }
        let assembled = ptxas.assemble(&module.to_string(), target).unwrap_or_else(|e| panic!("{target}: {e}"));
        for resources in &assembled.kernels {
            let what = &names[&resources.name];
            assert_eq!(resources.stack_bytes, 0, "{target} {what}: {resources:?}");
            println!("{target} {} registers: {what}", resources.registers);
        }
    }
}

#[test]
fn random_problems_by_the_chosen_schedules_are_exact() {
    let mut random = Random::new(7);
    for _ in 0..40 {
        let mut below = |bound: u64| random.below(bound) as usize;
        let dtype = [DType::BF16, DType::F16, DType::F32][below(3)];
        // Now and then a multiple of what vectors and tiles are made of.
        let mut size = |most: u64| if below(3) == 0 { 8 * (1 + below(most / 8)) } else { 1 + below(most) };
        let shape = (size(140), size(140), size(100));
        let transposed = [below(2) == 0, below(2) == 0];
        let target = [Target::Sm90a, Target::Sm120a, Target::Sm121a][below(3)];
        let problem = product(dtype, shape, transposed);
        let schedule = rule::choose(&problem, target).expect("a schedule");
        check_on(&[target], &problem, &schedule, [None, None], [Vec::new(), Vec::new()]);
    }
}

#[test]
fn the_rule_gives_large_products_large_tiles_and_small_ones_many() {
    let chosen = |dtype, shape, target| {
        rule::choose(&product(dtype, shape, [false, false]), target).expect("a schedule").to_string()
    };
    let table = [
        (DType::BF16, (8192, 8192, 8192), Target::Sm90a),
        (DType::BF16, (8192, 8192, 8192), Target::Sm120a),
        (DType::BF16, (512, 512, 512), Target::Sm90a),
        (DType::BF16, (16, 4096, 4096), Target::Sm90a),
        (DType::BF16, (1, 4096, 4096), Target::Sm90a),
        (DType::F32, (4096, 4096, 4096), Target::Sm100a),
        (DType::F32, (64, 64, 64), Target::Sm100a),
        (DType::F64, (1024, 1024, 1024), Target::Sm103a),
        (DType::I8, (1024, 1024, 1024), Target::Sm121a),
    ];
    let lines: Vec<String> = table
        .into_iter()
        .map(|(dtype, (m, n, k), target)| format!("{m}x{n}x{k} {dtype} {target}: {}", chosen(dtype, (m, n, k), target)))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn schedules_and_problems_that_do_not_fit_are_refused_by_name() {
    let problem = product(DType::BF16, (512, 512, 512), [false, false]);
    let refused =
        |schedule: Schedule, target| schedule.validate(&problem, target).expect_err("it does not fit").to_string();
    let cases = [
        refused(mma(128, 128, 64, (2, 4), 6), Target::Sm120a),
        refused(mma(256, 256, 32, (2, 4), 3), Target::Sm90a),
        refused(mma(128, 128, 64, (1, 1), 2), Target::Sm90a),
        refused(mma(120, 128, 32, (2, 4), 3), Target::Sm90a),
        refused(mma(128, 128, 32, (2, 4), 1), Target::Sm90a),
        refused(fma(64, 64, 16, (6, 4)), Target::Sm90a),
        product(DType::BF16, (0, 8, 8), [false, false]).check().expect_err("it has no result").to_string(),
        product(DType::BF16, (8, 1 << 31, 8), [false, false]).check().expect_err("it is too large").to_string(),
        rule::choose(&product(DType::E2M1, (8, 8, 8), [false, false]), Target::Sm90a)
            .expect_err("no kernel multiplies it")
            .to_string(),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

/// Whatever numbers a schedule names, it is checked without a panic and prints.
#[test]
fn schedules_of_any_numbers_are_checked() {
    let mut random = Random::new(11);
    let mut refused = 0;
    for round in 0..20_000 {
        let mut number =
            || [0, 1, 2, 3, 4, 8, 16, 31, 64, 128, 256, 1000, 1 << 16, u32::MAX][random.below(14) as usize];
        let tile = Tile { m: number(), n: number(), k: number() };
        let (products, stages, group, ctas) = (number(), number(), number(), number());
        let (warps, carriers) = ((number(), number()), number());
        let schedule = match round % 8 {
            0 => Schedule::Wgmma(WgmmaSchedule {
                tile,
                products,
                consumers: number(),
                carriers,
                sharing: if round % 16 < 8 { Sharing::Cooperative } else { Sharing::PingPong },
                stages,
                buffers: number(),
                group,
                ctas,
                split: number(),
                along: (number(), number()),
            }),
            1 => Schedule::Tcgen05(Tcgen05Schedule {
                tile,
                products,
                ctas_per_tile: number(),
                carriers,
                scales: number(),
                accumulators: number(),
                stages,
                group,
                ctas,
                takes_over: round % 16 < 8,
            }),
            2 => Schedule::MmaRing(MmaRingSchedule { tile, warps, scales: number(), stages, group, ctas }),
            3 => Schedule::MmaSync(MmaSyncSchedule { tile, products, warps, stages, group }),
            4 => Schedule::Fma(FmaSchedule { tile, products, thread: warps, group }),
            5 => Schedule::FewRows(FewRowsSchedule::Lanes(LanesSchedule { warps: number(), columns: number() })),
            6 => Schedule::FewRows(FewRowsSchedule::Fragments(FragmentsSchedule {
                warps: number(),
                tiles: number(),
                products,
                depth: number(),
                ctas,
                rows_ahead: round % 16 < 8,
            })),
            _ => Schedule::Direct(DirectSchedule { lanes: number(), positions: number() }),
        };
        let shape = [(512, 512, 512), (1, 40, 64), (1 << 30, 8, 3)][random.below(3) as usize];
        let problem = product(DType::BF16, shape, [false, true]);
        for target in [Target::Sm90a, Target::Sm100a, Target::Sm120a] {
            let found = schedule.validate(&problem, target);
            refused += usize::from(found.is_err());
            assert!(!schedule.to_string().is_empty());
        }
    }
    assert!(refused > 50_000, "only {refused} schedules of 60000 are refused");
}

#[test]
fn a_small_kernel_prints_as_one_would_write_it() {
    let problem = product(DType::BF16, (32, 32, 64), [false, true]);
    let kernel = kernel(&problem, &mma(32, 32, 32, (1, 1), 2), &[None, None], &[vec![], vec![]], Target::Sm90a);
    insta::assert_snapshot!(Module::new(Target::Sm90a, vec![kernel]).to_string());
}

/// The launch of a kernel whose parameters are addresses.
fn launch_over(addresses: &[u64], ctas: u32, threads: u32, shared_bytes: u32) -> gable_emulator::Launch {
    gable_emulator::Launch {
        grid: [ctas, 1, 1],
        block: [threads, 1, 1],
        cluster: [1; 3],
        shared_bytes,
        params: addresses.iter().flat_map(|address| address.to_le_bytes()).collect(),
    }
}
