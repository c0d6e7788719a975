//! Graphs of one region each, with inputs: every map on edge values of every type, and every kind of region over odd and
//! even shapes. The same cases are assembled, emulated on the CPU and run on a GPU.

use gable_ir::attr::{ReduceKind, ScatterKind};
use gable_ir::{Builder, Group, Module, NodeId, Op, OpError, Region, RegionKind, ops};
use gable_tensor::compare::Tolerance;
use gable_tensor::random::{self, Random};
use gable_tensor::{DType, Dim, Kind, Scalar, Tensor};

type Built = Result<NodeId, OpError>;

/// One graph and what it is given.
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The graph, all in one region.
    pub module: Module,
    /// Inputs by name.
    pub inputs: Vec<(String, Tensor)>,
    /// How near the results must be to the reference.
    pub tolerance: Tolerance,
}

/// A case whose inputs are named `a`, `b`, .. in the order given.
fn case(
    name: impl Into<String>,
    kind: RegionKind,
    inputs: Vec<Tensor>,
    tolerance: Tolerance,
    body: impl FnOnce(&mut Builder, &[NodeId]) -> Result<Vec<NodeId>, OpError>,
) -> Case {
    let name = name.into();
    let mut b = Builder::new("case");
    let named: Vec<(String, Tensor)> =
        inputs.into_iter().zip(b'a'..).map(|(tensor, letter)| (char::from(letter).to_string(), tensor)).collect();
    let ids: Vec<NodeId> =
        named.iter().map(|(name, tensor)| b.input(name.clone(), gable_ir::ConcreteType::of(tensor).into())).collect();
    let outputs = body(&mut b, &ids).unwrap_or_else(|error| panic!("case `{name}`: {error}"));
    for (position, &id) in outputs.iter().enumerate() {
        b.output(format!("y{position}"), id);
    }
    let mut module = b.finish();
    module.graph.remove_dead();
    let nodes = module.graph.ids().into_iter().filter(|&id| !matches!(module.graph.op(id), Op::Input(_)));
    let region = Region::new("case", kind, nodes);
    module.graph.regions.push(region);
    Case { name, module, inputs: named, tolerance }
}

fn one(
    name: impl Into<String>,
    kind: RegionKind,
    inputs: Vec<Tensor>,
    tolerance: Tolerance,
    body: impl FnOnce(&mut Builder, &[NodeId]) -> Built,
) -> Case {
    case(name, kind, inputs, tolerance, |b, ids| Ok(vec![body(b, ids)?]))
}

const EXACT: Tolerance = Tolerance::Exact;

/// So many units in the last place of a type, and as many of its least normal number, for results computed in f32.
fn units(dtype: DType, n: f64) -> Tolerance {
    let (digits, least) = match dtype {
        DType::F16 => (11, 2f64.powi(-24)),
        DType::BF16 => (8, 2f64.powi(-126)),
        DType::E4M3 => (4, 2f64.powi(-9)),
        DType::E5M2 => (3, 2f64.powi(-16)),
        DType::F64 => (53, 2f64.powi(-1022)),
        _ => (24, 2f64.powi(-126)),
    };
    Tolerance::Elementwise { rtol: n * 2f64.powi(1 - digits), atol: n * least }
}

/// Sizes or positions as the ops take them.
fn dims<const N: usize>(sizes: [i64; N]) -> Vec<Dim> {
    sizes.into_iter().map(Dim::from).collect()
}

/// Normal random elements, reproducible by the seed.
fn normal(seed: u64, dtype: DType, shape: &[usize]) -> Tensor {
    random::tensor(&mut Random::new(seed), dtype, shape, 100).expect("test shapes are small")
}

