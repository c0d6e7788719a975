//! Whole models with narrow weights and factors, as a user gives them: which instructions they become on each target, and that
//! they compute what the model says, in the emulator.

mod forms;
mod onnx;

use forms::{Chain, Form, Store};
use gable::{
    Compiled, Device, Emulation, Model, Options, Precision, Schedule, Session, SessionOptions, Target, Tensor,
};
use gable_ir::Module;
use gable_tensor::compare::compare;
use gable_tensor::{Bindings, DType, Tolerance};

const HOPPER: Target = Target::Sm90a;
const BLACKWELL: Target = Target::Sm100a;
const GEFORCE: Target = Target::Sm120a;
const TARGETS: [Target; 3] = [HOPPER, BLACKWELL, GEFORCE];

/// Tensor memory sums no whole numbers here.
const BLACKWELL_ULTRA: Target = Target::Sm103a;

/// Rows of the classes' test: more than kernels for few rows take.
const MANY_ROWS: usize = 256;

fn compiled(module: &Module, target: Target, precision: Precision) -> Compiled {
    let options = Options::new().target(target).precision(precision).for_device(Device::Emulator);
    options.optimize_module("model", module.clone()).unwrap_or_else(|e| panic!("{target}: {e}"))
}

/// The PTX of the one kernel that multiplies, and its class. Others may quantise before it.
fn product_kernel(compiled: &Compiled, name: &str) -> (String, String) {
    let plan = &compiled.artifact().plans[0];
    let products: Vec<_> = plan
        .kernels
        .iter()
        .filter(|kernel| kernel.ptx.contains("    // ") && kernel.name.starts_with("matmul"))
        .collect();
    let names: Vec<&str> = plan.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
    let [product] = products[..] else { panic!("{name} on {}: kernels are {names:?}", plan.target) };
    (product.class.clone(), product.ptx.clone())
}

/// Demands that the product is one kernel on tensor cores whose PTX has each of these texts, on each target.
fn becomes(name: &str, module: &Module, expected: [&[&str]; 3]) {
    becomes_in(Precision::AsIs, name, module, expected);
}

/// The same, where a precision is asked for.
fn becomes_in(precision: Precision, name: &str, module: &Module, expected: [&[&str]; 3]) {
    for (target, texts) in TARGETS.into_iter().zip(expected) {
        let (class, ptx) = product_kernel(&compiled(module, target, precision), name);
        let head: Vec<&str> = ptx.lines().filter(|line| line.starts_with("    // ")).take(2).collect();
        assert!(!matches!(class.as_str(), "fma" | "none"), "{name} on {target} is a kernel of class {class}: {head:?}");
        for text in texts {
            assert!(ptx.contains(text), "{name} on {target} is a kernel of class {class} without `{text}`: {head:?}");
        }
    }
}

/// Demands that the compiled model computes what the model says, on each target.
fn computes(name: &str, module: &Module, inputs: &[(&str, Tensor)], tolerance: Tolerance) {
    let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let expected = gable_ir::eval::evaluate(module, &given).unwrap_or_else(|e| panic!("{name}: {e}"));
    let schedules = [Schedule::Eager, Schedule::Lazy, Schedule::Random(3), Schedule::Eager];
    for (target, schedule) in TARGETS.into_iter().chain([BLACKWELL_ULTRA]).zip(schedules) {
        let compiled = compiled(module, target, Precision::AsIs);
        let emulation = Emulation { target: Some(target.name()), schedule, races: true };
        let options = SessionOptions { emulation, ..SessionOptions::default() };
        let mut session = Session::open_with(&compiled, Device::Emulator, options).unwrap_or_else(|e| panic!("{e}"));
        let found = session.run(&given).unwrap_or_else(|e| panic!("{name} on {target}: {e}"));
        for ((output, expected), (_, found)) in expected.iter().zip(&found) {
            let comparison = compare(found, expected, tolerance);
            assert!(comparison.within, "{name} on {target}, `{output}`: {comparison}");
        }
    }
}

