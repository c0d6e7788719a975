//! The cpu device against the reference evaluation: every op of the table over types, shapes and views, and whole
//! graphs; independence of threads; errors.

use gable_ir::attr::ReduceKind;
use gable_ir::random_graph::{self, Generator};
use gable_ir::{Builder, ConcreteType, Group, Module, Op, Type, eval};
use gable_runtime::cpu::CpuProgram;
use gable_tensor::random::{self, Random};
use gable_tensor::{DType, Scalar, Tensor, Tolerance, compare};
use std::collections::BTreeSet;

/// Significant bits of a float type.
fn precision(dtype: DType) -> i32 {
    match dtype {
        DType::F64 => 53,
        DType::F32 => 24,
        DType::Tf32 | DType::F16 => 11,
        DType::BF16 => 8,
        DType::E4M3 | DType::E2M3 => 4,
        DType::E5M2 | DType::E3M2 => 3,
        DType::E2M1 => 2,
        DType::UE8M0 => 1,
        other => unreachable!("{other} is not a float"),
    }
}

/// Whether the device computes exactly what the reference does.
fn is_exact(op: &Op, args: &[Type]) -> bool {
    let float = args.first().is_some_and(|x| x.dtype.is_float());
    match op {
        Op::Exp(_) | Op::Tanh(_) | Op::Erf(_) | Op::Sigmoid(_) | Op::Silu(_) | Op::Gelu(_) | Op::Pow(_) => !float,
        Op::Reduce(op) => !float || matches!(op.kind, ReduceKind::Max | ReduceKind::Min),
        Op::ReduceWindow(op) => !float || matches!(op.kind, ReduceKind::Max | ReduceKind::Min),
        Op::Softmax(_) | Op::LogSoftmax(_) | Op::LayerNorm(_) | Op::RmsNorm(_) | Op::GroupNorm(_) => false,
        Op::Matmul(_) | Op::GroupedMatmul(_) | Op::Conv(_) | Op::Attention(_) => !float,
        _ => true,
    }
}

/// One unit in the last place of the result, and for what adds up unit normals in another order a few of them.
fn tolerance(op: &Op, args: &[Type], out: DType) -> Tolerance {
    if is_exact(op, args) || !out.is_float() {
        return Tolerance::Exact;
    }
    let unit = 2f64.powi(1 - precision(out));
    let working = if args[0].dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    match op {
        Op::Matmul(_) | Op::GroupedMatmul(_) | Op::Conv(_) | Op::Attention(_) => {
            Tolerance::Elementwise { rtol: unit, atol: 64.0 * working }
        }
        // The inner function's last place counts double where 1 + erf cancels.
        Op::Gelu(_) | Op::Silu(_) => Tolerance::Elementwise { rtol: 2.0 * unit, atol: 2.0 * working },
        _ if op.is(Group::Map) => Tolerance::Elementwise { rtol: unit, atol: 0.0 },
        // In f64 the means differ in their last places, by as much as their sums are long, and a constant row divides
        // that by the root of eps; in f32 the f64 sums behind the means round to the same.
        Op::LayerNorm(_) | Op::GroupNorm(_) if args[0].dtype == DType::F64 => {
            let n = args[0].concrete().expect("random types are concrete").len() as f64;
            Tolerance::Elementwise { rtol: 8.0 * working, atol: n * working / 1e-5f64.sqrt() }
        }
        _ => Tolerance::Elementwise { rtol: unit + 8.0 * working, atol: 8.0 * working },
    }
}

/// Replaces some elements of floats by those that need care.
fn with_special_values(random: &mut Random, tensor: &Tensor) -> Tensor {
    const SPECIAL: [f64; 12] =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e30, -1e30, 1e-40, 65504.0, 1e-7, 0.5, 2.5];
    let values = tensor.scalars().map(|x| match x {
        Scalar::F(_) if random.below(6) == 0 => Scalar::F(SPECIAL[random.below(12) as usize]),
        x => x,
    });
    Tensor::from_scalars(tensor.dtype(), tensor.shape(), values)
}

fn check(module: &Module, inputs: &[(String, Tensor)], tolerance: impl Fn(&str) -> Tolerance, what: &str) {
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let expected = eval::evaluate(module, &inputs);
    let found = CpuProgram::new(module).and_then(|program| program.run(&inputs));
    let (expected, found) = match (expected, found) {
        (Ok(expected), Ok(found)) => (expected, found),
        (Err(_), Err(_)) => return,
        (expected, found) => {
            panic!("{what}: reference {:?}, device {:?}\n{}", expected.map(drop), found.map(drop), module.graph)
        }
    };
    for ((name, expected), (found_name, found)) in expected.iter().zip(&found) {
        assert_eq!(name, found_name);
        let result = compare::compare(found, expected, tolerance(name));
        assert!(result.within && found.dtype() == expected.dtype(), "{what}, `{name}`: {result}\n{}", module.graph);
    }
}