/// Special and ordinary values of a type.
pub fn edges(dtype: DType) -> Vec<Scalar> {
    match dtype.kind() {
        Kind::Bool => vec![Scalar::B(false), Scalar::B(true)],
        Kind::Signed | Kind::Unsigned => {
            let (low, high) = dtype.int_range().expect("an integer type");
            [low, low + 1, -100, -7, -2, -1, 0, 1, 2, 3, 7, 31, 63, 100, high - 1, high]
                .into_iter()
                .filter(|n| (low..=high).contains(n))
                .map(Scalar::I)
                .collect()
        }
        Kind::Float => {
            let magnitudes = [
                0.0,
                1e-42,
                1e-7,
                0.1,
                0.3,
                0.5,
                0.6,
                0.7,
                0.9,
                0.999,
                1.0,
                1.001,
                1.5,
                2.0,
                2.5,
                3.0,
                3.1,
                4.0,
                6.5,
                10.0,
                33.3,
                65.0,
                88.5,
                100.0,
                127.5,
                255.6,
                300.0,
                3000.0,
                40000.0,
                1e6,
                3e9,
                1e12,
                1e19,
                1e30,
                f64::INFINITY,
            ];
            let mut all: Vec<Scalar> = magnitudes.iter().flat_map(|&x| [Scalar::F(x), Scalar::F(-x)]).collect();
            all.push(Scalar::F(f64::NAN));
            all
        }
    }
}

fn edge_tensor(dtype: DType) -> Tensor {
    let values = edges(dtype);
    Tensor::from_scalars(dtype, vec![values.len()], values)
}

/// Every pair of edge values, as two tensors.
fn edge_pairs(dtype: DType) -> (Tensor, Tensor) {
    let values = edges(dtype);
    let n = values.len();
    let first = (0..n * n).map(|i| values[i / n]);
    let second = (0..n * n).map(|i| values[i % n]);
    (Tensor::from_scalars(dtype, vec![n * n], first), Tensor::from_scalars(dtype, vec![n * n], second))
}

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];
const INTEGERS: [DType; 8] =
    [DType::I8, DType::I16, DType::I32, DType::I64, DType::U8, DType::U16, DType::U32, DType::U64];

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(unary_maps());
    cases.extend(binary_maps());
    cases.extend(casts());
    cases.extend(movement());
    cases.extend(bits());
    cases.extend(fused_maps());
    cases.extend(rows());
    cases.extend(reductions());
    cases.extend(windows());
    cases.extend(ordered());
    cases
}

fn unary_maps() -> Vec<Case> {
    let mut cases = Vec::new();
    for info in Op::TABLE {
        let is_unary = info.groups.contains(&Group::Map) && info.operands.len() == 1 && info.name != "cast";
        if !is_unary {
            continue;
        }
        let types = FLOATS.iter().chain(&INTEGERS).chain(&[DType::Bool, DType::F64]);
        for &dtype in types {
            let attr = |name: &str| match name {
                "positive" | "tanh" => Some("true".to_string()),
                "negative" => Some("false".to_string()),
                _ => None,
            };
            let op = Op::parse(info.name, &attr).expect("maps of one operand have these attributes");
            let x = edge_tensor(dtype);
            if op.def().infer(&[&gable_ir::ConcreteType::of(&x).into()]).is_err() || !lowered(info.name, dtype) {
                continue;
            }
            // Errors of the functions on the GPU: the table in docs/codegen.md, doubled for sums of two.
            let tolerance = match info.name {
                "neg" | "abs" | "sign" | "relu" | "floor" | "ceil" | "round" | "trunc" | "not" | "is_nan"
                | "is_inf" => EXACT,
                // 1 + tanh of large negatives cancels all digits: what is left is a rounding of 1, times x.
                "gelu" => Tolerance::Elementwise { rtol: 2e-2, atol: 1e-5 },
                _ => units(dtype, 8.0),
            };
            // Beyond 1e13 neighbouring f32 are turns apart.
            let x = match info.name {
                "sin" | "cos" | "tan" => within(&x, 1e13),
                "gelu" => within(&x, 1e6),
                _ => x,
            };
            cases.push(one(format!("map {} {dtype}", info.name), RegionKind::Map, vec![x], tolerance, |b, x| {
                b.add(op.clone(), x)
            }));
        }
    }
    cases
}

fn within(x: &Tensor, limit: f64) -> Tensor {
    let kept: Vec<Scalar> = x.scalars().filter(|x| !x.as_f64().is_finite() || x.as_f64().abs() < limit).collect();
    Tensor::from_scalars(x.dtype(), vec![kept.len()], kept)
}