/// Sums of exact products in f32: 24 bits, some hundred terms. Results of 16 bits round once more.
fn tolerance(out: DType) -> Tolerance {
    match out {
        DType::F32 => Tolerance::ScaledElementwise { rtol: 1e-5, atol_of_max: 1e-5 },
        DType::F16 => Tolerance::ScaledElementwise { rtol: 1e-3, atol_of_max: 1e-5 },
        _ => Tolerance::ScaledElementwise { rtol: 8e-3, atol_of_max: 1e-5 },
    }
}

/// Sums of e4m3 in f32: the tensor cores of Hopper keep 13 bits of a sum of 128 before they are promoted.
const SUMS_OF_E4M3: Tolerance = Tolerance::ScaledElementwise { rtol: 1e-3, atol_of_max: 1e-3 };

const MMA: &str = "mma.sync";

#[test]
fn factors_with_block_scales_are_multiplied_as_they_are_stored() {
    // In f32 and in bf16 the elements times scales are the same numbers; Hopper multiplies those.
    for (store, block, mma) in [
        (Store::Mxfp8, "kind::mxf8f6f4.block_scale", "kind::mxf8f6f4.block_scale"),
        (Store::Mxfp4, "kind::mxf4.block_scale", "kind::mxf4.block_scale"),
        (Store::Nvfp4 { whole: false }, "kind::mxf4nvf4.block_scale", "kind::mxf4nvf4.block_scale"),
    ] {
        for dtype in [DType::F32, DType::BF16] {
            let module = forms::both(store, dtype, [MANY_ROWS, 256, 512]);
            let name = format!("{store:?} in {dtype}");
            becomes(&name, &module, [&[MMA, "bf16.bf16.f32"], &["tcgen05.mma", block], &[MMA, mma]]);
        }
    }
    let module = forms::both(Store::Nvfp4 { whole: true }, DType::F32, [MANY_ROWS, 256, 512]);
    let block = "kind::mxf4nvf4.block_scale";
    becomes("nvfp4 with scales of tensors", &module, [&[MMA, "bf16.bf16.f32"], &["tcgen05.mma", block], &[MMA, block]]);
}

#[test]
fn eight_bit_factors_with_scales_of_rows_and_columns_are_multiplied_as_they_are_stored() {
    for (dtype, kinds) in [
        (DType::E4M3, ["wgmma.mma_async.sync.aligned", "kind::f8f6f4", "e4m3.e4m3.f32"]),
        (DType::I8, ["s32.s8.s8", "kind::i8", "s32.s8.s8.s32"]),
    ] {
        let module = forms::both(Store::Rows(dtype), DType::F32, [MANY_ROWS, 256, 512]);
        becomes(dtype.name(), &module, [&[kinds[0]], &["tcgen05.mma", kinds[1]], &[MMA, kinds[2]]]);
    }
    let module = forms::both(Store::Rows(DType::I8), DType::F32, [MANY_ROWS, 256, 512]);
    let (class, ptx) = product_kernel(&compiled(&module, BLACKWELL_ULTRA, Precision::AsIs), "int8");
    assert!(ptx.contains("s32.s8.s8.s32"), "int8 on {BLACKWELL_ULTRA} is a kernel of class {class}");
}

#[test]
fn narrow_weights_are_read_as_they_are_stored() {
    for (store, what) in [
        (Store::Mxfp8, "of e4m3 scaled by ue8m0 in groups of 32"),
        (Store::Mxfp4, "of e2m1 pairs scaled by ue8m0 in groups of 32"),
        (Store::Nvfp4 { whole: false }, "of e2m1 pairs scaled by e4m3 in groups of 16"),
        (Store::Int4, "of int4 pairs scaled by bf16 in groups of 32"),
    ] {
        for rows in [4, MANY_ROWS] {
            let module = forms::weight(store, DType::BF16, [rows, 256, 512]);
            becomes(&format!("{store:?}, {rows} rows"), &module, [&[what]; 3]);
        }
    }
}

