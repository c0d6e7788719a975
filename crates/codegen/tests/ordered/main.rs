//! Ordered and window regions: run on the CPU against the graph's evaluation, assembled for every target.
//!
//! Elements are small whole numbers and halves, so that every sum, product and mean is exact in the type that it is
//! summed in, and results must be equal bit for bit, NaN apart.

#[path = "../emulation/mod.rs"]
mod emulation;
#[path = "../emulation/region.rs"]
mod region;

use gable_codegen::compile::region_work;
use gable_codegen::{Hardware, Program, Work};
use gable_ir::attr::{ReduceKind, ScatterKind};
use gable_ir::verify::verify as verify_graph;
use gable_ir::{Builder, Module, Op, Region, RegionKind, Type, eval, ops, text};
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Kernel, Module as PtxModule, Target, verify};
use gable_tensor::random::Random;
use gable_tensor::{DType, Scalar, Tensor};
use rayon::prelude::*;
use std::collections::BTreeMap;

const FLOATS: [DType; 6] = [DType::F32, DType::F64, DType::F16, DType::BF16, DType::E4M3, DType::E5M2];
const INTEGERS: [DType; 8] =
    [DType::I8, DType::I16, DType::I32, DType::I64, DType::U8, DType::U16, DType::U32, DType::U64];

fn every_dtype() -> impl Iterator<Item = DType> {
    FLOATS.into_iter().chain(INTEGERS).chain([DType::Bool])
}

/// A graph of one region over its inputs, in order.
struct Case {
    module: Module,
    inputs: Vec<Tensor>,
}

impl Case {
    fn name(&self) -> String {
        self.module.graph.to_string()
    }

    fn program(&self) -> Program {
        let graph = &self.module.graph;
        Program::of_region(graph, &graph.regions[0]).unwrap_or_else(|e| panic!("{}: {e}", self.name()))
    }

    fn work(&self, program: &Program, target: Target) -> Vec<Work> {
        let kind = self.module.graph.regions[0].kind;
        region_work(program, kind, &Hardware::of(target), &[]).unwrap_or_else(|e| panic!("{}: {e}", self.name()))
    }

    /// Runs the kernels on every target in every schedule and demands what evaluation gives.
    fn check(&self) {
        let graph = &self.module.graph;
        let named: Vec<(&str, &Tensor)> =
            graph.inputs().iter().zip(&self.inputs).map(|(&id, tensor)| (graph.input_name(id), tensor)).collect();
        let values = eval::evaluate_all(&self.module, &named).unwrap_or_else(|e| panic!("{}: {e}", self.name()));
        let program = self.program();
        let input = |id| values.get(id).expect("an input of a region has a value").bytes().as_ref();
        let inputs: Vec<&[u8]> = program.inputs.iter().map(|(_, id)| input(id)).collect();
        let sizes: Vec<usize> = program.outputs.iter().map(|(_, id)| values[id].bytes().len()).collect();
        for target in emulation::TARGETS {
            let works = self.work(&program, target);
            let region = region::Region::new(&works, target);
            for schedule in emulation::SCHEDULES {
                let outputs = region
                    .run(&inputs, &sizes, schedule)
                    .unwrap_or_else(|fault| panic!("{}: {target}, {schedule}: {fault}", self.name()));
                for ((_, id), bytes) in program.outputs.iter().zip(outputs) {
                    self.compare(&values[id], bytes, &format!("{target}, {schedule}"));
                }
            }
        }
    }

    fn compare(&self, expected: &Tensor, bytes: Vec<u8>, place: &str) {
        let found = Tensor::new(expected.dtype(), expected.shape().to_vec(), bytes).expect("its own size");
        let differs = |(a, b): (Scalar, Scalar)| a != b && !(a.as_f64().is_nan() && b.as_f64().is_nan());
        if let Some(at) = found.scalars().zip(expected.scalars()).position(differs) {
            let (found, expected) = (found.get(at), expected.get(at));
            panic!("{}: {place}: element {at} is {found:?}, expected {expected:?}", self.name());
        }
    }
}

/// Small numbers that every type has; `special` brings NaN, infinities and both zeros to floats.
fn numbers(random: &mut Random, dtype: DType, shape: &[usize], special: bool) -> Tensor {
    let n: usize = shape.iter().product();
    let mut draw = || {
        let number = random.below(7) as i64 - 3;
        match dtype {
            DType::Bool => Scalar::B(number > 1),
            _ if dtype.is_float() => Scalar::F(match random.below(if special { 12 } else { 1 }) {
                8 => f64::NAN,
                9 => f64::INFINITY,
                10 => f64::NEG_INFINITY,
                11 => -0.0,
                _ => number as f64,
            }),
            _ => Scalar::I(i128::from(number)).rounded(dtype),
        }
    };
    Tensor::from_scalars(dtype, shape.to_vec(), (0..n).map(|_| draw()).collect::<Vec<_>>())
}