/// f64 has arithmetic, and no transcendental functions.
fn lowered(name: &str, dtype: DType) -> bool {
    let f64_ops = [
        "neg", "abs", "sign", "relu", "sqrt", "rsqrt", "recip", "floor", "ceil", "round", "trunc", "is_nan", "is_inf",
        "add", "sub", "mul", "div", "max", "min", "eq", "ne", "lt", "le", "gt", "ge",
    ];
    dtype != DType::F64 || f64_ops.contains(&name)
}

fn binary_maps() -> Vec<Case> {
    let mut cases = Vec::new();
    for info in Op::TABLE {
        if !(info.groups.contains(&Group::Map) && info.operands.len() == 2) {
            continue;
        }
        for &dtype in FLOATS.iter().chain(&INTEGERS).chain(&[DType::Bool, DType::F64]) {
            let op = Op::parse(info.name, &|_| None).expect("maps of two operands have no attributes");
            let (a, c) = edge_pairs(dtype);
            let ty = gable_ir::Type::from(gable_ir::ConcreteType::of(&a));
            if op.def().infer(&[&ty, &ty]).is_err() || !lowered(info.name, dtype) {
                continue;
            }
            let tolerance = match info.name {
                _ if !dtype.is_float() => EXACT,
                "pow" => units(dtype, 6.0),
                // Remainders are exact in f32; the sum that moves one to the other sign rounds once more.
                "modulo" => units(dtype, 1.0),
                "rem" => units(dtype, 0.5),
                "add" | "sub" | "mul" | "div" => units(dtype, 1.0),
                _ => EXACT,
            };
            cases.push(one(format!("map {} {dtype}", info.name), RegionKind::Map, vec![a, c], tolerance, |b, x| {
                b.add(op.clone(), x)
            }));
        }
    }
    let (a, c) = edge_pairs(DType::F32);
    cases.push(one("map select", RegionKind::Map, vec![a, c], EXACT, |b, x| {
        let cond = b.lt(x[0], x[1])?;
        b.select(cond, x[1], x[0])
    }));
    cases
}

fn casts() -> Vec<Case> {
    let mut cases = Vec::new();
    let all: Vec<DType> = DType::ALL
        .iter()
        .copied()
        .filter(|dtype| !matches!(dtype, DType::E2M1 | DType::E2M3 | DType::E3M2 | DType::UE8M0))
        .collect();
    for &from in &all {
        let x = edge_tensor(from);
        cases.push(case(
            format!("cast {from}"),
            RegionKind::Map,
            vec![x],
            // Large integers round to narrow floats by way of f32.
            Tolerance::Elementwise { rtol: if from.is_int() { 2f64.powi(-24) } else { 0.0 }, atol: 0.0 },
            |b, x| all.iter().filter(|&&to| to != from).map(|&to| b.cast(x[0], to)).collect(),
        ));
    }
    cases
}