#[test]
fn a_precision_asked_for_keeps_weights_narrow() {
    for (store, what) in [
        (Store::Int4, "of int4 pairs scaled by f32 in groups of 32"),
        (Store::Nvfp4 { whole: true }, "of e2m1 pairs scaled by e4m3 in groups of 16"),
        (Store::Rows(DType::E4M3), "k-major by 4 of e4m3"),
    ] {
        let module = forms::weight(store, DType::F32, [MANY_ROWS, 256, 512]);
        becomes_in(Precision::Bf16, &format!("{store:?}"), &module, [&[what]; 3]);
    }
    // Rounded to f16 after scaling: the rounding goes.
    let module = forms::both(Store::Rows(DType::E4M3), DType::F16, [MANY_ROWS, 256, 512]);
    let kinds = ["wgmma.mma_async.sync.aligned", "kind::f8f6f4", "e4m3.e4m3.f32"];
    becomes_in(Precision::Fp16, "e4m3 in f16", &module, kinds.each_ref().map(std::slice::from_ref));
}

#[test]
fn each_form_computes_what_it_says() {
    let stores =
        [Store::Mxfp8, Store::Mxfp4, Store::Nvfp4 { whole: true }, Store::Rows(DType::E4M3), Store::Rows(DType::I8)];
    for store in stores {
        let form = Form { sizes: [20, 24, 64], left: store, right: store, dtype: DType::F32 };
        let (module, inputs) = form.with_inputs();
        let is_e4m3 = store == Store::Rows(DType::E4M3);
        let within = if is_e4m3 { SUMS_OF_E4M3 } else { tolerance(DType::F32) };
        computes(&format!("{store:?} twice"), &module, &inputs, within);
    }
    for store in [Store::Mxfp8, Store::Mxfp4, Store::Nvfp4 { whole: false }, Store::Nvfp4 { whole: true }, Store::Int4]
    {
        for rows in [3, 70] {
            let form = Form { sizes: [rows, 24, 64], left: Store::Plain, right: store, dtype: DType::BF16 };
            let (module, inputs) = form.with_inputs();
            computes(&format!("{store:?}, {rows} rows"), &module, &inputs, tolerance(DType::BF16));
        }
    }
}

/// What the first product gives is what the second takes: nothing packs or moves codes and scales between them.
#[test]
fn products_of_nvfp4_follow_each_other_without_a_kernel_between() {
    let sizes = [128, 128, 128];
    let kind = "kind::mxf4nvf4.block_scale";
    for (name, (module, inputs), products) in [
        ("both", Chain::whole(sizes), 2),
        ("the first", Chain::quantising(sizes), 1),
        ("the second", Chain::of_quantised(sizes), 1),
    ] {
        for (target, mma) in [(BLACKWELL, "tcgen05.mma"), (BLACKWELL_ULTRA, "tcgen05.mma"), (GEFORCE, MMA)] {
            let compiled = compiled(&module, target, Precision::AsIs);
            let plan = &compiled.artifact().plans[0];
            let names: Vec<&str> = plan.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
            assert_eq!((plan.kernels.len(), plan.steps.len()), (products, products), "{name} on {target}: {names:?}");
            for kernel in &plan.kernels {
                let head: Vec<&str> = kernel.ptx.lines().filter(|line| line.starts_with("    // ")).take(2).collect();
                assert!(kernel.ptx.contains(mma) && kernel.ptx.contains(kind), "{name} on {target}: {head:?}");
            }
        }
        computes(name, &module, &inputs, tolerance(DType::F32));
    }
}

/// k is no multiple of what a load holds, and not one of a box: right by other kernels.
#[test]
fn odd_sizes_are_right() {
    for (store, k) in
        [(Store::Mxfp4, 96), (Store::Int4, 32), (Store::Rows(DType::E4M3), 70), (Store::Rows(DType::I8), 7)]
    {
        let left = if matches!(store, Store::Rows(_)) { store } else { Store::Plain };
        let dtype = if left == store { DType::F32 } else { DType::BF16 };
        let (module, inputs) = Form { sizes: [5, 9, k], left, right: store, dtype }.with_inputs();
        computes(&format!("{store:?} of {k}"), &module, &inputs, tolerance(dtype));
    }
}

