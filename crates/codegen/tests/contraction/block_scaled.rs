//! Products of factors with block scales on `tcgen05`: mxfp8, mxfp4 and nvfp4, scales in rows and in atoms, edges, pairs,
//! against the graph's evaluation.

use crate::cases;
use crate::product;
use crate::schedules;
use gable_codegen::Class;
use gable_codegen::contraction::schedule::{Schedule, Tile};
use gable_codegen::contraction::tcgen05::schedule::Tcgen05Schedule;
use gable_ir::Module;
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module as PtxModule, Target};
use gable_tensor::random::Random;
use gable_tensor::{DType, Scalar, Tensor};

/// How factors are stored.
#[derive(Clone, Copy, PartialEq)]
pub struct Format {
    /// Type of elements; two of four bits share a byte, but for `e2m1 bytes`.
    pub elements: [&'static str; 2],
    /// Type of scales.
    pub scale: &'static str,
    /// Values of k that share one.
    pub block: usize,
    /// Whether scales lie as the tensor cores take them, in atoms of 128 rows by 4.
    pub in_atoms: bool,
    /// Whether all elements of a factor share a scale of f32 too.
    pub shared: bool,
}

/// 8-bit floats, a power of two for 32.
pub const MXFP8: Format =
    Format { elements: ["e4m3", "e4m3"], scale: "ue8m0", block: 32, in_atoms: false, shared: false };
/// 4-bit floats, the same.
pub const MXFP4: Format = Format { elements: ["e2m1", "e2m1"], ..MXFP8 };
/// 6-bit floats in a byte each, the same.
pub const MXFP6: Format = Format { elements: ["e2m3", "e3m2"], ..MXFP8 };
/// 8-bit floats by 4-bit ones in a byte each.
pub const MXFP8_BY_MXFP4: Format = Format { elements: ["e4m3", "e2m1 bytes"], ..MXFP8 };
/// 8-bit floats by 4-bit ones, two to a byte.
pub const MXFP8_BY_PAIRS: Format = Format { elements: ["e4m3", "e2m1"], ..MXFP8 };
/// 4-bit floats, a scale of e4m3 for 16.
pub const NVFP4: Format = Format { scale: "e4m3", block: 16, ..MXFP4 };

impl Format {
    /// Elements of 128 bytes.
    pub fn span(self) -> u32 {
        if self.elements == ["e2m1"; 2] { 256 } else { 128 }
    }
}

/// Parameters of a factor, and lines that give it as `%NAME`, f32 of `[rows, k]`.
fn factor(name: &str, (rows, k): (usize, usize), format: Format, element: &str) -> (String, String) {
    let (Format { scale, block, .. }, groups) = (format, k / format.block);
    let flat = format!("[{rows}, {k}]");
    let (stored, elements) = if element == "e2m1" {
        let half = k / 2;
        let lines = format!(
            "    %{name}m = const {{value=u8[](15)}} : u8[]\n    %{name}m1 = broadcast %{name}m {{shape=[{rows}, {half}]}} : u8[{rows}, {half}]\n    \
             %{name}l = and %{name}e, %{name}m1 : u8[{rows}, {half}]\n    %{name}l1 = reshape %{name}l {{shape=[{rows}, {half}, 1]}} : u8[{rows}, {half}, 1]\n    \
             %{name}f = const {{value=u8[](4)}} : u8[]\n    %{name}f1 = broadcast %{name}f {{shape=[{rows}, {half}]}} : u8[{rows}, {half}]\n    \
             %{name}h = shr %{name}e, %{name}f1 : u8[{rows}, {half}]\n    %{name}h1 = reshape %{name}h {{shape=[{rows}, {half}, 1]}} : u8[{rows}, {half}, 1]\n    \
             %{name}p = concat %{name}l1, %{name}h1 {{axis=2}} : u8[{rows}, {half}, 2]\n    %{name}p1 = reshape %{name}p {{shape={flat}}} : u8{flat}\n    \
             %{name}i = cast %{name}p1 {{to=i32}} : i32{flat}\n    \
             %{name}t = const {{value=f32[16](0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)}} : f32[16]\n    \
             %{name}v = gather %{name}t, %{name}i {{axis=0}} : f32{flat}\n"
        );
        (format!("%{name}e: u8[{rows}, {half}]"), lines)
    } else {
        let element = element.trim_end_matches(" bytes");
        (format!("%{name}e: {element}{flat}"), format!("    %{name}v = cast %{name}e {{to=f32}} : f32{flat}\n"))
    };
    let (kept, scales) = if format.in_atoms {
        let (blocks, fours) = (rows / 128, groups / 4);
        let lines = format!(
            "    %{name}a = transpose %{name}s {{perm=[0, 3, 2, 1, 4]}} : {scale}[{blocks}, 4, 32, {fours}, 4]\n    \
             %{name}r = reshape %{name}a {{shape=[{rows}, {groups}]}} : {scale}[{rows}, {groups}]\n"
        );
        (format!("[{blocks}, {fours}, 32, 4, 4]"), lines)
    } else {
        (format!("[{rows}, {groups}]"), String::new())
    };
    let from = if format.in_atoms { format!("%{name}r") } else { format!("%{name}s") };
    let unshared = if format.shared { format!("%{name}u") } else { format!("%{name}") };
    let mut lines = format!(
        "{elements}{scales}    %{name}c = cast {from} {{to=f32}} : f32[{rows}, {groups}]\n    \
         %{name}1 = reshape %{name}c {{shape=[{rows}, {groups}, 1]}} : f32[{rows}, {groups}, 1]\n    \
         %{name}2 = broadcast %{name}1 {{shape=[{rows}, {groups}, {block}]}} : f32[{rows}, {groups}, {block}]\n    \
         %{name}3 = reshape %{name}2 {{shape={flat}}} : f32{flat}\n    {unshared} = mul %{name}v, %{name}3 : f32{flat}\n"
    );
    let mut parameters = format!("{stored}, %{name}s: {scale}{kept}");
    if format.shared {
        parameters += &format!(", %{name}g: f32[]");
        lines += &format!(
            "    %{name}g1 = broadcast %{name}g {{shape={flat}}} : f32{flat}\n    %{name} = mul {unshared}, %{name}g1 : f32{flat}\n"
        );
    }
    (parameters, lines)
}

/// A graph of one region, the right factor stored by columns.
pub fn graph((m, n, k): (usize, usize, usize), format: Format, out: &str) -> String {
    let (a_parameters, a) = factor("a", (m, k), format, format.elements[0]);
    let (b_parameters, b) = factor("b", (n, k), format, format.elements[1]);
    format!(
        "graph @scaled({a_parameters}, {b_parameters}) {{\n  region @r contraction {{\n{a}{b}    \
         %turned = transpose %b {{perm=[1, 0]}} : f32[{k}, {n}]\n    \
         %sum = matmul %a, %turned {{acc=f32, out={out}}} : {out}[{m}, {n}]\n  }}\n  return c = %sum\n}}\n"
    )
}

/// Whole numbers, and bytes of any elements.
pub fn inputs(module: &Module) -> Vec<(String, Tensor)> {
    let adapt = |(name, tensor): (String, Tensor)| {
        let random = &mut Random::named(2, &name);
        let adapted: Vec<Scalar> = tensor
            .scalars()
            .map(|scalar| match scalar {
                Scalar::I(_) => Scalar::I(random.below(256) as i128),
                other => other,
            })
            .collect();
        let tensor = Tensor::from_scalars(tensor.dtype(), tensor.shape().to_vec(), adapted);
        (name, tensor)
    };
    cases::whole_numbers(module).into_iter().map(adapt).collect()
}

/// One of each row of the left factor, so that every element of the right one is a sum alone, scaled; or the other way round. The
/// other factor has bytes of any bits.
pub fn any_codes(module: &Module, left: bool) -> Vec<(String, Tensor)> {
    let adapt = |(name, tensor): (String, Tensor)| {
        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        let random = &mut Random::named(3, &name);
        let adapted = match name.as_str() {
            "ae" | "be" if (name == "ae") == left => {
                Tensor::new(dtype, shape, (0..tensor.len()).map(|_| random.below(256) as u8).collect::<Vec<_>>())
                    .expect("a byte for each")
            }
            "ae" | "be" if dtype == DType::U8 => {
                // Two to a byte; 2 is the code of one.
                let half = shape[1];
                let byte = |i: usize| match ((7 * (i / half)) % (2 * half)).wrapping_sub(2 * (i % half)) {
                    0 => 0x02,
                    1 => 0x20,
                    _ => 0,
                };
                Tensor::new(dtype, shape, (0..tensor.len()).map(byte).collect::<Vec<u8>>()).expect("a byte for two")
            }
            "ae" | "be" => {
                let k = shape[1];
                let is_one = |i: usize| i % k == (7 * (i / k)) % k;
                let values = (0..tensor.len()).map(|i| Scalar::F(f64::from(u8::from(is_one(i)))));
                Tensor::from_scalars(dtype, shape, values.collect::<Vec<_>>())
            }
            _ => tensor,
        };
        (name, adapted)
    };
    inputs(module).into_iter().map(adapt).collect()
}

fn schedule(n: u32, format: Format, stages: u32) -> Tcgen05Schedule {
    let k = format.span();
    let plain = schedules::tcgen05(n, DType::U8, stages);
    Tcgen05Schedule { tile: Tile { k, ..plain.tile }, scales: k / format.block as u32, ..plain }
}

fn paired(n: u32, format: Format, stages: u32) -> Tcgen05Schedule {
    schedules::paired(schedule(n, format, stages))
}

fn check(source: &str, schedule: Tcgen05Schedule) {
    product::check_over(source, Target::Sm100a, Schedule::Tcgen05(schedule), inputs);
}

#[test]
fn every_format_is_multiplied_as_it_is_stored() {
    for format in [MXFP8, MXFP4, NVFP4] {
        check(&graph((128, 64, 1280), format, "bf16"), schedule(64, format, 3));
        let source = graph((200, 128, 512), format, "f32");
        product::check_over(&source, Target::Sm103a, Schedule::Tcgen05(schedule(128, format, 2)), inputs);
    }
    let mixed = Format { elements: ["e5m2", "e4m3"], ..MXFP8 };
    check(&graph((128, 64, 256), mixed, "bf16"), schedule(64, mixed, 2));
    let sixteens = Format { scale: "ue8m0", ..NVFP4 };
    check(&graph((128, 64, 512), sixteens, "bf16"), schedule(64, sixteens, 2));
}

/// Factors of different bits: every element type of fewer than 8, on either side, packed and in bytes.
pub const MIXES: [[&str; 2]; 6] = [
    ["e2m3", "e4m3"],
    ["e4m3", "e3m2"],
    ["e2m1 bytes", "e3m2"],
    ["e5m2", "e2m1 bytes"],
    ["e2m1", "e5m2"],
    ["e2m3", "e2m1"],
];

#[test]
fn codes_of_fewer_bits_become_floats_of_8_where_they_have_arrived() {
    for elements in MIXES {
        let format = Format { elements, ..MXFP8 };
        let schedule = Schedule::Tcgen05(schedule(64, format, 2));
        for (left, element) in [(true, elements[0]), (false, elements[1])] {
            // Of 8 bits some codes are no numbers.
            if !matches!(element, "e4m3" | "e5m2") {
                let source = graph((128, 64, 128), format, "f32");
                product::check_over(&source, Target::Sm100a, schedule, |module| any_codes(module, left));
            }
        }
    }
    for format in [MXFP6, MXFP8_BY_MXFP4, MXFP8_BY_PAIRS] {
        check(&graph((128, 64, 1280), format, "bf16"), schedule(64, format, 3));
        check(&graph((200, 136, 320), format, "f32"), schedule(128, format, 2));
        check(&graph((1, 24, 288), format, "f32"), schedule(96, format, 3));
        let one = Tcgen05Schedule { accumulators: 1, ctas: 1, ..schedule(256, format, 2) };
        check(&graph((130, 256, 256), format, "bf16"), one);
        check(&graph((300, 72, 320), format, "bf16"), paired(64, format, 2));
        check(&graph((256, 192, 640), format, "bf16"), paired(192, format, 3));
    }
    let turned = Format { elements: ["e2m1", "e3m2"], ..MXFP8 };
    check(&graph((200, 72, 320), turned, "bf16"), schedule(80, turned, 2));
    let shared = Format { shared: true, in_atoms: true, ..MXFP6 };
    check(&graph((128, 128, 512), shared, "bf16"), schedule(128, shared, 2));
}

#[test]
fn wide_tiles_have_scales_of_two_blocks_of_columns() {
    for format in [MXFP8, NVFP4] {
        check(&graph((128, 192, 512), format, "bf16"), schedule(192, format, 2));
        let one = Tcgen05Schedule { accumulators: 1, ctas: 1, ..schedule(256, format, 3) };
        check(&graph((130, 256, 256), format, "bf16"), one);
    }
}

#[test]
fn edges_read_no_scale_outside() {
    // Rows of scales are of 9, 10 or 20 bytes: they come one by one, or four at once.
    check(&graph((1, 24, 288), MXFP8, "f32"), schedule(64, MXFP8, 3));
    check(&graph((130, 72, 320), NVFP4, "bf16"), schedule(64, NVFP4, 2));
    check(&graph((200, 136, 320), MXFP4, "bf16"), schedule(128, MXFP4, 2));
}

#[test]
fn pairs_bring_scales_of_all_columns_to_both() {
    check(&graph((256, 128, 512), MXFP8, "bf16"), paired(128, MXFP8, 3));
    check(&graph((300, 72, 320), MXFP4, "bf16"), paired(64, MXFP4, 2));
    check(&graph((256, 192, 512), NVFP4, "bf16"), paired(192, NVFP4, 2));
    let one = Tcgen05Schedule { accumulators: 1, ..paired(256, NVFP4, 3) };
    check(&graph((512, 256, 256), NVFP4, "bf16"), one);
}

#[test]
fn scales_may_lie_in_atoms_and_be_shared_by_all() {
    for format in [MXFP8, NVFP4] {
        let atoms = Format { in_atoms: true, ..format };
        check(&graph((256, 128, 512), atoms, "bf16"), schedule(128, atoms, 2));
        let shared = Format { shared: true, ..format };
        check(&graph((128, 64, 512), shared, "bf16"), schedule(64, shared, 2));
    }
}

#[test]
fn the_rule_takes_the_block_scaled_kinds() {
    let mut lines = Vec::new();
    for format in [MXFP8, MXFP4, NVFP4] {
        for (m, n, k) in [(4096, 4096, 4096), (8192, 8192, 8192), (512, 1024, 4096)] {
            let source = graph((m, n, k), format, "bf16");
            lines.push(format!("{m}x{n}x{k} {}: {}", format.scale, product::chosen(&source, Target::Sm100a)));
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn schedules_for_other_scales_are_refused_by_name() {
    let source = graph((512, 512, 512), NVFP4, "bf16");
    let right = schedule(128, NVFP4, 3);
    let refused = |schedule| product::refused(&source, Target::Sm100a, Schedule::Tcgen05(schedule));
    let cases = [
        refused(Tcgen05Schedule { scales: 4, ..right }),
        refused(Tcgen05Schedule { accumulators: 3, ..right }),
        refused(schedule(256, NVFP4, 3)),
        refused(Tcgen05Schedule { tile: Tile { k: 128, ..right.tile }, ..right }),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn every_candidate_assembles_without_spills_in_its_class() {
    let Ok(ptxas) = Ptxas::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas");
        eprintln!("SKIPPED: no ptxas");
        return;
    };
    for target in [Target::Sm100a, Target::Sm103a, Target::Sm100f] {
        let mut module = PtxModule::new(target, Vec::new());
        for (name, format) in
            [("mxfp8", MXFP8), ("mxfp6", MXFP6), ("mixed", MXFP8_BY_PAIRS), ("mxfp4", MXFP4), ("nvfp4", NVFP4)]
        {
            let source = graph((4096, 4096, 4096), format, "bf16");
            // Rows of 254 scales: no whole words.
            let bytes = graph((4096, 4064, 4064), Format { block: 16, ..format }, "bf16");
            for ctas in [1, 2] {
                for n in [256, 192, 128, 64] {
                    let two = if ctas == 1 { schedule(n, format, 3) } else { paired(n, format, 3) };
                    let schedule = if n == 256 { Tcgen05Schedule { accumulators: 1, ..two } } else { two };
                    let schedule = Schedule::Tcgen05(schedule);
                    let mut sources = vec![("plain", &source)];
                    if format == NVFP4 {
                        sources.push(("bytes", &bytes));
                    }
                    for (kind, source) in sources {
                        let mut kernel = product::kernel(source, target, schedule);
                        assert_eq!(Class::found(&kernel), schedule.class(), "{name}: {schedule}");
                        kernel.name = format!("{name}_{kind}_{n}_{ctas}");
                        module.push(kernel);
                    }
                }
            }
        }
        schedules::assert_no_spills(&ptxas, &module, target);
    }
}

#[test]
#[should_panic(expected = "trap")]
fn a_scale_with_a_sign_ends_the_kernel() {
    let source = graph((128, 64, 256), NVFP4, "bf16");
    let schedule = Schedule::Tcgen05(schedule(64, NVFP4, 2));
    let negative = |module: &Module| {
        let negate = |(name, tensor): (String, Tensor)| {
            let is_scale = name.ends_with('s');
            let values: Vec<Scalar> = tensor.scalars().map(|x| if is_scale { Scalar::F(-1.0) } else { x }).collect();
            let tensor = Tensor::from_scalars(tensor.dtype(), tensor.shape().to_vec(), values);
            (name, tensor)
        };
        inputs(module).into_iter().map(negate).collect()
    };
    product::check_over(&source, Target::Sm100a, schedule, negative);
}