fn movement() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::BF16, DType::I64, DType::Bool] {
        let x = || vec![normal(1, dtype, &[6, 10, 16])];
        let mut add = |name: &str, inputs: Vec<Tensor>, body: &dyn Fn(&mut Builder, &[NodeId]) -> Built| {
            cases.push(one(format!("{name} {dtype}"), RegionKind::Map, inputs, EXACT, body));
        };
        add("transpose", x(), &|b, x| b.transpose(x[0], &[2, 0, 1]));
        add("transpose inner", x(), &|b, x| b.transpose(x[0], &[1, 0, 2]));
        add("broadcast", vec![normal(2, dtype, &[10, 1])], &|b, x| b.broadcast_to(x[0], &dims([6, 10, 16])));
        add("slice", x(), &|b, x| {
            let starts = dims([1, 9, 4]);
            let ends = dims([5, -1, 16]);
            b.add(ops::Slice { starts, ends, steps: vec![2, -3, 1] }, x)
        });
        add("reverse", x(), &|b, x| {
            let starts = dims([0, 0, 15]);
            let ends = dims([6, 10, -1]);
            b.add(ops::Slice { starts, ends, steps: vec![1, 1, -1] }, x)
        });
        add(
            "concat",
            vec![normal(3, dtype, &[3, 8]), normal(4, dtype, &[3, 5]), normal(5, dtype, &[3, 11])],
            &|b, x| b.concat(x, 1),
        );
        add("concat rows", vec![normal(3, dtype, &[2, 8]), normal(4, dtype, &[5, 8])], &|b, x| b.concat(x, 0));
        add("pad", x(), &|b, x| {
            let value = b.scalar(dtype, Scalar::I(1))?;
            b.add(ops::Pad { low: vec![1, -2, 4], high: vec![0, 3, 8], interior: vec![0, 0, 0] }, &[x[0], value])
        });
        add("pad interior", x(), &|b, x| {
            let value = b.scalar(dtype, Scalar::I(0))?;
            b.add(ops::Pad { low: vec![0, 1, 2], high: vec![2, 0, -1], interior: vec![1, 0, 2] }, &[x[0], value])
        });
        let indices = || Tensor::from_vec([2, 3], &[0i64, 9, -4, 77, 3, 5]);
        add("gather", vec![normal(1, dtype, &[6, 10, 16]), indices()], &|b, x| b.add(ops::Gather { axis: 1 }, x));
        add("gather last", vec![normal(1, dtype, &[4, 10]), indices()], &|b, x| b.add(ops::Gather { axis: 1 }, x));
        add("gather first i32", vec![normal(1, dtype, &[10, 16]), indices().cast(DType::I32)], &|b, x| {
            b.add(ops::Gather { axis: 0 }, x)
        });
        add("gather elements", vec![normal(1, dtype, &[2, 9]), indices()], &|b, x| {
            b.add(ops::GatherElements { axis: 1 }, x)
        });
        add(
            "pad of a gather of a concat",
            vec![normal(1, dtype, &[3, 4]), normal(2, dtype, &[3, 6]), indices()],
            &|b, x| {
                let joined = b.concat(&x[..2], 1)?;
                let gathered = b.add(ops::Gather { axis: 1 }, &[joined, x[2]])?;
                let value = b.scalar(dtype, Scalar::I(1))?;
                b.add(ops::Pad { low: vec![0, 1, 1], high: vec![1, 0, 2], interior: vec![0; 3] }, &[gathered, value])
            },
        );
    }
    cases.push(one("iota and table", RegionKind::Map, vec![normal(9, DType::F32, &[5, 7])], EXACT, |b, x| {
        let row = b.add(ops::Iota { axis: 0, dtype: DType::F32, shape: dims([5, 7]) }, &[])?;
        let column = b.add(ops::Iota { axis: 1, dtype: DType::I64, shape: dims([5, 7]) }, &[])?;
        let column = b.cast(column, DType::F32)?;
        let table = b.constant(Tensor::from_vec([7], &[1.0f32, -2.0, 4.0, 0.5, 8.0, -16.0, 0.25]))?;
        let sum = b.plus(row, column)?;
        let sum = b.mul(sum, table)?;
        b.plus(sum, x[0])
    }));
    cases
}

/// Codes of four bits, two to a byte.
fn bits() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, kind, inputs, body: &dyn Fn(&mut Builder, &[NodeId]) -> Built| {
        cases.push(one(format!("bitcast {name}"), kind, inputs, EXACT, body));
    };
    for shape in [&[6, 10, 16][..], &[3, 5, 2], &[1, 2]] {
        let name = format!("of quotients {shape:?}");
        add(&name, RegionKind::Map, vec![normal(1, DType::F32, shape), normal(2, DType::F32, shape)], &|b, x| {
            let quotient = b.div(x[0], x[1])?;
            let codes = b.cast(quotient, DType::E2M1)?;
            let pairs = b.reshape(codes, dims([shape.iter().product::<usize>() as i64 / 2, 2]))?;
            b.bitcast(pairs, DType::U8)
        });
    }
    add("of every number", RegionKind::Map, vec![edge_tensor(DType::F32)], &|b, x| {
        let codes = b.cast(x[0], DType::E2M1)?;
        let twice = b.reshape(codes, b.shape(codes).into_iter().chain([Dim::known(1)]))?;
        let pairs = b.concat(&[twice, twice], 1)?;
        b.bitcast(pairs, DType::U8)
    });
    let codes = || normal(3, DType::E2M1, &[8, 6, 2]);
    add("of codes in memory, turned", RegionKind::Map, vec![codes()], &|b, x| {
        let bytes = b.bitcast(x[0], DType::U8)?;
        b.transpose(bytes, &[1, 0])
    });
    add("before a map", RegionKind::Map, vec![codes(), Tensor::from_vec([8, 6], &[0x88u8; 48])], &|b, x| {
        let bytes = b.bitcast(x[0], DType::U8)?;
        b.xor(bytes, x[1])
    });
    let bytes = || Tensor::from_vec([16, 16], &(0..=255).collect::<Vec<u8>>());
    add("of bytes", RegionKind::Map, vec![bytes()], &|b, x| {
        let codes = b.bitcast(x[0], DType::E2M1)?;
        b.cast(codes, DType::F32)
    });
    add("of bytes, upper halves", RegionKind::Map, vec![bytes()], &|b, x| {
        let codes = b.bitcast(x[0], DType::E2M1)?;
        let upper = b.slice_axis(codes, 2, 1i64, 2i64)?;
        b.cast(upper, DType::BF16)
    });
    for (rows, length) in [(5, 64), (3, 6), (2, 4096)] {
        let name = format!("of rows {rows}x{length}");
        add(&name, RegionKind::Row, vec![normal(4, DType::F32, &[rows, length])], &|b, x| {
            let size = b.abs(x[0])?;
            let largest = b.reduce(ReduceKind::Max, size, &[1], true)?;
            let all = b.broadcast_to(largest, &b.shape(x[0]))?;
            let quotient = b.div(x[0], all)?;
            let codes = b.cast(quotient, DType::E2M1)?;
            let pairs = b.reshape(codes, dims([rows as i64, length as i64 / 2, 2]))?;
            b.bitcast(pairs, DType::U8)
        });
    }
    cases
}