/// A model file, read back.
fn captured(file: &[u8]) -> Result<Module, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, file).expect("the folder is writable");
    let model = Model::load(&path).map_err(|e| e.to_string())?;
    model.module(&Bindings::new()).map_err(|e| e.to_string())
}

/// A dequantised weight `[k, n]` and the product with it, in f16. Scales are 0.5 and 1 in turn.
fn dequantised(element: u64, [m, n, k]: [usize; 3], block: Option<usize>, zero_point: Option<u8>) -> Vec<u8> {
    let halves = matches!(element, onnx::I4 | onnx::U4 | onnx::E2M1);
    let count = if halves { (n * k).div_ceil(2) } else { n * k };
    let data = forms::noise(count, element == onnx::E4M3);
    let groups = block.map_or(1, |block| k.div_ceil(block));
    let shape: &[usize] = if block.is_some() { &[groups, n] } else { &[n] };
    let attributes: Vec<(&str, i64)> = match block {
        Some(block) => vec![("axis", 0), ("block_size", block as i64)],
        None => vec![("axis", 1)],
    };
    let mut stored = vec![
        onnx::stored("w", element, &[k, n], &data),
        onnx::stored("s", onnx::FLOAT16, shape, &halves_of_scales(groups * n)),
    ];
    let mut inputs = vec!["w", "s"];
    if let Some(point) = zero_point {
        let count = if halves { (groups * n).div_ceil(2) } else { groups * n };
        stored.push(onnx::stored("z", element, shape, &vec![point; count]));
        inputs.push("z");
    }
    let nodes = [
        onnx::node("", "DequantizeLinear", &inputs, "d", &attributes),
        onnx::node("", "MatMul", &["x", "d"], "y", &[]),
    ];
    onnx::model(onnx::FLOAT16, &[m, k], &[m, n], &nodes, &stored)
}

/// Scales 0.5 and 1 in turn, as f16.
fn halves_of_scales(count: usize) -> Vec<u8> {
    (0..count).flat_map(|i| if i % 3 == 0 { [0x00, 0x38] } else { [0x00, 0x3c] }).collect()
}

/// `MatMulNBits` of f16 with a block of 32.
fn n_bits(bits: usize, [m, n, k]: [usize; 3], zero_points: Option<u8>, more: &[&str]) -> Vec<u8> {
    let blocks = k.div_ceil(32);
    let bytes = 32 * bits / 8;
    let mut stored = vec![
        onnx::stored("w", onnx::U8, &[n, blocks, bytes], &forms::noise(n * blocks * bytes, false)),
        onnx::stored("s", onnx::FLOAT16, &[n * blocks], &halves_of_scales(n * blocks)),
    ];
    let mut inputs = vec!["x", "w", "s"];
    if let Some(point) = zero_points {
        let count = n * (blocks * bits).div_ceil(8);
        stored.push(onnx::stored("z", onnx::U8, &[count], &vec![point; count]));
        inputs.push("z");
    }
    inputs.extend(more);
    let attributes = [("N", n as i64), ("K", k as i64), ("bits", bits as i64), ("block_size", 32)];
    let node = onnx::node("com.microsoft", "MatMulNBits", &inputs, "y", &attributes);
    onnx::model(onnx::FLOAT16, &[m, k], &[m, n], &[node], &stored)
}

