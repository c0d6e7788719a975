//! The grammar against what is known to be PTX: the builder's table, the modules of other compilers, the notes' modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use gable_ptx::grammar::{self, Modifier, ModuleTarget, Op, Platform, SpecialRegister, floors, resolve};
use gable_ptx::syntax::{self, Instruction, Item, Source, Statement};
use gable_ptx::{Floor, Opcode, PtxVersion, Target};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The modules in a folder of the workspace, sorted.
fn modules_in(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder is readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "ptx"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

fn visit(statements: &[Statement], each: &mut impl FnMut(&Instruction)) {
    for statement in statements {
        match statement {
            Statement::Instruction(instruction) => each(instruction),
            Statement::Block(inner) => visit(inner, each),
            _ => {}
        }
    }
}

fn instructions(source: &Source) -> Vec<&Instruction> {
    fn of<'s>(statements: &'s [Statement], found: &mut Vec<&'s Instruction>) {
        for statement in statements {
            match statement {
                Statement::Instruction(instruction) => found.push(instruction),
                Statement::Block(inner) => of(inner, found),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    for item in &source.items {
        if let Item::Function(function) = item {
            of(function.body.as_deref().unwrap_or_default(), &mut found);
        }
    }
    found
}

/// A machine that runs code of that target.
fn machine_for(target: &str) -> Target {
    let declared = ModuleTarget::of(target).unwrap_or_else(|| panic!("`{target}` is a target"));
    let exact = Target::ALL.iter().find(|machine| machine.name() == target);
    *exact.or_else(|| Target::ALL.iter().find(|machine| declared.runs_on(**machine))).expect("a machine runs it")
}

/// Every instruction of the modules resolves on the module's own target.
fn all_resolve(modules: &[(PathBuf, String)]) -> usize {
    let mut faults = BTreeMap::new();
    let mut count = 0;
    for (path, text) in modules {
        let source = syntax::parse(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let platform = Platform::new(&source, machine_for(&source.target)).expect("the machine was chosen for it");
        for instruction in instructions(&source) {
            count += 1;
            if let Err(error) = resolve(instruction, &platform) {
                faults.entry(instruction.spelling()).or_insert(format!("{}: {error}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    count
}

#[test]
fn modules_of_other_compilers_resolve_on_their_targets() {
    for folder in ["tests/triton/ptx", "tests/nvcc/ptx"] {
        let modules = modules_in(&workspace().join(folder));
        assert!(!modules.is_empty(), "{folder} has modules");
        assert!(all_resolve(&modules) > 1000, "{folder} has real kernels");
    }
}

#[test]
fn modules_of_the_notes_resolve_on_their_targets() {
    let models = env::var_os("GABLE_MODELS").map_or_else(|| workspace().join("../shared/models"), PathBuf::from);
    let folder = models.join("../isa/snippets");
    if !folder.is_dir() {
        assert!(env::var_os("CI").is_none(), "{} is absent", folder.display());
        println!("SKIPPED: {} is absent", folder.display());
        return;
    }
    let modules = modules_in(&folder);
    assert_eq!(modules.len(), 42);
    all_resolve(&modules);
}

/// An instruction without operands, from its spelling.
fn spelled(spelling: &str) -> Instruction {
    let text = format!(".version 9.0\n.target sm_90\n.address_size 64\n.entry k() {{ {spelling}; }}");
    let source = syntax::parse(&text).unwrap_or_else(|error| panic!("`{spelling}`: {error}"));
    let mut found = None;
    if let Some(Item::Function(function)) = source.items.first() {
        visit(function.body.as_deref().unwrap_or_default(), &mut |instruction| found = Some(instruction.clone()));
    }
    found.unwrap_or_else(|| panic!("`{spelling}` is an instruction"))
}

/// Rows of the builder whose operands need more than the words of the mnemonic, as special registers can.
const DECIDED_BY_OPERANDS: &[&str] = &["mbarrier_arrive_count"];

#[test]
fn rows_of_the_builder_are_rows_here_with_the_same_floor() {
    let mut seen = BTreeSet::new();
    for opcode in Opcode::all() {
        let form = opcode.form();
        let instruction = spelled(form.spelling);
        let machines = Target::ALL.iter().filter(|machine| match form.floor.feature {
            Some(feature) => machine.has(feature),
            None => machine.row().sm >= form.floor.sm,
        });
        for machine in machines {
            let version = form.floor.ptx.max(machine.row().lowest_ptx);
            let resolved = resolve(&instruction, &Platform::native(version, *machine));
            let resolved = match resolved {
                Ok(resolved) => resolved,
                Err(error) => {
                    seen.insert(format!("{} on {machine}: {error}", form.name));
                    continue;
                }
            };
            let all: Vec<Floor> = floors(resolved.row, &resolved.modifiers).collect();
            // The builder's rows do not tell floors below its base apart.
            let sm = all.iter().map(|floor| floor.sm).max().map(|sm| sm.max(Floor::BASE.sm));
            let ptx = all.iter().map(|floor| floor.ptx).max().map(|ptx| ptx.max(Floor::BASE.ptx));
            let agrees = match form.fixed.is_some() || DECIDED_BY_OPERANDS.contains(&form.name) {
                true => sm <= Some(form.floor.sm) && ptx <= Some(form.floor.ptx),
                false => (sm, ptx) == (Some(form.floor.sm), Some(form.floor.ptx)),
            };
            if !agrees {
                seen.insert(format!("{}: {all:?} here, {:?} in the table", form.name, form.floor));
            }
        }
    }
    assert!(seen.is_empty(), "{seen:#?}");
}

#[test]
fn every_instruction_has_a_row_and_every_word_stands_in_one() {
    let with_rows: BTreeSet<Op> = grammar::rows().map(|row| row.op).collect();
    let without: Vec<&Op> = Op::ALL.iter().filter(|op| !with_rows.contains(op)).collect();
    assert_eq!(without, Vec::<&Op>::new());
    let used: BTreeSet<Modifier> = grammar::rows().flat_map(|row| row.words()).collect();
    let unused: Vec<&Modifier> = Modifier::WORDS.iter().filter(|word| !used.contains(word)).collect();
    assert_eq!(unused, Vec::<&Modifier>::new());
}

#[test]
fn words_and_special_registers_are_found_by_their_text() {
    for word in Modifier::WORDS {
        assert_eq!(Modifier::of(&word.text()), Some(*word));
    }
    let shape = Modifier::Matrix { m: 16, n: 8, k: 32 };
    assert_eq!((Modifier::of("m16n8k32"), &*shape.text()), (Some(shape), "m16n8k32"));
    for text in ["m16n8k", "mn", "m016n8", "m16n8k99999", "m+1n8"] {
        assert_eq!(Modifier::of(text), None, "{text}");
    }
    for register in SpecialRegister::ALL {
        assert_eq!(SpecialRegister::of(register.text()), Some(*register));
    }
}

fn fault(spelling: &str, version: (u8, u8), module: &str, machine: Target) -> String {
    let (major, minor) = version;
    let text = format!(".version {major}.{minor}\n.target {module}\n.address_size 64\n.entry k() {{\n{spelling};\n}}");
    let source = syntax::parse(&text).unwrap_or_else(|error| panic!("`{spelling}`: {error}"));
    let platform = match Platform::new(&source, machine) {
        Ok(platform) => platform,
        Err(error) => return error.to_string(),
    };
    match resolve(instructions(&source)[0], &platform) {
        Ok(resolved) => format!("{:?}", resolved.op),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_module_may_use_what_its_own_target_and_the_machine_have() {
    let wgmma = "wgmma.fence.sync.aligned";
    assert_eq!(fault(wgmma, (8, 0), "sm_90a", Target::Sm90a), "WgmmaFence");
    assert_eq!(
        fault(wgmma, (8, 0), "sm_90", Target::Sm90a),
        "line 5: `wgmma.fence.sync.aligned` needs wgmma, which the module's own `.target` does not have"
    );
    assert_eq!(fault(wgmma, (8, 0), "sm_90a", Target::Sm100a), "line 1: `.target sm_90a` does not run on sm_100a");
    assert_eq!(
        fault("tcgen05.wait::ld.sync.aligned", (8, 8), "sm_120a", Target::Sm120a),
        "line 5: `tcgen05.wait::ld.sync.aligned` needs a target with tcgen05, and sm_120a has none"
    );
    assert_eq!(fault("tcgen05.wait::ld.sync.aligned", (8, 8), "sm_100f", Target::Sm103a), "Tcgen05WaitLd");
    assert_eq!(fault("add.f32", (8, 0), "sm_80", Target::Sm120a), "Add");
    assert_eq!(
        fault("elect.sync", (7, 8), "sm_90", Target::Sm90a),
        "line 5: `elect.sync` needs `.version 8.0` or later, found 7.8"
    );
    assert_eq!(
        fault("barrier.cluster.arrive", (8, 0), "sm_80", Target::Sm90a),
        "line 5: `barrier.cluster.arrive` needs sm_90 or later, found sm_80 in the module's own `.target`"
    );
    assert_eq!(fault("add.f32", (8, 0), "compute_90", Target::Sm90a).lines().count(), 1);
}

#[test]
fn what_is_unknown_is_named_with_its_line() {
    let error = |spelling: &str| fault(spelling, (9, 0), "sm_90a", Target::Sm90a);
    assert_eq!(error("frobnicate.u32"), "line 5: `frobnicate.u32`: there is no instruction `frobnicate`");
    assert_eq!(error("add.u33"), "line 5: `add.u33`: there is no modifier `.u33`");
    assert!(error("add.sync.u32").starts_with("line 5: `add.sync.u32` has no such form; known: add"));
    assert_eq!(error("tex.2d.v4.f32.f32"), "line 5: `tex.2d.v4.f32.f32`: textures and surfaces are not supported");
}

#[test]
fn words_in_another_order_are_arranged_as_the_row_has_them() {
    let platform = Platform::native(PtxVersion::new(9, 0), Target::Sm100a);
    let arranged = |spelling: &str| {
        let resolved = resolve(&spelled(spelling), &platform).map_err(|error| error.to_string())?;
        let words: Vec<String> = resolved.modifiers.iter().map(Modifier::to_string).collect();
        Ok::<_, String>(words.join("."))
    };
    assert_eq!(arranged("atom.global.gpu.acq_rel.cas.b32").as_deref(), Ok("acq_rel.gpu.global.cas.b32"));
    assert_eq!(arranged("ld.f32.global.gpu.relaxed").as_deref(), Ok("relaxed.gpu.global.f32"));
    assert_eq!(arranged("add.ftz.rn.f32").as_deref(), Ok("rn.ftz.f32"));
    // The order of types says which is converted to which.
    assert_eq!(arranged("cvt.f16.rn.f32").as_deref(), Ok("rn.f16.f32"));
    assert!(arranged("cvt.f32.rn.e4m3x2").is_err());
    // A space that is written twice is no order of a row.
    assert!(arranged("ld.global.global.f32").is_err());
}