fn fused_maps() -> Vec<Case> {
    let mut cases = Vec::new();
    // Sizes around the lengths of vectors and CTAs; the larger ones make vectors on every machine.
    for n in [1usize, 3, 255, 1024, 1031, 65_539, 300_000, 1_200_007] {
        for dtype in FLOATS {
            let inputs = vec![normal(1, dtype, &[n]), normal(2, dtype, &[n])];
            cases.push(case(format!("add mul {n} {dtype}"), RegionKind::Map, inputs, units(dtype, 2.0), |b, x| {
                let sum = b.plus(x[0], x[1])?;
                let half = b.scalar_like(sum, 0.5)?;
                let product = b.mul(sum, half)?;
                Ok(vec![product, b.lt(x[0], x[1])?])
            }));
        }
    }
    for (rows, columns) in [(7, 12), (300, 1000), (333, 1001), (2048, 768)] {
        for dtype in FLOATS {
            let inputs =
                vec![normal(1, dtype, &[rows, columns]), normal(2, dtype, &[columns]), normal(3, dtype, &[rows, 1])];
            cases.push(one(
                format!("bias and scale {rows}x{columns} {dtype}"),
                RegionKind::Map,
                inputs,
                units(dtype, 4.0),
                |b, x| {
                    let sum = b.plus(x[0], x[1])?;
                    let scaled = b.mul(sum, x[2])?;
                    b.relu(scaled)
                },
            ));
        }
    }
    for (rows, columns) in [(64, 64), (70, 33), (300, 1000), (999, 517)] {
        for dtype in [DType::F32, DType::BF16, DType::U8] {
            let inputs = vec![normal(1, dtype, &[rows, columns])];
            cases.push(one(format!("transpose {rows}x{columns} {dtype}"), RegionKind::Map, inputs, EXACT, |b, x| {
                b.transpose(x[0], &[1, 0])
            }));
        }
    }
    let inputs = vec![normal(1, DType::F32, &[2, 40, 50]), normal(2, DType::F32, &[2, 50, 40])];
    cases.push(one("transposed and not, 2x40x50", RegionKind::Map, inputs, units(DType::F32, 2.0), |b, x| {
        let turned = b.transpose(x[0], &[0, 2, 1])?;
        let sum = b.plus(turned, x[1])?;
        b.mul(sum, turned)
    }));
    let inputs = vec![normal(1, DType::BF16, &[4, 128, 512]), normal(2, DType::BF16, &[512])];
    cases.push(one("heads bf16", RegionKind::Map, inputs, units(DType::BF16, 2.0), |b, x| {
        let sum = b.plus(x[0], x[1])?;
        let heads = b.reshape(sum, [4i64, 128, 8, 64])?;
        b.transpose(heads, &[0, 2, 1, 3])
    }));
    let rope = vec![
        normal(1, DType::F32, &[2, 4, 32, 64]),
        normal(2, DType::F32, &[32, 64]),
        normal(3, DType::F32, &[32, 64]),
    ];
    for interleaved in [false, true] {
        let shaped = rope.clone();
        let tolerance = Tolerance::Elementwise { rtol: 1e-6, atol: 1e-6 };
        cases.push(one(format!("rope {interleaved}"), RegionKind::Map, shaped, tolerance, |b, x| {
            b.add(ops::Rope { interleaved }, x)
        }));
    }
    let inputs = vec![normal(1, DType::F32, &[0, 4])];
    cases.push(one("no elements", RegionKind::Map, inputs, EXACT, |b, x| b.neg(x[0])));
    cases
}

