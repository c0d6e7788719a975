//! Text and back: what prints parses to the same module, and what is no module gives an error with its place.

use gable_ptx::{
    Array, Base, Class, DYNAMIC_SHARED, DstSlot, Guard, Inst, Kernel, Label, Module, Opcode, Operand, Param, ParamType,
    Place, PtxVersion, Reg, ScalarType, Slot, Space, Statement, Symbol, Target, TensorPlace, Value, parse,
};
use proptest::prelude::*;

fn symbol(name: &str) -> Symbol {
    Symbol(name.into())
}

fn reg(class: Class, entropy: u64) -> Reg {
    Reg { class, index: (entropy % 300) as u32 }
}

/// A register or a constant of `class`, chosen by `entropy`.
fn value(class: Class, entropy: u64) -> Value {
    if entropy.is_multiple_of(3) {
        return Value::Reg(reg(class, entropy / 3));
    }
    match class {
        Class::F32 => Value::F32((entropy >> 7) as u32),
        Class::F64 => Value::F64(entropy.rotate_left(13)),
        Class::B64 => Value::Int(entropy.rotate_left(29).cast_signed()),
        Class::B32 => Value::Int(i64::from((entropy >> 11) as i32)),
        Class::Pred => Value::from(entropy.is_multiple_of(2)),
        Class::B8 | Class::B128 => Value::Reg(reg(class, entropy / 3)),
        Class::B16 => Value::Int(i64::from((entropy >> 11) as i16)),
    }
}

fn vector(count: u8, element: impl Fn(u64) -> Value) -> Operand {
    Operand::Vector((0..u64::from(count)).map(element).collect())
}

/// Some operand that fits `slot`.
fn operand(slot: Slot, entropy: u64) -> Operand {
    let offset = (entropy >> 17) as i32 % 5000;
    let place = |class, names: [&str; 2]| match entropy % 3 {
        0 => Place { base: Base::Reg(reg(class, entropy / 3)), offset },
        pick => Place { base: Base::Symbol(symbol(names[pick as usize - 1])), offset },
    };
    match slot {
        Slot::Value(class) => Operand::Value(value(class, entropy)),
        Slot::Bounded(class, ..) if entropy.is_multiple_of(3) => Operand::from(reg(class, entropy / 3)),
        Slot::Bounded(_, low, high) => operand(Slot::Constant(low, high), entropy),
        Slot::Reg(class) => Operand::from(reg(class, entropy)),
        Slot::Vector(class, count) => vector(count, |i| value(class, entropy.wrapping_add(i))),
        Slot::RegVector(class, count) => vector(count, |i| Value::Reg(reg(class, entropy.wrapping_add(i)))),
        Slot::Selector(bytes, threads) => {
            let pick = |allowed: &[i64], entropy: u64| Value::Int(allowed[(entropy % allowed.len() as u64) as usize]);
            Operand::Vector(vec![pick(bytes, entropy), pick(threads, entropy >> 8)])
        }
        Slot::Constant(low, high) => {
            let span = (high - low + 1).unsigned_abs();
            Operand::Value(Value::Int(low + (entropy % span).cast_signed()))
        }
        Slot::OneOf(allowed) => Operand::Value(Value::Int(allowed[(entropy % allowed.len() as u64) as usize])),
        Slot::Address(Space::SharedCluster | Space::Tensor) => {
            Operand::Address(Place { base: Base::Reg(reg(Class::B32, entropy)), offset })
        }
        Slot::Address(Space::Generic) => Operand::Address(Place { base: Base::Reg(reg(Class::B64, entropy)), offset }),
        Slot::Tensor(rank) => Operand::Tensor(TensorPlace {
            map: reg(Class::B64, entropy),
            coordinates: (0..u64::from(rank)).map(|i| value(Class::B32, entropy.wrapping_add(i))).collect(),
        }),
        Slot::Address(Space::Shared) => Operand::Address(place(Class::B32, ["tile", DYNAMIC_SHARED])),
        Slot::Address(_) => Operand::Address(place(Class::B64, ["frame", "$global"])),
        Slot::Param(_) => Operand::Address(symbol("param_0").into()),
        Slot::Symbol(Space::Shared) => {
            Operand::Symbol(symbol(if entropy.is_multiple_of(2) { "tile" } else { DYNAMIC_SHARED }))
        }
        Slot::Symbol(Space::Param) => Operand::Symbol(symbol("param_0")),
        Slot::Symbol(_) => Operand::Symbol(symbol("frame")),
        Slot::Label => Operand::Label(Label(format!("LABEL_{}", entropy % 4).into())),
    }
}

