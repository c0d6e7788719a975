//! Every row of the table against `ptxas`: it assembles at its floor, and does not one step below.
//!
//! Many rows share a module, since starting the assembler is what costs; each row's line is known by the comment before it.

use std::collections::{BTreeMap, BTreeSet};

use gable_ptx::ptxas::{Ptxas, PtxasError};
use gable_ptx::{
    B16, B32, B64, Class, DstSlot, Effect, F32, F64, Floor, Kernel, KernelBuilder, Module, Opcode, Operand, Pipe,
    PtxVersion, R, Reg, RegisterClass, ScalarType, Slot, Space, Symbol, Target, TensorPlace, Value, verify,
};

/// The assembler, or a visible skip; in CI its absence is a failure.
fn ptxas() -> Option<Ptxas> {
    match Ptxas::find() {
        Ok(ptxas) => Some(ptxas),
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Registers of every class, loaded from memory so that nothing is known of their values.
struct Inputs {
    pointer: R<B64>,
    shared: R<B32>,
    local: R<B64>,
    scratch: Symbol,
    frame: Symbol,
    params: BTreeMap<ScalarType, Symbol>,
    registers: BTreeMap<Class, Reg>,
    /// Registers with values that instructions may add to.
    accumulators: BTreeMap<Class, Vec<Reg>>,
    sink_offset: i32,
}

impl Inputs {
    /// Registers of classes that not every target has are there only where rows need them.
    fn new(k: &mut KernelBuilder, rows: &[Opcode]) -> Inputs {
        let param_types = [ScalarType::B16, ScalarType::U32, ScalarType::U64, ScalarType::F32, ScalarType::F64];
        let params = param_types.map(|ty| (ty, k.declare_param(&format!("param_{ty}"), ty)));
        let pointer = k.param_pointer("pointer");
        let scratch = k.shared_array("scratch", 1024, 128);
        let frame = k.local_array("frame", 64, 16);
        let word = k.ld_global_b32(pointer);
        let pred = k.setp_eq_u32(word, 7);
        let mut registers = vec![
            pred.reg(),
            k.ld_global_b16(pointer).reg(),
            word.reg(),
            k.ld_global_b64(pointer).reg(),
            k.ld_global_f32(pointer).reg(),
            k.ld_global_f64(pointer).reg(),
        ];
        let reads = |class| {
            let slots = [Slot::Reg(class), Slot::RegVector(class, 2), Slot::RegVector(class, 4)];
            rows.iter().any(|row| row.form().src.iter().any(|slot| slots.contains(slot)))
        };
        if reads(Class::B8) {
            let [byte, ..] = k.unpack_b8x4(word);
            registers.push(byte.reg());
        }
        if reads(Class::B128) {
            registers.push(k.ld_shared_b128(&scratch).reg());
        }
        Inputs {
            pointer,
            shared: k.address_of_shared(&scratch),
            local: k.address_of_local(&frame),
            scratch: Symbol("scratch".into()),
            frame: Symbol("frame".into()),
            params: params.into(),
            registers: registers.into_iter().map(|reg| (reg.class, reg)).collect(),
            accumulators: BTreeMap::new(),
            sink_offset: 0,
        }
    }

    /// Something that fits `slot`: a register where one fits.
    fn operand(&self, slot: Slot) -> Operand {
        match slot {
            Slot::Value(class) | Slot::Bounded(class, ..) | Slot::Reg(class) => Operand::from(self.registers[&class]),
            Slot::Vector(class, count) | Slot::RegVector(class, count) => {
                Operand::Vector(vec![Value::Reg(self.registers[&class]); usize::from(count)])
            }
            Slot::Selector(bytes, threads) => Operand::Vector(vec![Value::Int(bytes[0]), Value::Int(threads[0])]),
            Slot::Constant(low, _) => Operand::Value(Value::Int(low)),
            Slot::OneOf(allowed) => Operand::Value(Value::Int(allowed[0])),
            Slot::Address(Space::Shared) => Operand::Address(self.shared.reg().at(32)),
            Slot::Address(Space::Local) => Operand::Address(self.local.reg().at(16)),
            Slot::Address(Space::SharedCluster | Space::Tensor) => Operand::Address(self.shared.reg().at(32)),
            Slot::Address(_) => Operand::Address(self.pointer.reg().at(-16)),
            Slot::Tensor(rank) => Operand::Tensor(TensorPlace {
                map: self.pointer.reg(),
                coordinates: vec![Value::Reg(self.registers[&Class::B32]); usize::from(rank)],
            }),
            Slot::Param(ty) => Operand::Address(self.params[&ty].clone().into()),
            Slot::Symbol(Space::Local) => Operand::Symbol(self.frame.clone()),
            Slot::Symbol(Space::Param) => Operand::Symbol(self.params[&ScalarType::U64].clone()),
            Slot::Symbol(_) => Operand::Symbol(self.scratch.clone()),
            Slot::Label => panic!("labels are made per instruction"),
        }
    }

    /// Other operands that fit `slot`: constants, other constants, names.
    fn alternatives(&self, slot: Slot) -> Vec<Operand> {
        match slot {
            Slot::Value(class) => match class {
                Class::F32 => vec![Operand::from(1.5f32)],
                Class::F64 => vec![Operand::from(1.5f64)],
                Class::Pred => vec![Operand::from(true), Operand::from(false)],
                Class::B8 | Class::B128 => vec![],
                _ => vec![Operand::from(3), Operand::from(-1)],
            },
            Slot::Vector(class, count) => self
                .alternatives(Slot::Value(class))
                .into_iter()
                .filter_map(|operand| match operand {
                    Operand::Value(value) => Some(Operand::Vector(vec![value; usize::from(count)])),
                    _ => None,
                })
                .collect(),
            Slot::Selector(bytes, threads) => {
                let pairs = bytes.iter().flat_map(|byte| threads.iter().map(|thread| [*byte, *thread]));
                pairs.map(|pair| Operand::Vector(pair.map(Value::Int).into())).collect()
            }
            Slot::Tensor(rank) => vec![Operand::Tensor(TensorPlace {
                map: self.pointer.reg(),
                coordinates: vec![Value::Int(-16); usize::from(rank)],
            })],
            Slot::Bounded(_, low, high) => vec![Operand::Value(Value::Int(low)), Operand::Value(Value::Int(high))],
            Slot::Constant(_, high) => vec![Operand::Value(Value::Int(high))],
            Slot::OneOf(allowed) => allowed.iter().map(|value| Operand::Value(Value::Int(*value))).collect(),
            Slot::Address(Space::Shared) => vec![Operand::Address(self.scratch.clone().into())],
            Slot::Address(Space::Local) => vec![Operand::Address(self.frame.clone().into())],
            _ => vec![],
        }
    }

    /// The first `count` accumulators of `class`.
    fn accumulators(&mut self, k: &mut KernelBuilder, class: Class, count: u8) -> Vec<Reg> {
        let known = self.accumulators.entry(class).or_default();
        while known.len() < usize::from(count) {
            let reg = k.fresh_reg(class);
            k.copy_into(reg, self.registers[&class]).expect("every class can be copied");
            known.push(reg);
        }
        known[..usize::from(count)].to_vec()
    }

    /// Uses a result, so that the assembler cannot drop what made it.
    fn sink(&mut self, k: &mut KernelBuilder, reg: Reg) {
        fn typed<C: RegisterClass>(reg: Reg) -> R<C> {
            reg.typed().expect("matched on the class")
        }
        let to = self.pointer.at(self.sink_offset);
        self.sink_offset += 8;
        match reg.class {
            Class::Pred => {
                let word = k.selp_b32(1, 0, typed(reg));
                k.st_global_b32(to, word);
            }
            Class::B8 => {
                let pair = k.pack_b8x2([typed(reg), typed(reg)]);
                k.st_global_b16(to, pair);
            }
            Class::B128 => {
                let [low, _] = k.unpack_b128(typed(reg));
                k.st_global_b64(to, low);
            }
            Class::B16 => k.st_global_b16(to, typed::<B16>(reg)),
            Class::B32 => k.st_global_b32(to, typed::<B32>(reg)),
            Class::B64 => k.st_global_b64(to, typed::<B64>(reg)),
            Class::F32 => k.st_global_f32(to, typed::<F32>(reg)),
            Class::F64 => k.st_global_f64(to, typed::<F64>(reg)),
        }
    }
}

/// One kernel that holds each row once, and once more for each other kind of operand; a comment before each row names it.
fn probe_kernel(name: &str, rows: &[Opcode]) -> Kernel {
    let mut k = KernelBuilder::new(name, Target::Sm90a);
    let mut inputs = Inputs::new(&mut k, rows);
    let skip: R<gable_ptx::Pred> = inputs.registers[&Class::Pred].typed().expect("it is the predicate");
    let mut tensor_operands: BTreeSet<(&str, String)> = BTreeSet::new();
    for row in rows {
        let form = row.form();
        let label = k.label("next");
        let first: Vec<Operand> = form
            .src
            .iter()
            .map(|slot| if *slot == Slot::Label { Operand::Label(label.clone()) } else { inputs.operand(*slot) })
            .collect();
        let mut variants = vec![first.clone()];
        // Matrix multiplies with the same operands differ in their shape only: the first of them is tried with all.
        let is_shape_of_another =
            form.pipe == Pipe::Tensor && !tensor_operands.insert((form.section, format!("{:?}", form.src)));
        for (index, slot) in form.src.iter().enumerate().filter(|_| !is_shape_of_another) {
            for other in inputs.alternatives(*slot) {
                let mut variant = first.clone();
                variant[index] = other;
                variants.push(variant);
            }
        }
        for src in variants {
            if let Some(DstSlot::Accumulators(class, count)) = form.dst {
                let sums = inputs.accumulators(&mut k, class, count);
                k.comment(format!("row {}", form.name));
                k.emit_into(*row, sums, src).expect("the operands fit the slots");
                continue;
            }
            k.comment(format!("row {}", form.name));
            let emit = |k: &mut KernelBuilder| k.emit(*row, src.clone()).expect("the operands fit the slots");
            // An instruction that ends the thread must leave a way past it.
            let results = if form.effect == Effect::Control { k.when(skip, emit) } else { emit(&mut k) };
            for reg in results {
                inputs.sink(&mut k, reg);
            }
        }
        if form.src.contains(&Slot::Label) {
            k.place(&label);
        }
    }
    k.exit();
    k.finish()
}

/// Many small kernels: register allocation costs more than linearly.
fn probe_kernels(rows: &[Opcode]) -> Vec<Kernel> {
    // Instructions for pairs of CTAs and others cannot use tensor memory in one kernel.
    let (pairs, others): (Vec<Opcode>, Vec<Opcode>) =
        rows.iter().partition(|row| row.form().spelling.contains(".cta_group::2"));
    let chunks = others.chunks(24).chain(pairs.chunks(24));
    chunks.enumerate().map(|(i, rows)| probe_kernel(&format!("probe_{i}"), rows)).collect()
}

/// A module for a target that need not be one of ours.
fn module_text(version: PtxVersion, target: &str, rows: &[Opcode]) -> String {
    let kernels: Vec<String> = probe_kernels(rows).iter().map(Kernel::to_string).collect();
    format!(".version {version}\n.target {target}\n.address_size 64\n\n{}", kernels.join("\n"))
}

/// The rows whose lines the assembler complains about, with what it says.
fn refused_rows(ptxas: &Ptxas, text: &str, target: &str) -> BTreeMap<String, String> {
    let message = match ptxas.assemble_for(text, target) {
        Ok(_) => return BTreeMap::new(),
        Err(PtxasError::Refused { message, .. }) => message,
        Err(error) => panic!("{error}"),
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut refused = BTreeMap::new();
    for complaint in message.lines() {
        let Some((_, rest)) = complaint.split_once(", line ") else { continue };
        let number: usize = rest.split(';').next().and_then(|n| n.parse().ok()).expect("a line number");
        let row = lines[number - 2].trim().strip_prefix("// row ").unwrap_or("(beside the rows)");
        refused.insert(row.to_owned(), complaint.to_owned());
    }
    assert!(!refused.is_empty(), "{message}");
    refused
}

/// Compute capabilities below our targets that `ptxas` knows, and the PTX version that each came with.
const CHIPS: &[(u32, PtxVersion)] = &[
    (75, PtxVersion::new(6, 3)),
    (80, PtxVersion::new(7, 0)),
    (86, PtxVersion::new(7, 1)),
    (89, PtxVersion::new(7, 8)),
    (90, PtxVersion::new(7, 8)),
];

/// Every PTX version from the lowest floor to the highest, as `(major, lowest minor, highest minor)`.
const VERSIONS: &[(u8, u8, u8)] = &[(6, 3, 5), (7, 0, 8), (8, 0, 8)];

/// The version before `version`, if it is one of `VERSIONS`.
fn version_below(version: PtxVersion) -> Option<PtxVersion> {
    let all =
        VERSIONS.iter().flat_map(|&(major, low, high)| (low..=high).map(move |minor| PtxVersion::new(major, minor)));
    all.take_while(|below| *below < version).last()
}

fn rows_by_floor() -> Vec<(Floor, Vec<Opcode>)> {
    let mut groups: Vec<(Floor, Vec<Opcode>)> = Vec::new();
    for row in Opcode::all() {
        let floor = row.form().floor;
        match groups.iter_mut().find(|(known, _)| *known == floor) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((floor, vec![row])),
        }
    }
    groups
}

#[test]
fn every_row_assembles_at_its_floor() {
    let Some(ptxas) = ptxas() else { return };
    for (floor, rows) in rows_by_floor() {
        let targets: Vec<(String, PtxVersion)> = match floor.feature {
            None => vec![(format!("sm_{}", floor.sm), floor.ptx)],
            Some(feature) => Target::ALL
                .iter()
                .filter(|target| target.has(feature))
                .map(|target| (target.to_string(), floor.ptx.max(target.row().lowest_ptx)))
                .collect(),
        };
        for (target, version) in targets {
            let refused = refused_rows(&ptxas, &module_text(version, &target, &rows), &target);
            assert!(refused.is_empty(), "{target} .version {version}: {refused:#?}");
        }
    }
}

#[test]
fn every_row_that_a_target_has_assembles_for_it() {
    let Some(ptxas) = ptxas() else { return };
    for &target in Target::ALL {
        let mut by_version: BTreeMap<PtxVersion, Vec<Opcode>> = BTreeMap::new();
        for row in Opcode::all() {
            let floor = row.form().floor;
            let version = floor.ptx.max(target.row().lowest_ptx);
            if floor.fault(version, target).is_none() {
                by_version.entry(version).or_default().push(row);
            }
        }
        for (version, rows) in by_version {
            let module = Module { version, target, dynamic_shared_align: None, kernels: probe_kernels(&rows) };
            assert_eq!(verify(&module), Ok(()));
            let refused = refused_rows(&ptxas, &module.to_string(), target.name());
            assert!(refused.is_empty(), "{target} .version {version}: {refused:#?}");
        }
    }
}

#[test]
fn no_row_assembles_one_step_below_its_floor() {
    let Some(ptxas) = ptxas() else { return };
    let mut n_refused = 0;
    for (floor, rows) in rows_by_floor() {
        for (target, sm, version) in steps_below(floor) {
            assert!(floor.fault_at(version, sm).is_some(), "{floor:?} allows sm_{sm} with {version}");
            let refused = refused_rows(&ptxas, &module_text(version, &target, &rows), &target);
            let accepted: Vec<&str> =
                rows.iter().map(|row| row.form().name).filter(|name| !refused.contains_key(*name)).collect();
            assert!(accepted.is_empty(), "{target} .version {version} has {accepted:?}, whose floor is {floor:?}");
            n_refused += refused.len();
        }
        if let Some(feature) = floor.feature {
            for &target in Target::ALL.iter().filter(|target| !target.has(feature)) {
                let version = floor.ptx.max(target.row().lowest_ptx);
                assert!(floor.fault(version, target).is_some(), "{floor:?} allows {target}");
                let module = Module { version, target, dynamic_shared_align: None, kernels: probe_kernels(&rows) };
                let faults = verify(&module).expect_err("every row is a fault").0;
                assert!(faults.len() >= rows.len(), "{faults:?}");
                let refused = refused_rows(&ptxas, &module.to_string(), target.name());
                assert_eq!(refused.len(), rows.len(), "{target} .version {version}");
                n_refused += refused.len();
            }
        }
    }
    assert!(n_refused > 100, "the probe looked at {n_refused} rows only");
}

/// The chip before the floor's, and the version before the floor's, where `ptxas` knows the pair.
fn steps_below(floor: Floor) -> Vec<(String, u32, PtxVersion)> {
    let mut steps = Vec::new();
    if let Some(below) = CHIPS.iter().map(|(sm, _)| *sm).take_while(|sm| *sm < floor.sm).last()
        && floor.feature.is_none()
    {
        steps.push((format!("sm_{below}"), below, floor.ptx));
    }
    let own_version = CHIPS.iter().find(|(sm, _)| *sm == floor.sm).map(|(_, version)| *version);
    if let (Some(version), Some(own_version)) = (version_below(floor.ptx), own_version)
        && version >= own_version
        && floor.feature.is_none()
    {
        steps.push((format!("sm_{}", floor.sm), floor.sm, version));
    }
    steps
}

#[test]
fn an_assembly_gives_machine_code_and_resources_or_the_assemblers_words() {
    let Some(ptxas) = ptxas() else { return };
    assert!(ptxas.version().expect("it runs").contains('.'));
    let mut k = KernelBuilder::new("k", Target::Sm90a);
    let x = k.param_pointer("x");
    let tile = k.shared_array("tile", 256, 16);
    let value = k.ld_global_f32(x);
    k.st_shared_f32(&tile, value);
    k.bar_sync(0);
    k.exit();
    let mut module = Module::new(Target::Sm90a, vec![k.finish()]);
    let assembled = ptxas.assemble(&module.to_string(), Target::Sm90a).expect("it assembles");
    assert!(assembled.cubin.starts_with(b"\x7fELF"));
    let [resources] = assembled.kernels.as_slice() else { panic!("{:?}", assembled.kernels) };
    assert_eq!((resources.name.as_str(), resources.static_shared_bytes, resources.barriers), ("k", 256, 1));
    assert_eq!((resources.spill_store_bytes, resources.spill_load_bytes, resources.stack_bytes), (0, 0, 0));
    assert!((1..=32).contains(&resources.registers), "{resources:?}");

    module.version = PtxVersion::new(7, 8);
    let error = ptxas.assemble(&module.to_string(), Target::Sm90a).unwrap_err().to_string();
    assert!(error.starts_with("`ptxas` for sm_90a failed:\nptxas module.ptx, line 2; "), "{error}");
}

#[test]
fn no_two_rows_share_a_name_or_a_meaning() {
    let (mut names, mut meanings) = (BTreeMap::new(), BTreeMap::new());
    for row in Opcode::all() {
        let form = row.form();
        assert_eq!(names.insert(form.name, form.spelling), None, "{}", form.name);
        assert_eq!(meanings.insert(form.meaning, form.name), None, "{:?}", form.meaning);
        assert_eq!(Opcode::of(form.meaning), Some(row));
    }
    assert!(names.len() > 500, "the table has {} rows", names.len());
}
