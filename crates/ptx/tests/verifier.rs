//! One test per kind of fault, each on the smallest text that shows it.

use gable_ptx::{
    Array, Class, Guard, Inst, KernelBuilder, Module, Opcode, Operand, Param, PtxVersion, Reg, ScalarType, Statement,
    Symbol, Target, Value, parse, verify,
};

/// The faults of a module with this kernel, without the part that names the kernel.
fn faults_of(kernel: &str) -> Vec<String> {
    faults_for(".version 8.0\n.target sm_90a", kernel)
}

fn faults_for(head: &str, kernel: &str) -> Vec<String> {
    let module = parse(&format!("{head}\n.address_size 64\n{kernel}")).expect("the text parses");
    faults(&module)
}

fn faults(module: &Module) -> Vec<String> {
    let faults = verify(module).err().map_or(vec![], |faults| faults.0);
    faults.iter().map(|fault| fault.to_string().replace("kernel `k`: ", "")).collect()
}

/// The faults of a body that has four registers of each class, of which number 0 is written.
fn faults_in(body: &str) -> Vec<String> {
    let registers = [("pred", "p"), ("b16", "h"), ("b32", "r"), ("b64", "rd"), ("f32", "f"), ("f64", "fd")];
    let declared: String = registers.iter().map(|(ty, prefix)| format!(".reg .{ty} %{prefix}<4>;\n")).collect();
    let written =
        "mov.b16 %h0, 1; mov.b32 %r0, 1; mov.b64 %rd0, 1; mov.f32 %f0, 0f3F800000; mov.f64 %fd0, 0d3FF0000000000000;
        setp.eq.u32 %p0, %r0, 1;";
    faults_of(&format!(
        ".entry k(.param .u64 x, .param .f32 y) {{ {declared}.shared .align 16 .b8 tile[64]; {written} {body} exit; }}"
    ))
}

#[test]
fn a_whole_kernel_has_no_faults() {
    let mut k = KernelBuilder::new("k", Target::Sm120f);
    let x = k.param_pointer("x");
    let tile = k.shared_array("tile", 256, 16);
    let rest = k.dynamic_shared(128);
    let base = k.address_of_shared(&rest);
    let value = k.ld_global_v4_f32(x.at(16));
    k.st_shared_v4_f32(tile.at(240), value);
    k.cp_async_cg(base, x, 16);
    k.bar_sync(0);
    k.exit();
    assert_eq!(faults(&Module::new(Target::Sm120f, vec![k.finish()])), [""; 0]);
}

#[test]
fn classes_must_be_those_of_the_row() {
    assert_eq!(
        faults_in("add.rn.f32 %f1, %r0, %f0; add.rn.f32 %r1, %f0, 1; @%r0 neg.s32 %r2, %f0;"),
        [
            "statement 6 `add.rn.f32 %f1, %r0, %f0;`: operand `%r0`: expected f32 register or constant",
            "statement 7 `add.rn.f32 %r1, %f0, 1;`: the result `%r1` is a b32 register, expected f32",
            "statement 7 `add.rn.f32 %r1, %f0, 1;`: operand `1`: expected f32 register or constant",
            "statement 8 `@%r0 neg.s32 %r2, %f0;`: the guard `%r0` is a b32 register, expected a predicate",
            "statement 8 `@%r0 neg.s32 %r2, %f0;`: operand `%f0`: expected b32 register or constant",
        ]
    );
}

#[test]
fn constants_must_fit() {
    assert_eq!(
        faults_in(
            "add.u16 %h1, %h0, 65536; add.u32 %r1, %r0, -2147483649; cp.async.cg.shared.global [tile], [%rd0], 8;"
        ),
        [
            "statement 6 `add.u16 %h1, %h0, 65536;`: operand `65536`: expected b16 register or constant",
            "statement 7 `add.u32 %r1, %r0, -2147483649;`: operand `-2147483649`: expected b32 register or constant",
            "statement 8 `cp.async.cg.shared.global [tile], [%rd0], 8;`: operand `8`: expected one of the constants [16]",
        ]
    );
}

