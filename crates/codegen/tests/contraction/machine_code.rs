//! Every schedule that may be chosen or tuned, assembled: nothing spilled, and the class's own instructions in the machine code.

use crate::product::{self, product};
use gable_codegen::Class;
use gable_codegen::contraction::schedule::Schedule;
use gable_ptx::nvdisasm::Nvdisasm;
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module, Target};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Schedules that differ in more than the order of tiles.
fn distinct(candidates: Vec<Schedule>) -> Vec<Schedule> {
    let mut by_text = BTreeMap::new();
    for schedule in candidates {
        let text = schedule.to_string();
        let kind = text.split(" group ").next().unwrap_or_default().to_owned();
        by_text.entry(kind).or_insert(schedule);
    }
    by_text.into_values().collect()
}

/// Products that lead to every class that a target has.
fn sources(target: Target) -> Vec<String> {
    let mut sources = vec![
        product("bf16", (512, 768, 640), [false, true], "bf16", &product::layer(512, 768)),
        product("bf16", (4, 768, 1024), [false, true], "bf16", ""),
    ];
    if matches!(target, Target::Sm90a | Target::Sm100a) {
        sources.push(product("e4m3", (512, 768, 640), [false, true], "bf16", ""));
    }
    sources
}

/// What the rule takes and a share of the other candidates; all of them when asked.
#[test]
fn candidates_assemble_without_spills_to_instructions_of_its_class() {
    let (Ok(ptxas), Ok(nvdisasm)) = (Ptxas::find(), Nvdisasm::find()) else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas and nvdisasm");
        eprintln!("SKIPPED: no ptxas or no nvdisasm");
        return;
    };
    let all = std::env::var_os("GABLE_EXHAUSTIVE").is_some();
    let cases: Vec<(Target, String, Schedule)> = [Target::Sm90a, Target::Sm100a, Target::Sm120a]
        .into_iter()
        .flat_map(|target| sources(target).into_iter().map(move |source| (target, source)))
        .flat_map(|(target, source)| {
            // The assembler takes a second for each.
            let schedules = distinct(product::candidates(&source, target));
            let step = if all { 1 } else { 8 };
            schedules.into_iter().step_by(step).map(move |schedule| (target, source.clone(), schedule))
        })
        .collect();
    let classes: Vec<(Target, Class)> = cases.iter().map(|(target, _, schedule)| (*target, schedule.class())).collect();
    for (target, class) in
        [(Target::Sm90a, Class::Wgmma), (Target::Sm100a, Class::Tcgen05), (Target::Sm120a, Class::MmaSync)]
    {
        assert!(classes.contains(&(target, class)), "no case of class {class} for {target}");
    }
    let failed: Vec<String> = cases
        .par_iter()
        .filter_map(|(target, source, schedule)| {
            let kernel = product::kernel(source, *target, *schedule);
            let name = kernel.name.clone();
            let wrong = |what: String| Some(format!("{target} {schedule}: {what}\n{source}"));
            assert_eq!(Class::found(&kernel), schedule.class(), "{target} {schedule}");
            let assembled = match ptxas.assemble(&Module::new(*target, vec![kernel]).to_string(), *target) {
                Ok(assembled) => assembled,
                Err(error) => return wrong(error.to_string()),
            };
            let resources = &assembled.kernels[0];
            if resources.stack_bytes > 0 || resources.spill_store_bytes > 0 {
                return wrong(format!("{resources:?}"));
            }
            let code = nvdisasm.instructions(&assembled.cubin).unwrap_or_else(|e| panic!("{target} {schedule}: {e}"));
            schedule.class().kept_by(&code[&name]).err().and_then(wrong)
        })
        .collect();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