fn inst(op: Opcode, entropy: &[u64; 9], guard: Option<(u64, bool)>) -> Inst {
    let form = op.form();
    let classes: Vec<Class> = match form.dst {
        None => vec![],
        Some(DstSlot::Reg(class)) => vec![class],
        Some(DstSlot::Vector(class, count) | DstSlot::Accumulators(class, count)) => vec![class; usize::from(count)],
        Some(DstSlot::Discarded) => vec![],
        Some(DstSlot::WithPred(class)) => vec![class, Class::Pred],
    };
    Inst {
        guard: guard.map(|(entropy, negated)| Guard { pred: reg(Class::Pred, entropy), negated }),
        op,
        dst: classes.into_iter().zip(0..).map(|(class, i)| reg(class, entropy[0].wrapping_add(i))).collect(),
        src: form.src.iter().zip(&entropy[1..]).map(|(slot, entropy)| operand(*slot, *entropy)).collect(),
    }
}

fn statement() -> impl Strategy<Value = Statement> {
    let rows: Vec<Opcode> = Opcode::all().collect();
    let instruction = (0..rows.len(), any::<[u64; 9]>(), any::<Option<(u64, bool)>>())
        .prop_map(move |(row, entropy, guard)| Statement::Inst(inst(rows[row], &entropy, guard)));
    prop_oneof![
        12 => instruction,
        1 => "[a-zA-Z_$][a-zA-Z0-9_$]{1,12}".prop_map(|name| Statement::Label(Label(name.as_str().into()))),
        1 => "[^\\p{C}]{0,40}".prop_map(|text| Statement::Comment(text.trim().to_owned())),
        1 => Just(Statement::NoUnroll),
    ]
}

fn names_dynamic_shared(kernel: &Kernel) -> bool {
    kernel.insts().flat_map(|inst| &inst.src).any(|operand| operand.to_string().contains(DYNAMIC_SHARED))
}

fn kernel() -> impl Strategy<Value = Kernel> {
    let types = prop::sample::select(vec![
        ParamType::Scalar(ScalarType::B16),
        ParamType::Scalar(ScalarType::U32),
        ParamType::Scalar(ScalarType::U64),
        ParamType::Scalar(ScalarType::F32),
        ParamType::Scalar(ScalarType::F64),
        ParamType::TensorMap,
    ]);
    let array = |name: &'static str| {
        prop::option::of((any::<u32>(), any::<u32>())).prop_map(move |array| {
            array.map(|(bytes, align)| Array { name: symbol(name), bytes, align }).into_iter().collect::<Vec<_>>()
        })
    };
    let head = ("[a-z_$][a-zA-Z0-9_$]{1,20}", prop::collection::vec(types, 0..5), array("tile"), array("frame"));
    let three = any::<Option<[u32; 3]>>;
    let bounds = (three(), three(), three(), any::<Option<u32>>(), any::<Option<u32>>());
    (head, bounds, prop::collection::vec(statement(), 0..40)).prop_map(|(head, bounds, body)| {
        let (name, types, shared, local) = head;
        let params = types.into_iter().enumerate();
        Kernel {
            name,
            params: params.map(|(i, ty)| Param { name: symbol(&format!("param_{i}")), ty }).collect(),
            max_threads: bounds.0,
            required_threads: bounds.1,
            required_cluster: bounds.2,
            min_ctas_per_sm: bounds.3,
            max_registers: bounds.4,
            shared,
            local,
            dynamic_shared_align: None,
            body,
        }
    })
}

/// Modules that print, though not all of them make sense.
fn module() -> impl Strategy<Value = Module> {
    let target = prop::sample::select(Target::ALL.to_vec());
    (target, any::<(u8, u8)>(), any::<Option<u32>>(), prop::collection::vec(kernel(), 0..4)).prop_map(
        |(target, (major, minor), dynamic_shared_align, mut kernels)| {
            for kernel in &mut kernels {
                kernel.dynamic_shared_align = dynamic_shared_align.filter(|_| names_dynamic_shared(kernel));
            }
            Module { version: PtxVersion::new(major, minor), target, dynamic_shared_align, kernels }
        },
    )
}

proptest! {
    #[test]
    fn a_printed_module_parses_to_itself(module in module()) {
        let text = module.to_string();
        prop_assert_eq!(parse(&text), Ok(module), "{}", text);
    }

    #[test]
    fn damaged_text_gives_an_error_or_a_module_but_no_panic(
        module in module(), place in any::<prop::sample::Index>(), removed in 0..9usize, inserted in "\\PC{0,4}|[{}\\[\\];:,@%+\"/*-]{0,4}",
    ) {
        let mut text: Vec<char> = module.to_string().chars().collect();
        let start = place.index(text.len());
        let end = (start + removed).min(text.len());
        text.splice(start..end, inserted.chars());
        let text: String = text.into_iter().collect();
        match parse(&text) {
            Ok(module) => prop_assert_eq!(parse(&module.to_string()), Ok(module)),
            Err(error) => prop_assert!(error.line >= 1 && error.line <= text.lines().count().max(1), "{error}"),
        }
    }

    #[test]
    fn any_text_at_all_gives_an_error_or_a_module(text in "\\PC{0,200}") {
        // Reaching the end without a panic is the property.
        let _ = parse(&text).map(|module| module.to_string());
    }
}