#[test]
fn vectors_must_have_the_width_of_the_row() {
    assert_eq!(
        faults_in(
            "st.shared.v4.f32 [tile], {%f0, %f0}; ld.shared.v2.f32 {%f1, %f2, %f3}, [tile]; ld.shared.v2.f32 {%f1, %f1}, [tile];"
        ),
        [
            "statement 6 `st.shared.v4.f32 [tile], {%f0, %f0};`: operand `{%f0, %f0}`: expected 4 f32 values in braces",
            "statement 7 `ld.shared.v2.f32 {%f1, %f2, %f3}, [tile];`: writes 2 registers, found 3",
            "statement 8 `ld.shared.v2.f32 {%f1, %f1}, [tile];`: a result register stands twice",
        ]
    );
}

#[test]
fn addresses_must_be_of_the_class_of_their_space() {
    assert_eq!(
        faults_in("ld.global.f32 %f1, [%r0]; ld.shared.f32 %f1, [%rd0+4];"),
        [
            "statement 6 `ld.global.f32 %f1, [%r0];`: operand `[%r0]`: expected address in global memory",
            "statement 7 `ld.shared.f32 %f1, [%rd0+4];`: operand `[%rd0+4]`: expected address in shared memory",
        ]
    );
}

#[test]
fn floors_are_kept() {
    let kernel = ".entry k() { .reg .b32 %r<2>; .reg .f32 %f<1>; .reg .b16 %h<1>; mov.f32 %f0, 0f00000000;
        cvt.rn.satfinite.f16x2.f32 %r0, %f0, %f0; cvt.rn.satfinite.e2m3x2.f32 %h0, %f0, %f0; exit; }";
    assert_eq!(
        faults_for(".version 8.0\n.target sm_90a", kernel),
        [
            "statement 1 `cvt.rn.satfinite.f16x2.f32 %r0, %f0, %f0;`: needs `.version 8.1` or later, found 8.0",
            "statement 2 `cvt.rn.satfinite.e2m3x2.f32 %h0, %f0, %f0;`: needs a target with fp6, fp4 and ue8m0 conversions, and sm_90a has none",
        ]
    );
    assert_eq!(faults_for(".version 8.6\n.target sm_100a", kernel), [""; 0]);
    assert_eq!(
        faults_for(".version 8.5\n.target sm_100a", ".entry k() { exit; }"),
        ["`.version 8.5` does not know sm_100a, which came with 8.6"]
    );
}

#[test]
fn a_module_gets_the_lowest_version_that_has_its_instructions() {
    let kernel = |with_fp8: bool| {
        let mut k = KernelBuilder::new("k", Target::Sm90a);
        if with_fp8 {
            let (a, b, c) = ([k.mov_b32(0); 4], [k.mov_b32(0); 2], [k.mov_f32(0.0); 4]);
            k.mma_m16n8k32_f32_e4m3(a, b, c);
        }
        k.exit();
        k.finish()
    };
    assert_eq!(Module::new(Target::Sm90a, vec![kernel(false)]).version, PtxVersion::new(8, 0));
    assert_eq!(Module::new(Target::Sm90a, vec![kernel(false), kernel(true)]).version, PtxVersion::new(8, 4));
    assert_eq!(Module::new(Target::Sm120a, vec![kernel(true)]).version, PtxVersion::new(8, 7));
}

#[test]
fn a_register_must_be_written_before_it_is_read() {
    assert_eq!(
        faults_in("add.u32 %r1, %r0, %r2; @%p1 neg.s32 %r2, %r0;"),
        [
            "statement 6 `add.u32 %r1, %r0, %r2;`: `%r2` is read where nothing has written it",
            "statement 7 `@%p1 neg.s32 %r2, %r0;`: `%p1` is read where nothing has written it",
        ]
    );
}