/// Numbers whose running products stay exact: mostly 1, some -1, 2 and a half.
fn factors(random: &mut Random, dtype: DType, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let mut double = false;
    let mut draw = || match random.below(8) {
        0 if dtype.kind() != gable_tensor::dtype::Kind::Unsigned => Scalar::I(-1).to_kind(dtype),
        1 if dtype.is_float() => {
            double = !double;
            Scalar::F(if double { 2.0 } else { 0.5 })
        }
        2 if dtype.is_int() => Scalar::I(3),
        _ => Scalar::I(1).to_kind(dtype),
    };
    Tensor::from_scalars(dtype, shape.to_vec(), (0..n).map(|_| draw()).collect::<Vec<_>>())
}

fn single(op: impl Into<Op>, inputs: Vec<Tensor>) -> Case {
    let mut b = Builder::new("case");
    let ids: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(i, tensor)| b.input(format!("in{i}"), Type::new(tensor.dtype(), tensor.shape().iter().copied())))
        .collect();
    let op: Op = op.into();
    let kind = if matches!(op, Op::ReduceWindow(_)) { RegionKind::Window } else { RegionKind::Ordered };
    let id = b.add(op, &ids).expect("a valid op");
    b.output("out", id);
    b.graph.regions = vec![Region::new("region", kind, [id])];
    Case { module: b.finish(), inputs }
}

/// Shapes and axes: contiguous rows, strided rows, single elements, no elements; short, long and in between.
const ROWS: [(&[usize], usize); 14] = [
    (&[5], 0),
    (&[1], 0),
    (&[0], 0),
    (&[3, 0], 0),
    (&[3, 0, 2], 2),
    (&[3, 33], 1),
    (&[2, 64], 1),
    (&[20, 96], 1),
    (&[3, 700], 1),
    (&[2, 21, 3], 1),
    (&[2, 9, 48], 1),
    (&[2, 3, 1, 2, 4, 5], 5),
    (&[2, 17, 1, 2, 2, 2], 1),
    (&[1500], 0),
];

fn scan_kinds(dtype: DType) -> Vec<ReduceKind> {
    let all = [ReduceKind::Sum, ReduceKind::Prod, ReduceKind::Max, ReduceKind::Min];
    if dtype == DType::Bool { all[2..].to_vec() } else { all.to_vec() }
}

fn scans() -> Vec<Case> {
    let mut random = Random::new(1);
    let mut cases = Vec::new();
    for dtype in every_dtype() {
        for (number, (shape, axis)) in ROWS.into_iter().enumerate() {
            for (k, kind) in scan_kinds(dtype).into_iter().enumerate() {
                let x = match kind {
                    ReduceKind::Prod => factors(&mut random, dtype, shape),
                    kind => numbers(&mut random, dtype, shape, kind == ReduceKind::Max),
                };
                let (exclusive, reverse) = ((number + k) % 2 == 1, (number + k) / 2 % 2 == 1);
                cases.push(single(ops::Scan { kind, axis, exclusive, reverse }, vec![x]));
            }
        }
    }
    cases
}

#[test]
fn scans_of_every_type_along_every_axis() {
    scans().par_iter().for_each(Case::check);
}

fn sorts() -> Vec<Case> {
    let mut random = Random::new(2);
    let mut cases = Vec::new();
    for (number, dtype) in every_dtype().enumerate() {
        for (shape, axis) in ROWS {
            // Long rows take the CPU long: their schedule depends on the width of a key alone.
            if shape[axis] > 500 && ![DType::F32, DType::I64].contains(&dtype) {
                continue;
            }
            let descending = (number + shape.len()) % 2 == 1;
            let x = numbers(&mut random, dtype, shape, true);
            cases.push(single(ops::Argsort { axis, descending }, vec![x]));
        }
    }
    // A whole power of two, and just beyond what is counted.
    for (n, dtype) in [(256, DType::U64), (129, DType::F64)] {
        let x = numbers(&mut random, dtype, &[n], true);
        cases.push(single(ops::Argsort { axis: 0, descending: false }, vec![x]));
    }
    cases
}