/// Sums of `n` terms of unit size in another order than the reference's.
fn summed(dtype: DType, n: usize) -> Tolerance {
    let digits = if dtype == DType::F64 { 52 } else { 23 };
    let of_type = match units(dtype, 4.0) {
        Tolerance::Elementwise { rtol, .. } => rtol,
        _ => 0.0,
    };
    let order = (n as f64).sqrt() * 8.0 * 2f64.powi(-digits);
    Tolerance::Elementwise { rtol: of_type, atol: order.max(of_type * 0.5) }
}

fn rows() -> Vec<Case> {
    let mut cases = Vec::new();
    let lengths =
        [1usize, 2, 5, 8, 31, 33, 64, 128, 384, 500, 768, 1000, 1024, 2048, 4096, 5000, 16_384, 20_000, 65_536];
    for length in lengths {
        let n_rows = (40_000 / length).clamp(2, 37);
        for dtype in FLOATS {
            let x = || normal(1, dtype, &[n_rows, length]);
            let tolerance = summed(dtype, length);
            cases.push(one(
                format!("softmax {n_rows}x{length} {dtype}"),
                RegionKind::Row,
                vec![x()],
                tolerance,
                |b, x| b.add(ops::Softmax { axis: 1 }, x),
            ));
            if length > 1 {
                let vectors = vec![x(), normal(2, dtype, &[length]), normal(3, dtype, &[length]), x()];
                cases.push(case(
                    format!("residual layer_norm {n_rows}x{length} {dtype}"),
                    RegionKind::Row,
                    vectors,
                    units_and(dtype, 1e-4),
                    |b, x| {
                        let sum = b.plus(x[0], x[3])?;
                        Ok(vec![b.add(ops::LayerNorm { eps: 1e-5 }, &[sum, x[1], x[2]])?, sum])
                    },
                ));
            }
        }
        let vectors = vec![normal(1, DType::F32, &[n_rows, length]), normal(2, DType::F32, &[length])];
        cases.push(one(
            format!("rms_norm {n_rows}x{length}"),
            RegionKind::Row,
            vectors,
            Tolerance::Elementwise { rtol: 1e-5, atol: 1e-6 },
            |b, x| b.add(ops::RmsNorm { eps: 1e-6 }, x),
        ));
    }
    cases.push(one(
        "masked softmax",
        RegionKind::Row,
        vec![normal(1, DType::F32, &[2, 4, 8, 24]), normal(2, DType::Bool, &[2, 1, 1, 24])],
        summed(DType::F32, 24),
        |b, x| {
            let hidden = b.scalar(DType::F32, f64::NEG_INFINITY)?;
            let scores = b.select(x[1], x[0], hidden)?;
            b.add(ops::Softmax { axis: 3 }, &[scores])
        },
    ));
    cases.push(one(
        "log_softmax",
        RegionKind::Row,
        vec![normal(1, DType::F32, &[9, 77])],
        Tolerance::Elementwise { rtol: 1e-5, atol: 1e-5 },
        |b, x| b.add(ops::LogSoftmax { axis: 1 }, x),
    ));
    cases.push(one(
        "group_norm",
        RegionKind::Row,
        vec![normal(1, DType::F32, &[2, 6, 5, 7]), normal(2, DType::F32, &[6]), normal(3, DType::F32, &[6])],
        Tolerance::Elementwise { rtol: 1e-4, atol: 1e-5 },
        |b, x| b.add(ops::GroupNorm { groups: 3, eps: 1e-5 }, x),
    ));
    cases.push(case(
        "row sums and rows",
        RegionKind::Row,
        vec![normal(1, DType::F32, &[11, 130])],
        summed(DType::F32, 130),
        |b, x| {
            let sum = b.reduce(ReduceKind::Sum, x[0], &[1], true)?;
            let largest = b.reduce(ReduceKind::Max, x[0], &[1], true)?;
            let centered = b.sub(x[0], largest)?;
            Ok(vec![sum, centered])
        },
    ));
    cases
}