#[test]
fn every_op_equals_the_reference() {
    for (number, row) in Op::TABLE.iter().enumerate() {
        for seed in 0..60 {
            let seed = number as u64 * 1000 + seed;
            let mut generator = Generator::new(seed);
            let id = generator.grow(row, &|_, _| true).unwrap_or_else(|| panic!("`{}` was not drawn", row.name));
            let module = generator.finish();
            let graph = &module.graph;
            let op = graph.op(id).clone();
            let args: Vec<Type> = graph.operands(id).iter().map(|&arg| graph.ty(arg).clone()).collect();
            let mut inputs = random_graph::inputs(&module, seed);
            // Sums of infinities and of very different numbers are not what the bounds are about.
            if is_exact(&op, &args) || op.is(Group::Map) {
                let random = &mut Random::new(seed);
                inputs.iter_mut().for_each(|(_, tensor)| *tensor = with_special_values(random, tensor));
            }
            let out = graph.ty(id).dtype;
            check(&module, &inputs, |_| tolerance(&op, &args, out), &format!("`{}`, seed {seed}", row.name));
        }
    }
}

/// Fusion, views, shared buffers and constants, over graphs of ops that lose nothing: every result is bit-equal.
#[test]
fn whole_graphs_equal_the_reference() {
    for seed in 0..300 {
        let mut generator = Generator::new(seed);
        for _ in 0..30 {
            generator.grow_any(&is_exact);
        }
        let module = generator.finish();
        let inputs = random_graph::inputs(&module, seed);
        check(&module, &inputs, |_| Tolerance::Exact, &format!("seed {seed}"));
    }
}

/// What the device leaves to the reference.
#[test]
fn few_ops_are_left_to_the_reference() {
    let mut left: BTreeSet<String> = BTreeSet::new();
    for (number, row) in Op::TABLE.iter().enumerate() {
        for seed in 0..200 {
            let mut generator = Generator::new(number as u64 * 777 + seed);
            let Some(id) = generator.grow(row, &|_, _| true) else { continue };
            let module = generator.finish();
            let args: Vec<&Type> = module.graph.operands(id).iter().map(|&arg| module.graph.ty(arg)).collect();
            let Ok(program) = CpuProgram::new(&module) else { continue };
            for op in program.ops_by_reference() {
                let why = match args.first() {
                    Some(x) if x.rank() == 0 => "of a scalar",
                    Some(x) if x.dtype != module.graph.ty(id).dtype => "to another class",
                    _ => "of integers",
                };
                left.insert(format!("{op} {why}"));
            }
        }
    }
    let left: Vec<String> = left.into_iter().collect();
    let few = [
        "bitcast of a scalar",
        "bitcast to another class",
        "conv of integers",
        "grouped_matmul of integers",
        "grouped_matmul to another class",
        "matmul to another class",
        "pad of a scalar",
        "reduce_window of a scalar",
    ];
    assert_eq!(left, few);
}

/// A network large enough for every kernel to share its work out.
fn network() -> Module {
    let mut random = Random::new(3);
    let mut weight = |b: &mut Builder, key: &str, shape: &[usize]| {
        let tensor = random::tensor(&mut random, DType::F32, shape, 2).expect("small");
        let scale = (shape[1..].iter().product::<usize>() as f64).sqrt().recip();
        let scaled = tensor.scalars().map(|x| Scalar::F(x.as_f64() * scale));
        b.weight(key, Tensor::from_scalars(DType::F32, shape, scaled)).expect("valid")
    };
    let mut b = Builder::new("network");
    let image = b.input("image", Type::new(DType::F32, [2usize, 3, 33, 35]));
    let filter = weight(&mut b, "filter", &[32, 3, 3, 3]);
    let conv = |groups| gable_ir::ops::Conv {
        strides: vec![1, 1],
        dilations: vec![1, 1],
        low: vec![1, 1],
        high: vec![1, 1],
        groups,
        layout: gable_ir::attr::Layout::ChannelsFirst,
        acc: DType::F32,
        out: DType::F32,
    };
    let x = b.add(conv(1), &[image, filter]).expect("valid");
    let x = b.relu(x).expect("valid");
    let depthwise = weight(&mut b, "depthwise", &[32, 1, 3, 3]);
    let x = b.add(conv(32), &[x, depthwise]).expect("valid");
    let tokens = b.reshape(x, [2usize, 32, 33 * 35]).expect("valid");
    let tokens = b.transpose(tokens, &[0, 2, 1]).expect("valid");
    let heads = b.reshape(tokens, [2usize, 33 * 35, 4, 8]).expect("valid");
    let heads = b.transpose(heads, &[0, 2, 1, 3]).expect("valid");
    let attention = gable_ir::ops::Attention { scale: 0.35, causal: true, window: 0, softcap: 0.0 };
    let mixed = b.add(attention, &[heads, heads, heads]).expect("valid");
    let mixed = b.transpose(mixed, &[0, 2, 1, 3]).expect("valid");
    let mixed = b.reshape(mixed, [2usize * 33 * 35, 32]).expect("valid");
    let projection = weight(&mut b, "projection", &[32, 200]);
    let y = b.matmul(mixed, projection).expect("valid");
    let y = b.add(gable_ir::ops::Gelu { tanh: false }, &[y]).expect("valid");
    let narrow = b.cast(y, DType::F16).expect("valid");
    let y = b.cast(narrow, DType::F32).expect("valid");
    let soft = b.add(gable_ir::ops::Softmax { axis: 1 }, &[y]).expect("valid");
    let total = b.reduce(ReduceKind::Sum, soft, &[0], false).expect("valid");
    b.output("soft", soft);
    b.output("total", total);
    b.finish()
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let module = network();
    let inputs = random_graph::inputs(&module, 1);
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let program = CpuProgram::new(&module).expect("valid");
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be had");
        pool.install(|| program.run(&inputs)).expect("runs")
    };
    let alone = on(1);
    assert_eq!(alone, on(5));
    assert_eq!(alone, program.run(&inputs).expect("runs"));
    let expected = eval::evaluate(&module, &inputs).expect("evaluates");
    for ((name, found), (_, expected)) in alone.iter().zip(&expected) {
        // The f16 rounding inside may go either way: one unit of f16 before the softmax.
        let tolerance = Tolerance::ScaledElementwise { rtol: 2e-3, atol_of_max: 1e-4 };
        let result = compare::compare(found, expected, tolerance);
        assert!(result.within, "{name}: {result}");
    }
}