#[test]
fn sorts_of_every_type_are_stable_and_put_nan_last() {
    sorts().par_iter().for_each(Case::check);
}

/// Shapes of `x` and of the leading axes of the indices, and coordinates per tuple.
const SCATTERS: [(&[usize], &[usize], usize); 10] = [
    (&[7], &[5], 1),
    (&[40], &[3, 100], 1),
    (&[6, 8], &[9], 1),
    (&[3, 5, 16], &[4], 2),
    (&[2, 3, 700], &[3], 2),
    (&[4, 3], &[2, 2], 0),
    (&[], &[3], 0),
    (&[5, 4], &[0], 1),
    (&[0, 4], &[2], 1),
    (&[2, 2, 2, 2, 2, 3], &[300], 6),
];

fn scatters() -> Vec<Case> {
    let mut random = Random::new(3);
    let kinds = [ScatterKind::Replace, ScatterKind::Add, ScatterKind::Mul, ScatterKind::Max, ScatterKind::Min];
    let mut cases = Vec::new();
    for (number, dtype) in every_dtype().enumerate() {
        for (position, (shape, leading, depth)) in SCATTERS.into_iter().enumerate() {
            for kind in [kinds[(number + position) % 5], kinds[(number + position + 2) % 5]] {
                if dtype == DType::Bool && matches!(kind, ScatterKind::Add | ScatterKind::Mul) {
                    continue;
                }
                let index_type = if number % 2 == 0 { DType::I64 } else { DType::I32 };
                let tuples: usize = leading.iter().product();
                // Some coordinates lie before and after the axis.
                let mut coordinates = Vec::new();
                for _ in 0..tuples {
                    for &size in &shape[..depth] {
                        coordinates.push(Scalar::I(i128::from(random.below(size as u64 + 2)) - 1));
                    }
                }
                let mut update_shape = leading.to_vec();
                update_shape.extend(&shape[depth..]);
                let mut index_shape = leading.to_vec();
                index_shape.push(depth);
                let of = |random: &mut Random, shape: &[usize]| match kind {
                    ScatterKind::Mul => factors(random, dtype, shape),
                    _ => numbers(random, dtype, shape, kind == ScatterKind::Max),
                };
                let inputs = vec![
                    of(&mut random, shape),
                    Tensor::from_scalars(index_type, index_shape, coordinates),
                    of(&mut random, &update_shape),
                ];
                cases.push(single(ops::ScatterNd { kind }, inputs));
            }
        }
    }
    cases
}

#[test]
fn scatters_apply_updates_in_order_and_drop_those_outside() {
    scatters().par_iter().for_each(Case::check);
}

fn window(kind: ReduceKind, axes: &[[i64; 5]]) -> ops::ReduceWindow {
    let sizes = |at: usize| axes.iter().map(|axis| axis[at] as usize).collect();
    let paddings = |at: usize| axes.iter().map(|axis| axis[at]).collect();
    ops::ReduceWindow {
        kind,
        window: sizes(0),
        strides: sizes(1),
        dilations: sizes(2),
        low: paddings(3),
        high: paddings(4),
    }
}