#[test]
fn a_write_on_one_way_or_under_a_guard_is_enough() {
    let one_way = "@%p0 bra SKIP; mov.b32 %r1, 1; SKIP: @!%p0 neg.s32 %r2, %r1;";
    assert_eq!(faults_in(one_way), [""; 0]);
    assert_eq!(faults_in("@%p0 mov.b32 %r1, 1; neg.s32 %r2, %r1;"), [""; 0]);
    let second_round = "LOOP: @%p0 neg.s32 %r2, %r1; mov.b32 %r1, 1; @%p0 bra LOOP;";
    assert_eq!(faults_in(second_round), [""; 0]);
    assert_eq!(faults_in("exit; neg.s32 %r2, %r1;"), [""; 0], "code that nothing reaches is not looked at");
}

#[test]
fn labels_stand_once_and_exist() {
    assert_eq!(
        faults_in("HERE: bra THERE; HERE: bra HERE;"),
        ["statement 8 `HERE:`: the label stands twice", "statement 7 `bra THERE;`: label `THERE` stands nowhere"]
    );
    assert_eq!(faults_in("tile:"), ["statement 6 `tile:`: an array or a parameter has the label's name"]);
}

#[test]
fn parameters_are_loaded_with_their_type_and_declared() {
    assert_eq!(
        faults_in("ld.param.u64 %rd1, [y]; ld.param.f32 %f1, [z]; ld.param.u64 %rd1, [x+8];"),
        [
            "statement 6 `ld.param.u64 %rd1, [y];`: parameter `y` is of type f32, expected u64",
            "statement 7 `ld.param.f32 %f1, [z];`: the kernel has no parameter `z`",
            "statement 8 `ld.param.u64 %rd1, [x+8];`: offset 8 lies outside of parameter `x`",
        ]
    );
    let params: Vec<String> = (0..513).map(|i| format!(".param .u64 x{i}")).collect();
    assert_eq!(
        faults_of(&format!(".entry k({}) {{ exit; }}", params.join(", "))),
        ["the parameters take 4104 bytes, at most 4096 are possible"]
    );
    assert_eq!(faults_of(".entry k(.param .u32 x, .param .u32 x) { exit; }"), ["the name `x` is declared twice"]);
}

#[test]
fn arrays_exist_in_the_space_and_are_kept_to() {
    assert_eq!(
        faults_in(
            "ld.local.f32 %f1, [tile]; ld.shared.f32 %f1, [tile+61]; ld.shared.f32 %f1, [tile+-4]; ld.shared.f32 %f1, [tile+2];
             mov.u32 %r1, dynamic_shared; mov.u64 %rd1, tile;"
        ),
        [
            "statement 6 `ld.local.f32 %f1, [tile];`: the kernel has no array `tile` in local memory",
            "statement 7 `ld.shared.f32 %f1, [tile+61];`: 4 bytes at 61 lie outside of `tile`, which has 64",
            "statement 8 `ld.shared.f32 %f1, [tile+-4];`: 4 bytes at -4 lie outside of `tile`, which has 64",
            "statement 9 `ld.shared.f32 %f1, [tile+2];`: 4 bytes at 2 of `tile` are not aligned",
            "statement 10 `mov.u32 %r1, dynamic_shared;`: the module declares no dynamic shared memory",
            "statement 11 `mov.u64 %rd1, tile;`: the kernel has no array `tile` in local memory",
        ]
    );
}

#[test]
fn barriers_and_boxes_at_fixed_places_are_aligned_and_inside() {
    let load = "cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes";
    assert_eq!(
        faults_in(&format!(
            "mbarrier.inval.shared::cta.b64 [tile+60]; mbarrier.inval.shared::cta.b64 [tile+4]; {load} [tile], [%rd0, {{0}}], [tile+8];
             cp.async.bulk.global.shared::cta.bulk_group [%rd0], [tile+8], 16; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r1}}, [tile+16];"
        )),
        [
            "statement 6 `mbarrier.inval.shared::cta.b64 [tile+60];`: 8 bytes at 60 lie outside of `tile`, which has 64".to_owned(),
            "statement 7 `mbarrier.inval.shared::cta.b64 [tile+4];`: 8 bytes at 4 of `tile` are not aligned".to_owned(),
            format!("statement 8 `{load} [tile], [%rd0, {{0}}], [tile+8];`: 16 bytes at 0 of `tile` are not aligned"),
            "statement 9 `cp.async.bulk.global.shared::cta.bulk_group [%rd0], [tile+8], 16;`: 16 bytes at 8 of `tile` are not aligned".to_owned(),
        ]
    );
}