fn units_and(dtype: DType, atol: f64) -> Tolerance {
    match units(dtype, 16.0) {
        Tolerance::Elementwise { rtol, atol: least } => {
            let of_type = if dtype == DType::F32 { atol } else { rtol };
            Tolerance::Elementwise { rtol: rtol.max(1e-4), atol: least.max(of_type) }
        }
        other => other,
    }
}

fn reductions() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [(&[usize], &[usize]); 12] = [
        (&[7], &[0]),
        (&[100_003], &[0]),
        (&[5, 300], &[1]),
        (&[300, 5], &[0]),
        (&[1000, 64], &[0]),
        (&[4, 1000, 33], &[1]),
        (&[4, 10, 33], &[0, 2]),
        (&[6, 5, 4, 3], &[1, 3]),
        (&[64, 2048], &[0]),
        (&[3, 40_000], &[1]),
        (&[20_000, 8], &[0]),
        (&[2, 3, 1], &[2]),
    ];
    for (shape, axes) in shapes {
        let n: usize = axes.iter().map(|&axis| shape[axis]).product();
        for dtype in [DType::F32, DType::BF16, DType::I32, DType::I64] {
            let kinds: &[ReduceKind] = if dtype.is_float() {
                &[ReduceKind::Sum, ReduceKind::Mean, ReduceKind::Max]
            } else {
                &[ReduceKind::Sum, ReduceKind::Min]
            };
            for &kind in kinds {
                let tolerance = if dtype.is_float() { summed(dtype, n) } else { EXACT };
                let name = format!("reduce {} {shape:?} over {axes:?} {dtype}", kind.name());
                cases.push(one(name, RegionKind::Reduction, vec![normal(1, dtype, shape)], tolerance, |b, x| {
                    b.reduce(kind, x[0], axes, false)
                }));
            }
        }
    }
    for dtype in [DType::F32, DType::F16, DType::I8, DType::U64, DType::Bool, DType::F64] {
        for (shape, axis) in [(&[17usize, 40][..], 1), (&[40, 17], 0), (&[3, 5000], 1)] {
            for (largest, last) in [(true, false), (false, true)] {
                let name = format!("arg_reduce {shape:?} {axis} {largest} {last} {dtype}");
                cases.push(one(name, RegionKind::Reduction, vec![normal(3, dtype, shape)], EXACT, |b, x| {
                    b.add(ops::ArgReduce { largest, axis, keep: false, last }, x)
                }));
            }
            let name = format!("reduce max {shape:?} {axis} {dtype}");
            cases.push(one(name, RegionKind::Reduction, vec![normal(3, dtype, shape)], EXACT, |b, x| {
                b.reduce(ReduceKind::Max, x[0], &[axis], true)
            }));
        }
    }
    cases.push(one("arg_reduce of NaN", RegionKind::Reduction, vec![edge_tensor(DType::F32)], EXACT, |b, x| {
        b.add(ops::ArgReduce { largest: false, axis: 0, keep: true, last: false }, x)
    }));
    cases.push(one(
        "square root of the mean of squares, transposed",
        RegionKind::Reduction,
        vec![normal(1, DType::F32, &[6, 50, 8])],
        summed(DType::F32, 50),
        |b, x| {
            let square = b.mul(x[0], x[0])?;
            let mean = b.reduce(ReduceKind::Mean, square, &[1], false)?;
            let root = b.sqrt(mean)?;
            b.transpose(root, &[1, 0])
        },
    ));
    cases
}