/// Shapes, and window, stride, dilation and paddings of each axis.
const WINDOWS: [(&[usize], &[[i64; 5]]); 11] = [
    (&[9], &[[3, 1, 1, 0, 0]]),
    (&[9], &[[3, 2, 2, 3, 2]]),
    (&[40], &[[33, 1, 1, 16, 16]]),
    (&[8], &[[2, 2, 1, -2, 1]]),
    (&[2, 3, 10, 12], &[[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [3, 2, 1, 1, 1], [2, 2, 1, 0, 1]]),
    (&[2, 8, 9, 16], &[[1, 1, 1, 0, 0], [3, 2, 1, 1, 1], [2, 2, 1, 0, 1], [1, 1, 1, 0, 0]]),
    (&[1, 2, 7, 7], &[[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [7, 1, 1, 0, 0], [7, 1, 1, 0, 0]]),
    (
        &[2, 3, 2, 3, 2, 5],
        &[[1, 1, 1, 0, 0], [2, 1, 1, 1, 0], [2, 1, 2, 1, 1], [3, 1, 1, 0, 0], [2, 2, 1, 0, 0], [4, 1, 1, 2, 3]],
    ),
    (&[3], &[[2, 1, 1, 4, 0]]),
    (&[], &[]),
    (&[0, 4], &[[1, 1, 1, 1, 0], [2, 2, 1, 0, 0]]),
];

fn windows() -> Vec<Case> {
    let mut random = Random::new(4);
    let mut cases = Vec::new();
    for dtype in every_dtype() {
        for (shape, axes) in WINDOWS {
            for kind in scan_kinds(dtype).into_iter().chain(dtype.is_float().then_some(ReduceKind::Mean)) {
                let x = match kind {
                    ReduceKind::Prod => factors(&mut random, dtype, shape),
                    kind => numbers(&mut random, dtype, shape, kind == ReduceKind::Max),
                };
                cases.push(single(window(kind, axes), vec![x]));
            }
        }
    }
    cases
}

#[test]
fn windows_of_every_type_with_paddings_strides_and_dilations() {
    windows().par_iter().for_each(Case::check);
}

/// Maps and movement before and after a window: channels last inside, channels first outside.
fn surrounded() -> Vec<Case> {
    let mut cases = Vec::new();
    for (dtype, channels) in [(DType::F32, 8usize), (DType::F16, 16), (DType::I32, 3)] {
        let mut random = Random::new(5);
        let inputs = vec![
            numbers(&mut random, dtype, &[2, channels, 6, 6], false),
            numbers(&mut random, dtype, &[channels], false),
        ];
        let mut b = Builder::new("case");
        let x = b.input("x", Type::new(dtype, inputs[0].shape().iter().copied()));
        let bias = b.input("bias", Type::new(dtype, [channels]));
        let last = b.transpose(x, &[0, 2, 3, 1]).expect("valid");
        let wide = b.broadcast_to(bias, &b.shape(last)).expect("valid");
        let sum = b.add(ops::Add {}, &[last, wide]).expect("valid");
        let positive = b.relu(sum).expect("valid");
        let axes = [[1, 1, 1, 0, 0], [3, 2, 1, 1, 1], [3, 2, 1, 1, 1], [1, 1, 1, 0, 0]];
        let pooled = b.add(window(ReduceKind::Max, &axes), &[positive]).expect("valid");
        let first = b.transpose(pooled, &[0, 3, 1, 2]).expect("valid");
        let flat = b.reshape(first, [2, channels * 9]).expect("valid");
        let negative = b.add(ops::Neg {}, &[flat]).expect("valid");
        b.output("negative", negative);
        b.output("pooled", pooled);
        b.graph.regions =
            vec![Region::new("region", RegionKind::Window, [last, wide, sum, positive, pooled, first, flat, negative])];
        cases.push(Case { module: b.finish(), inputs });
    }
    cases
}

#[test]
fn windows_compute_what_is_around_them() {
    surrounded().par_iter().for_each(Case::check);
}

/// Sizes that bring out other schedules than the small ones: vectors, many CTAs, indices of 64 bits.
fn large() -> Vec<Case> {
    let empty = |dtype, shape: &[usize]| (dtype, shape.to_vec());
    let scan = |dtype, shape: &[usize], axis| {
        let op = ops::Scan { kind: ReduceKind::Sum, axis, exclusive: false, reverse: true };
        (Op::from(op), vec![empty(dtype, shape)])
    };
    let sort =
        |dtype, shape: &[usize], axis| (Op::from(ops::Argsort { axis, descending: true }), vec![empty(dtype, shape)]);
    let scatter = |dtype, shape: &[usize], n: usize, depth: usize| {
        let mut update = vec![n];
        update.extend(&shape[depth..]);
        let inputs = vec![empty(dtype, shape), empty(DType::I64, &[n, depth]), empty(dtype, &update)];
        (Op::from(ops::ScatterNd { kind: ScatterKind::Add }), inputs)
    };
    let pool = |dtype, shape: &[usize], axes: &[[i64; 5]]| {
        (Op::from(window(ReduceKind::Mean, axes)), vec![empty(dtype, shape)])
    };
    let one = [1, 1, 1, 0, 0];
    let cases = [
        scan(DType::BF16, &[4096, 32768], 1),
        scan(DType::F32, &[64, 4096, 1024], 1),
        scan(DType::I8, &[70000, 70000], 1),
        scan(DType::F64, &[1 << 20], 0),
        sort(DType::F32, &[4096, 4096], 1),
        sort(DType::I64, &[128, 100_000], 1),
        sort(DType::BF16, &[70000, 70001], 0),
        scatter(DType::BF16, &[32, 8, 4096, 128], 4096, 3),
        scatter(DType::E4M3, &[70000, 70000], 300, 2),
        scatter(DType::F32, &[1 << 20, 64], 1 << 16, 1),
        pool(DType::F16, &[64, 112, 112, 64], &[one, [3, 2, 1, 1, 1], [3, 2, 1, 1, 1], one]),
        pool(DType::F32, &[64, 64, 112, 112], &[one, one, [3, 2, 1, 1, 1], [3, 2, 1, 1, 1]]),
        pool(DType::BF16, &[16, 70000, 70000], &[one, [5, 1, 1, 2, 2], [5, 1, 1, 2, 2]]),
    ];
    cases
        .into_iter()
        .map(|(op, inputs)| {
            let mut b = Builder::new("case");
            let ids: Vec<_> = inputs
                .into_iter()
                .enumerate()
                .map(|(i, (dtype, shape))| b.input(format!("in{i}"), Type::new(dtype, shape)))
                .collect();
            let kind = if matches!(op, Op::ReduceWindow(_)) { RegionKind::Window } else { RegionKind::Ordered };
            let id = b.add(op, &ids).expect("a valid op");
            b.output("out", id);
            b.graph.regions = vec![Region::new("region", kind, [id])];
            Case { module: b.finish(), inputs: Vec::new() }
        })
        .collect()
}

#[test]
fn every_kernel_verifies_and_assembles_without_spills() {
    let ptxas = Ptxas::find().ok();
    if ptxas.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas");
        eprintln!("SKIPPED: no ptxas, kernels are verified only");
    }
    // Kernels of one text are assembled once, many to a module.
    for &target in Target::ALL {
        let mut kernels: BTreeMap<String, Kernel> = BTreeMap::new();
        for case in [scans(), sorts(), scatters(), windows(), surrounded(), large()].iter().flatten() {
            let program = case.program();
            for work in case.work(&program, target) {
                let Work::Launch(launch) = work else { panic!("{}: not a launch", case.name()) };
                assert_eq!(launch.dynamic_shared_bytes, 0, "{}", case.name());
                let text = PtxModule::new(target, vec![launch.kernel.clone()]).to_string();
                kernels.insert(text, launch.kernel);
            }
        }
        // Machine code of one target is demanded of all kernels, and of a part of them for each other target.
        let step = if target == Target::Sm90a { 1 } else { 7 };
        let kernels: Vec<Kernel> = kernels
            .into_values()
            .step_by(step)
            .enumerate()
            .map(|(number, kernel)| Kernel { name: format!("{}_{number}", kernel.name), ..kernel })
            .collect();
        for part in kernels.chunks(100) {
            let module = PtxModule::new(target, part.to_vec());
            verify(&module).unwrap_or_else(|faults| panic!("{target}: {faults}"));
            let Some(ptxas) = &ptxas else { continue };
            let assembled = ptxas.assemble(&module.to_string(), target).unwrap_or_else(|e| panic!("{target}: {e}"));
            for resources in &assembled.kernels {
                let spills = resources.spill_store_bytes + resources.spill_load_bytes + resources.stack_bytes;
                assert_eq!(spills, 0, "{target}: {resources:?}");
            }
        }
    }
}

/// The case that a `.gir` text holds: one region over the graph's inputs.
fn read(text: &str) -> Case {
    let graph = text::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let faults = verify_graph(&graph);
    assert!(faults.is_empty(), "{faults:?}");
    let mut random = Random::new(6);
    let inputs = graph.inputs().iter().map(|&id| {
        let ty = graph.ty(id).concrete().expect("a case's sizes are known");
        numbers(&mut random, ty.dtype, &ty.shape, false)
    });
    let inputs = inputs.collect();
    Case { module: Module { graph, ..Module::default() }, inputs }
}

#[test]
fn cases_written_as_text_compute_what_evaluation_gives() {
    insta::glob!("../../../../tests/codegen", "{ordered,window}/*.gir", |path| {
        read(&std::fs::read_to_string(path).expect("a case can be read")).check();
    });
}

#[test]
fn kernels_of_tiny_cases() {
    insta::glob!("../../../../tests/codegen", "{ordered,window}/tiny_*.gir", |path| {
        let case = read(&std::fs::read_to_string(path).expect("a case can be read"));
        let program = case.program();
        let work = case.work(&program, Target::Sm90a);
        let [Work::Launch(launch)] = work.as_slice() else { panic!("{}: not one launch", case.name()) };
        let module = PtxModule::new(Target::Sm90a, vec![launch.kernel.clone()]);
        insta::assert_snapshot!(module.to_string());
    });
}