#[test]
fn static_shared_memory_has_a_limit() {
    assert_eq!(
        faults_of(".entry k() { .shared .align 16 .b8 a[49136]; .shared .align 16 .b8 b[17]; exit; }"),
        ["static shared memory takes 49153 bytes, sm_90a has 49152: use dynamic shared memory"]
    );
    assert_eq!(faults_of(".entry k() { .shared .align 16 .b8 a[49136]; .shared .align 16 .b8 b[16]; exit; }"), [""; 0]);
    assert_eq!(
        faults_of(".entry k() { .shared .align 12 .b8 a[0]; .local .align 4 .b8 a[4]; exit; }"),
        ["array `a` has no bytes", "array `a`: alignment 12 is not a power of two", "the name `a` is declared twice"]
    );
}

#[test]
fn launch_bounds_are_possible() {
    assert_eq!(
        faults_of(".entry k() .maxntid 1025 .minnctapersm 0 { exit; }"),
        ["`.maxntid 1025, 1, 1` is not 1 to 1024 threads", "`.minnctapersm 0` asks for nothing"]
    );
    assert_eq!(
        faults_of(".entry k() .maxntid 64 .reqntid 0, 65536, 65536 { exit; }"),
        ["`.reqntid 0, 65536, 65536` is not 1 to 1024 threads", "`.maxntid` and `.reqntid` exclude each other"]
    );
    assert_eq!(faults_of(".entry k() { exit; } .entry k() { exit; }"), ["another kernel has the same name"]);
}

#[test]
fn data_that_no_text_can_say_is_found_too() {
    let mut k = KernelBuilder::new("k k", Target::Sm90a);
    k.exit();
    let mut kernel = k.finish();
    kernel.params.push(Param { name: Symbol("x".into()), ty: ScalarType::Tf32.into() });
    kernel.shared.push(Array { name: Symbol("1".into()), bytes: 4, align: 4 });
    kernel.body.insert(0, Statement::Comment("two\nlines".into()));
    let copy = Opcode::all().find(|op| op.form().name == "mov_b32").unwrap();
    let guard = Some(Guard { pred: Reg { class: Class::F64, index: 0 }, negated: false });
    kernel.body.push(Statement::Inst(Inst {
        guard,
        op: copy,
        dst: vec![],
        src: vec![Operand::Value(Value::Int(1)); 2],
    }));
    let faults = faults(&Module::new(Target::Sm90a, vec![kernel]));
    let expected = [
        "`k k` cannot name a kernel",
        "parameter `x` cannot be of type tf32",
        "`1` cannot name an array",
        "a comment spans lines",
        "the guard `%fd0` is a f64 register",
        "writes 1 registers, found 0",
        "reads 1 operands, found 2",
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.contains(expected), "{fault} is not: {expected}");
    }
}

#[test]
fn counts_say_which_instructions_a_module_has() {
    let text =
        ".version 8.0 .target sm_90a .address_size 64 .entry k() { bar.sync 0; bar.sync 1, 64; bar.sync 0; exit; }";
    let counts = parse(text).unwrap().instruction_counts();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("bar_sync", 2), ("bar_sync_count", 1), ("exit", 1)]);
}

#[test]
fn a_body_of_senseless_size_is_checked_in_bounded_memory() {
    let n = 40_000;
    let mut text = format!(".version 8.0 .target sm_90a .address_size 64 .entry k() {{ .reg .b32 %r<{}>;", n + 2);
    for i in 0..n {
        text += &format!("L{i}: mov.b32 %r{i}, 1;\n");
    }
    text += &format!("add.u32 %r{n}, %r0, %r{};}}", n + 1);
    let faults = faults(&parse(&text).unwrap());
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].ends_with("`%r40001` is read where nothing has written it"), "{faults:?}");
}
