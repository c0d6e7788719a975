//! The contraction graphs of `tests/codegen`, with inputs, and how near a kernel must come to the reference.
//!
//! Small whole numbers make products and sums exact in every type and order, so that results are bit-equal. Normal
//! numbers show rounding, within the bound that the length of the sums gives.

use gable_ir::{Module, Op, eval, text, verify};
use gable_tensor::random::{self, Random};
use gable_tensor::{DType, Kind, Scalar, Tensor, Tolerance};
use std::path::{Path, PathBuf};

/// Names and graphs of a folder, sorted.
pub fn read(folder: &str) -> Vec<(String, Module)> {
    // From the workspace where there is one, else from where the program runs.
    let here = PathBuf::from("tests/codegen").join(folder);
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/codegen").join(folder);
    let folder = if here.is_dir() { here } else { built };
    let list = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("`{}`: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = list.map(|entry| entry.expect("an entry of a folder").path()).collect();
    paths.sort();
    assert!(paths.len() > 10, "the cases are there");
    let parse = |path: PathBuf| {
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let source = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("`{}`: {e}", path.display()));
        let graph = text::parse(&source).unwrap_or_else(|e| panic!("{name}: {e}"));
        let module = Module { graph, ..Module::default() };
        assert_eq!(verify::verify_module(&module), [], "{name}");
        (name, module)
    };
    paths.into_iter().map(parse).collect()
}

fn inputs_of(module: &Module, mut make: impl FnMut(&mut Random, DType, &[usize]) -> Tensor) -> Vec<(String, Tensor)> {
    let graph = &module.graph;
    let named = graph.inputs().iter().map(|&id| {
        let (name, ty) = (graph.input_name(id), graph.ty(id).concrete().expect("the cases have known sizes"));
        let tensor = make(&mut Random::named(1, name), ty.dtype, &ty.shape);
        // Scales end in an s. In a type of elements they have no sign: tensor cores read none.
        let is_scale = name.ends_with('s') && ty.dtype == DType::E4M3;
        (name.to_string(), if is_scale { magnitudes(&tensor) } else { tensor })
    });
    named.collect()
}

fn magnitudes(tensor: &Tensor) -> Tensor {
    let absolute = tensor.scalars().map(|x| match x {
        Scalar::F(x) => Scalar::F(x.abs()),
        other => other,
    });
    Tensor::from_scalars(tensor.dtype(), tensor.shape().to_vec(), absolute.collect::<Vec<_>>())
}

/// Inputs from -2 to 2, without fractions; unsigned ones from 0 to 4, and powers of two from a quarter to 4 as scales.
pub fn whole_numbers(module: &Module) -> Vec<(String, Tensor)> {
    inputs_of(module, |random, dtype, shape| {
        let lowest = if dtype.kind() == Kind::Unsigned { 0 } else { -2 };
        let count = shape.iter().product::<usize>();
        let values: Vec<Scalar> = (0..count)
            .map(|_| {
                let value = random.below(5) as i64 + lowest;
                if dtype == DType::UE8M0 {
                    return Scalar::F(2f64.powi(value as i32));
                }
                if dtype.is_float() { Scalar::F(value as f64) } else { Scalar::I(value.into()) }
            })
            .collect();
        Tensor::from_scalars(dtype, shape.to_vec(), values)
    })
}

/// What whole numbers demand: equality, but for the few functions that are approximations.
pub fn whole_tolerance(module: &Module) -> Tolerance {
    let graph = &module.graph;
    let approximates = graph.ids().iter().any(|&id| matches!(graph.op(id), Op::Gelu(_) | Op::Silu(_)));
    // Rounding of a few bf16 results, around the largest.
    if approximates {
        Tolerance::ScaledElementwise { rtol: 2f64.powi(-6), atol_of_max: 2f64.powi(-8) }
    } else {
        Tolerance::Exact
    }
}

/// Normal inputs; integers as for whole numbers.
pub fn normal_numbers(module: &Module) -> Vec<(String, Tensor)> {
    inputs_of(module, |random, dtype, shape| random::tensor(random, dtype, shape, 3).expect("the cases are small"))
}

/// What normal numbers allow: each of `k` products and sums loses at most 2^-24 of the sum of magnitudes (tensor cores,
/// which cut 16 products at 2^-25 of the largest and the sum at 2^-23, lose less), and each op after the sum rounds once.
pub fn normal_tolerance(module: &Module, inputs: &[(String, Tensor)]) -> Tolerance {
    let graph = &module.graph;
    let products = |id: gable_ir::NodeId| -> usize {
        let sizes = |operand: usize| graph.ty(graph.operand(id, operand)).concrete().map(|ty| ty.shape);
        match graph.op(id) {
            Op::Matmul(_) | Op::GroupedMatmul(_) => sizes(0).and_then(|shape| shape.last().copied()).unwrap_or(0),
            Op::Conv(_) => sizes(1).map_or(0, |shape| shape[1..].iter().product()),
            _ => 0,
        }
    };
    let k = graph.ids().into_iter().map(products).max().unwrap_or(0);
    // The graph over magnitudes: maps of the cases do not shrink what is not negative, but for a negation.
    let magnitudes: Vec<(String, Tensor)> =
        inputs.iter().map(|(name, tensor)| (name.clone(), magnitudes(tensor))).collect();
    let given: Vec<(&str, &Tensor)> = magnitudes.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let outputs = eval::evaluate(module, &given).expect("the cases evaluate");
    let largest = outputs.iter().flat_map(|(_, t)| t.scalars().map(|x| x.as_f64().abs())).fold(0.0, f64::max);
    let unit = outputs.iter().map(|(_, tensor)| unit(tensor.dtype())).fold(0.0, f64::max);
    let sums = match graph.inputs().first().map(|&id| graph.ty(id).dtype) {
        Some(DType::F64) => 2f64.powi(-53),
        _ => 2f64.powi(-24),
    };
    Tolerance::Elementwise { rtol: 4.0 * unit, atol: (k as f64 * sums + 4.0 * unit) * largest }
}

/// The relative error of rounding to a type; integers are exact.
fn unit(dtype: DType) -> f64 {
    match dtype {
        DType::BF16 => 2f64.powi(-8),
        DType::F16 | DType::Tf32 => 2f64.powi(-11),
        DType::F64 => 2f64.powi(-53),
        DType::E4M3 => 2f64.powi(-4),
        DType::E5M2 => 2f64.powi(-3),
        DType::E2M1 => 2f64.powi(-2),
        DType::UE8M0 => 2f64.powi(-1),
        _ if dtype.is_float() => 2f64.powi(-24),
        _ => 0.0,
    }
}