#[test]
fn every_row_prints_and_parses_to_itself() {
    for (number, op) in (0u64..).zip(Opcode::all()) {
        for round in 0..8u64 {
            let entropy = std::array::from_fn(|i| (number * 8 + round + i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let body = vec![Statement::Inst(inst(op, &entropy, None))];
            let mut kernel = Kernel {
                name: "k".into(),
                params: vec![],
                max_threads: None,
                required_threads: None,
                min_ctas_per_sm: None,
                max_registers: None,
                required_cluster: None,
                shared: vec![],
                local: vec![],
                dynamic_shared_align: None,
                body,
            };
            kernel.dynamic_shared_align = names_dynamic_shared(&kernel).then_some(16);
            let version = PtxVersion::new(8, 8);
            let module =
                Module { version, target: Target::Sm100a, dynamic_shared_align: Some(16), kernels: vec![kernel] };
            assert_eq!(parse(&module.to_string()), Ok(module), "row {op:?}");
        }
    }
}

#[test]
fn blanks_and_comments_may_stand_anywhere() {
    let text = "/* a file */ .version 8.0 // of ours\n.target sm_90a .address_size 64
        .visible .entry k ( .param .u64 x ) /* bounds: */ .maxntid 64
        { .reg .b32 %r < 4 > ; .reg.b64 %rd<1>;";
    // `.reg.b64` is one word, which the printer never writes.
    assert_eq!(parse(text).unwrap_err().to_string(), "4:32: `.reg.b64` is not in the instruction table");
    let text = text.replace(".reg.b64", ".reg .b64")
        + "ld.param.u64 %rd0,[x];\n// kept\nmov.u32 %r0 , /* which */ %tid.x; // not kept\nL:bra\nL;}";
    let module = parse(&text).unwrap();
    let kernel = &module.kernels[0];
    assert_eq!(kernel.max_threads, Some([64, 1, 1]));
    let body: Vec<String> = kernel.to_string().lines().skip(8).map(str::to_owned).collect();
    assert_eq!(body, ["    // kept", "    mov.u32 %r0, %tid.x;", "L:", "    bra L;", "}"]);
}

/// The error for a kernel with this body.
fn error_in(body: &str) -> String {
    let head =
        ".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry k()\n{\n.reg .b32 %r<4>;\n.reg .f32 %f<2>;\n";
    parse(&format!("{head}{body}\n}}")).unwrap_err().to_string()
}

#[test]
fn errors_name_line_and_column() {
    assert_eq!(parse("").unwrap_err().to_string(), "1:1: found the end of the text, expected `.version`");
    assert_eq!(
        parse(".version 8.0\n.target sm_70").unwrap_err().to_string(),
        "2:9: `sm_70` is not a target, expected one of sm_90a, sm_100a, sm_103a, sm_120a, sm_121a, sm_100f, sm_120f"
    );
    assert_eq!(parse(".version eight").unwrap_err().to_string(), "1:10: `eight` is not a version such as 8.0");
    assert_eq!(error_in("add.f32 %f0, %f1, %f1;"), "8:1: `add.f32` is not in the instruction table");
    assert_eq!(error_in("  neg.f32 %f0, %f2;"), "8:16: register `%f2` is not declared");
    assert_eq!(error_in("neg.f32 %f0, %f01;"), "8:14: `%f01` is not a register");
    assert_eq!(error_in("mov.b32 %r0, 99999999999999999999;"), "8:14: `99999999999999999999` is not an operand");
    assert_eq!(error_in("mov.f32 %f0, 0f3F8;"), "8:14: `0f3F8` is not an operand");
    assert_eq!(error_in("mov.b32 %r0, %r1"), "9:1: found `}`, expected `,`");
    assert_eq!(error_in("exit; \u{1f980}"), "8:7: unexpected character `\u{1f980}`");
    assert_eq!(error_in("/* open"), "8:1: the comment has no `*/`");
    assert_eq!(error_in(".pragma \"open;"), "8:9: the text has no closing `\"`");
    assert_eq!(
        error_in("neg.f32 %f0, %f1, %f1;"),
        "8:1: operands of `neg.f32` do not match: expected f32 register, f32 register or constant"
    );
    assert_eq!(
        error_in("cp.async.ca.shared.global [%r0];"),
        "8:1: operands of `cp.async.ca.shared.global` do not match: \
         expected address in shared memory, address in global memory, one of the constants [4, 8, 16], \
         or address in shared memory, address in global memory, one of the constants [4, 8, 16], b32 register"
    );
    assert_eq!(error_in("bra 1;"), "8:1: operands of `bra` do not match: expected label");
    assert_eq!(error_in("ld.shared.b32 %r0, [%r1+%r2];"), "8:25: expected an offset in bytes");
}