#[test]
fn values_inside_a_chain_of_maps_take_no_memory() {
    let mut b = Builder::new("chain");
    let x = b.input("x", Type::new(DType::F16, [1000usize]));
    let mut y = x;
    for _ in 0..20 {
        y = b.plus(y, x).expect("valid");
    }
    b.output("y", y);
    let program = CpuProgram::new(&b.finish()).expect("valid");
    assert_eq!(program.buffer_elements(), 1000);
}

#[test]
fn wrong_inputs_are_named() {
    let mut b = Builder::new("g");
    let x = b.input("x", Type::new(DType::F32, [2usize, 3]));
    let y = b.relu(x).expect("valid");
    b.output("y", y);
    let program = CpuProgram::new(&b.finish()).expect("valid");
    let error = |inputs: &[(&str, &Tensor)]| program.run(inputs).expect_err("is wrong").to_string();
    let right = Tensor::splat(DType::F32, [2, 3], 1.0).expect("small");
    let wrong = Tensor::splat(DType::F16, [3, 2], 1.0).expect("small");
    assert_eq!(error(&[]), "input `x` (f32[2, 3]) is not given");
    assert_eq!(error(&[("x", &wrong)]), "input `x` is f16[3, 2], expected f32[2, 3]");
    assert_eq!(error(&[("x", &right), ("z", &right)]), "the graph has no input `z`; its inputs are `x`");
}

#[test]
fn wrong_modules_are_refused() {
    let build = |build: &dyn Fn(&mut Builder) -> gable_ir::NodeId| {
        let mut b = Builder::new("g");
        let y = build(&mut b);
        b.output("y", y);
        b.finish()
    };
    let error = |module: &Module| CpuProgram::new(module).map(drop).expect_err("is wrong").to_string();
    let mut module = build(&|b| b.weight("w", Tensor::splat(DType::F32, [2], 1.0).expect("small")).expect("valid"));
    module.weights.insert("w", Tensor::splat(DType::F32, [3], 1.0).expect("small"));
    assert_eq!(error(&module), "weight `w`: is f32[3], expected f32[2]");
    module.weights.remove("w");
    assert_eq!(error(&module), "weight `w`: is not in the store");
    let symbolic = build(&|b| b.input("x", Type::new(DType::F32, [gable_tensor::Dim::symbol("n")])));
    assert_eq!(error(&symbolic), "value %0 has type f32[n]: bind its dimensions first");
    let empty = build(&|b| {
        let x = b.input("x", Type::new(DType::F32, [0usize, 3]));
        let index = b.scalar(DType::I64, Scalar::I(0)).expect("valid");
        b.add(gable_ir::ops::Gather { axis: 0 }, &[x, index]).expect("valid")
    });
    let x = random_graph::tensor(&mut Random::new(0), &ConcreteType { dtype: DType::F32, shape: vec![0, 3] });
    let found = CpuProgram::new(&empty).expect("valid").run(&[("x", &x)]).expect_err("is wrong").to_string();
    assert_eq!(found, "value %2 (`gather`): `gather` takes elements of axis 0, which has none");
}