#[test]
fn weights_of_onnx_models_stay_narrow() {
    // Larger than what folding stores wide.
    let sizes = [MANY_ROWS, 256, 512];
    for (name, file, what) in [
        ("e2m1", dequantised(onnx::E2M1, sizes, Some(32), None), "of e2m1 pairs scaled by f16 in groups of 32"),
        ("int4", dequantised(onnx::I4, sizes, Some(32), None), "of int4 pairs scaled by f16 in groups of 32"),
        (
            "uint4 about 8",
            dequantised(onnx::U4, sizes, Some(32), Some(0x88)),
            "of int4 pairs scaled by f16 in groups of 32",
        ),
        ("uint4 about 3", dequantised(onnx::U4, sizes, Some(32), Some(0x33)), "of i8 scaled by f16 in groups of 32"),
        ("e4m3", dequantised(onnx::E4M3, sizes, None, None), "of e4m3 scaled by f16"),
        ("int8", dequantised(onnx::I8, sizes, None, None), "of i8 scaled by f16"),
        ("4 bits", n_bits(4, sizes, None, &[]), "of int4 pairs scaled by f16 in groups of 32"),
        ("4 bits about 8", n_bits(4, sizes, Some(0x88), &[]), "of int4 pairs scaled by f16 in groups of 32"),
        ("8 bits", n_bits(8, sizes, None, &[]), "of i8 scaled by f16 in groups of 32"),
    ] {
        let module = captured(&file).unwrap_or_else(|e| panic!("{name}: {e}"));
        becomes(name, &module, [&[what]; 3]);
    }
}

#[test]
fn onnx_models_compute_what_they_say() {
    for (name, file, k) in [
        ("e2m1", dequantised(onnx::E2M1, [3, 10, 64], Some(32), None), 64),
        ("int4", dequantised(onnx::I4, [3, 10, 64], Some(32), None), 64),
        ("int4 with a block cut short", dequantised(onnx::I4, [3, 10, 41], Some(32), None), 41),
        ("uint4", dequantised(onnx::U4, [3, 10, 64], Some(32), Some(0x31)), 64),
        ("e4m3", dequantised(onnx::E4M3, [3, 10, 64], None, None), 64),
        ("4 bits", n_bits(4, [3, 10, 64], None, &[]), 64),
        ("4 bits, a block cut short", n_bits(4, [3, 10, 45], None, &[]), 45),
        ("4 bits about 3 and 9", n_bits(4, [3, 10, 64], Some(0x93), &[]), 64),
        ("8 bits about 120", n_bits(8, [3, 10, 64], Some(120), &[]), 64),
    ] {
        let module = captured(&file).unwrap_or_else(|e| panic!("{name}: {e}"));
        let x = forms::numbers(DType::F16, &[3, k]);
        computes(name, &module, &[("x", x)], tolerance(DType::F16));
    }
}

#[test]
fn what_a_model_file_leaves_out_or_contradicts_is_named() {
    let refused = |file: Vec<u8>| captured(&file).expect_err("the model is wrong");
    let sizes = [3, 8, 64];
    assert!(refused(n_bits(4, sizes, None, &["", "order"])).contains("order"), "an input that is not there");
    assert!(refused(n_bits(4, sizes, None, &["", "s"])).contains("g_idx"));
    assert!(refused(n_bits(3, sizes, None, &[])).contains("`bits` is 3, expected 4 or 8"));
    let blocks = dequantised(onnx::I4, sizes, Some(32), None);
    assert!(captured(&blocks).is_ok());
    let node = onnx::node("", "DequantizeLinear", &["w"], "y", &[]);
    let weight = onnx::stored("w", onnx::I4, &[8, 64], &[0; 256]);
    let no_scale = refused(onnx::model(onnx::FLOAT16, &[1, 1], &[8, 64], &[node], &[weight]));
    assert!(no_scale.contains("x_scale"), "{no_scale}");
    let short = onnx::stored("w", onnx::I4, &[3, 3], &[0; 4]);
    let node = onnx::node("", "Identity", &["w"], "y", &[]);
    let short = refused(onnx::model(onnx::FLOAT16, &[1, 1], &[3, 3], &[node], &[short]));
    assert!(short.contains("has 4 bytes, expected 5"), "{short}");
}