fn windows() -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::BF16, DType::I32] {
        for kind in [ReduceKind::Max, ReduceKind::Sum, ReduceKind::Mean] {
            if kind == ReduceKind::Mean && !dtype.is_float() {
                continue;
            }
            let pool = |window: usize, stride: usize, low: i64, high: i64, dilation: usize, last: bool| {
                let spread =
                    |n: usize, other: usize| if last { vec![other, n, n, other] } else { vec![other, other, n, n] };
                let pads = |n: i64| if last { vec![0, n, n, 0] } else { vec![0, 0, n, n] };
                ops::ReduceWindow {
                    kind,
                    window: spread(window, 1),
                    strides: spread(stride, 1),
                    dilations: spread(dilation, 1),
                    low: pads(low),
                    high: pads(high),
                }
            };
            let tolerance = if dtype.is_float() { summed(dtype, 64) } else { EXACT };
            for (shape, op, name) in [
                ([2, 3, 9, 11], pool(3, 2, 1, 1, 1, false), "3x3 by 2 padded"),
                ([2, 9, 11, 16], pool(3, 2, 1, 1, 1, true), "3x3 by 2 padded, channels last"),
                ([1, 2, 12, 12], pool(2, 2, 0, 0, 1, false), "2x2 by 2"),
                ([1, 2, 12, 14], pool(3, 1, 2, 2, 2, false), "3x3 dilated"),
                ([1, 5, 13, 13], pool(13, 1, 6, 6, 1, false), "13x13"),
                ([1, 8, 8, 24], pool(8, 1, 0, 0, 1, true), "8x8 whole, channels last"),
            ] {
                let name = format!("window {} {name} {dtype}", kind.name());
                cases.push(one(name, RegionKind::Window, vec![normal(1, dtype, &shape)], tolerance, |b, x| {
                    let pooled = b.add(op, x)?;
                    b.neg(pooled)
                }));
            }
        }
    }
    cases
}

fn ordered() -> Vec<Case> {
    let mut cases = Vec::new();
    for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
        for (dtype, kind) in [
            (DType::F32, ReduceKind::Sum),
            (DType::I64, ReduceKind::Sum),
            (DType::BF16, ReduceKind::Max),
            (DType::I8, ReduceKind::Prod),
        ] {
            let tolerance = if dtype == DType::F32 { summed(dtype, 40) } else { EXACT };
            let name = format!("scan {} {exclusive} {reverse} {dtype}", kind.name());
            cases.push(one(name, RegionKind::Ordered, vec![normal(1, dtype, &[3, 40, 5])], tolerance, |b, x| {
                b.add(ops::Scan { kind, axis: 1, exclusive, reverse }, x)
            }));
        }
    }
    for dtype in [DType::F32, DType::F16, DType::I64, DType::U8, DType::Bool] {
        for descending in [false, true] {
            let name = format!("argsort {descending} {dtype}");
            cases.push(one(name, RegionKind::Ordered, vec![normal(1, dtype, &[3, 100, 2])], EXACT, |b, x| {
                b.add(ops::Argsort { axis: 1, descending }, x)
            }));
        }
    }
    cases.push(one("argsort edges", RegionKind::Ordered, vec![edge_tensor(DType::F32)], EXACT, |b, x| {
        b.add(ops::Argsort { axis: 0, descending: false }, x)
    }));
    for kind in [ScatterKind::Replace, ScatterKind::Add, ScatterKind::Mul, ScatterKind::Max, ScatterKind::Min] {
        for dtype in [DType::F32, DType::I32, DType::BF16] {
            // Doubled and outside indices.
            let indices = Tensor::from_vec([5, 2], &[0i64, 1, 3, 3, 0, 1, -1, 0, 9, 2]);
            let inputs = vec![normal(1, dtype, &[4, 4, 6]), indices, normal(2, dtype, &[5, 6])];
            let name = format!("scatter {} {dtype}", kind.name());
            cases.push(one(name, RegionKind::Ordered, inputs, units(dtype, 1.0), |b, x| {
                b.add(ops::ScatterNd { kind }, x)
            }));
            let indices = Tensor::from_vec([6, 1], &[3i32, 3, 0, 1, 3, 99]);
            let inputs = vec![normal(1, dtype, &[7]), indices, normal(2, dtype, &[6])];
            let name = format!("scatter elements {} {dtype}", kind.name());
            cases.push(one(name, RegionKind::Ordered, inputs, units(dtype, 1.0), |b, x| {
                b.add(ops::ScatterNd { kind }, x)
            }));
        }
    }
    cases
}
