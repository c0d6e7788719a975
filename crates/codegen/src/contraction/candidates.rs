//! The schedules that are worth timing for a problem: what the rule chooses, and others around it.
//!
//! The list depends on the problem and the target alone. A schedule is recorded by its text, and found again in the list:
//! what another version of the compiler recorded and this one would not write is not found, and so cannot be used.

use super::few_rows;
use super::few_rows::schedule::FewRowsSchedule;
use super::mma_ring::{self, schedule::MmaRingSchedule};
use super::problem::{ContractionError, Problem};
use super::rule;
use super::schedule::Schedule;
use super::tcgen05::{self, schedule::Tcgen05Schedule};
use super::wgmma::{self, schedule::WgmmaSchedule};
use crate::program::Program;
use gable_ir::Op;
use gable_ptx::Target;
use gable_tensor::DType;
use std::collections::BTreeMap;

/// Tiles along m that share columns, for kernels that walk over tiles.
const GROUPS: [u32; 4] = [4, 8, 16, 32];

/// Ranked schedules that are named before the variants of the first one.
const VARIANTS_LATER: usize = 6;

/// Schedules of one problem, each valid, each once; the rule's choice first.
pub fn candidates(problem: &Problem, target: Target) -> Result<Vec<Schedule>, ContractionError> {
    let chosen = rule::choose(problem, target)?;
    let machine = rule::machine_of(target);
    let mut found = vec![chosen];
    let mut add = |schedule: Schedule| {
        if schedule.validate(problem, target).is_ok() && !found.contains(&schedule) {
            found.push(schedule);
        }
    };
    if problem.k > 0 {
        few_rows::variants(problem, machine).into_iter().for_each(|schedule| add(Schedule::FewRows(schedule)));
    }
    if wgmma::suits(problem, target) {
        let variants = |schedule: WgmmaSchedule| GROUPS.map(|group| WgmmaSchedule { group, ..schedule });
        by_promise(wgmma::rule::ranked(problem, target, machine), variants).for_each(|s| add(Schedule::Wgmma(s)));
    }
    if tcgen05::suits(problem, target) {
        let variants = |schedule: Tcgen05Schedule| {
            let in_groups = GROUPS.into_iter().map(move |group| Tcgen05Schedule { group, ..schedule });
            in_groups.chain([Tcgen05Schedule { takes_over: true, ..schedule }])
        };
        by_promise(tcgen05::rule::ranked(problem, target, machine), variants).for_each(|s| add(Schedule::Tcgen05(s)));
    }
    if mma_ring::suits(problem, target) {
        let variants = |schedule: MmaRingSchedule| GROUPS.map(|group| MmaRingSchedule { group, ..schedule });
        by_promise(mma_ring::rule::ranked(problem, target, machine), variants).for_each(|s| add(Schedule::MmaRing(s)));
    }
    // Where the newer classes apply, or few rows, the plain ones have not been seen to win.
    let plain = !matches!(
        chosen,
        Schedule::Wgmma(_)
            | Schedule::Tcgen05(_)
            | Schedule::MmaRing(_)
            | Schedule::FewRows(FewRowsSchedule::Fragments(_) | FewRowsSchedule::Streamed(_))
    );
    if plain {
        rule::table(problem).into_iter().for_each(add);
    }
    Ok(found)
}

/// Schedules as the rule ranks them, each followed by its variants when some more of the ranked ones have been named: a list
/// that is cut short then has both.
fn by_promise<S: Copy, V: IntoIterator<Item = S>>(
    ranked: Vec<(f64, S)>,
    variants: impl Fn(S) -> V,
) -> impl Iterator<Item = S> {
    let with_variants = |(rank, (_, schedule)): (usize, (f64, S))| {
        let later = variants(schedule).into_iter().map(move |variant| (rank + VARIANTS_LATER, variant));
        std::iter::once((rank, schedule)).chain(later)
    };
    let mut all: Vec<(usize, S)> = ranked.into_iter().enumerate().flat_map(with_variants).collect();
    all.sort_by_key(|(order, _)| *order);
    all.into_iter().map(|(_, schedule)| schedule)
}

/// What a region is, for a record: its product, and what is fused around it with the types of the results.
pub fn region_key(program: &Program, problem: &Problem) -> String {
    let fused = program.values.iter().filter(|value| !matches!(value.op, Op::Input(_) | Op::Const(_)));
    let fused: Vec<String> = fused.map(|value| format!("{} {}", value.op.name(), type_text(value))).collect();
    let packed = if program.packed.is_empty() { "" } else { ", packed" };
    format!("{problem}: {}{packed}", fused.join(", "))
}

fn type_text(value: &crate::program::Value) -> String {
    let dtype: DType = value.ty.dtype;
    format!("{dtype}{:?}", value.ty.shape)
}

/// Schedules chosen by measurement: the text of one for each region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// By what [`region_key`] says of the region.
    pub by_region: BTreeMap<String, String>,
}

impl Choices {
    /// The schedule for a region: the one that was chosen for it, else the rule's.
    pub fn choose(&self, program: &Program, problem: &Problem, target: Target) -> Result<Schedule, ContractionError> {
        let Some(text) = self.by_region.get(&region_key(program, problem)) else {
            return rule::choose(problem, target);
        };
        let known = candidates(problem, target)?;
        known
            .into_iter()
            .find(|schedule| schedule.to_string() == *text)
            .ok_or_else(|| ContractionError::NotACandidate { schedule: text.clone(), problem: problem.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{Places, compile_with, tunables};
    use crate::schedule::Hardware;
    use gable_artifact::{BufferRef, Space};
    use gable_ir::Graph;
    use std::collections::BTreeSet;

    fn linear(m: usize, n: usize, k: usize) -> Graph {
        let text = format!(
            "graph @linear(%x: bf16[{m}, {k}], %w: bf16[{n}, {k}]) {{
                region @first contraction {{
                    %0 = transpose %w {{perm=[1, 0]}} : bf16[{k}, {n}]
                    %1 = matmul %x, %0 {{acc=f32, out=bf16}} : bf16[{m}, {n}]
                    %2 = relu %1 : bf16[{m}, {n}]
                }}
                return y = %2
            }}"
        );
        gable_ir::text::parse(&text).expect("the graph is valid")
    }

    fn places(graph: &Graph) -> Places {
        let place = |id, space| {
            let bytes = graph.ty(id).concrete().expect("sizes are numbers").bytes() as u64;
            (id, BufferRef { space, offset: 0, bytes })
        };
        let inputs = graph.inputs().iter().enumerate().map(|(i, &id)| place(id, Space::Input(i)));
        let outputs = graph.outputs().iter().enumerate().map(|(i, &(_, id))| place(id, Space::Output(i)));
        Places { of: inputs.chain(outputs).collect(), arena_bytes: 0 }
    }

    /// Every candidate, of every class that the shapes lead to, can be asked for by its text and is what is written then.
    #[test]
    fn every_candidate_is_written_when_it_is_asked_for() {
        for (target, sizes) in
            [(Target::Sm90a, [512, 512, 256]), (Target::Sm90a, [4, 512, 512]), (Target::Sm120a, [256, 256, 64])]
        {
            let graph = linear(sizes[0], sizes[1], sizes[2]);
            let tunables = tunables(&graph, target).expect("the region is a product");
            let [tunable] = &tunables[..] else { panic!("there is one region: {tunables:?}") };
            assert!(tunable.key.starts_with(&tunable.problem) && tunable.key.contains("relu"), "{}", tunable.key);
            let texts: BTreeSet<&String> = tunable.candidates.iter().collect();
            assert!(texts.len() == tunable.candidates.len() && texts.len() > 3, "{texts:?}");
            for text in &tunable.candidates {
                let choices = Choices { by_region: [(tunable.key.clone(), text.clone())].into() };
                let plan = compile_with(&graph, &places(&graph), &Hardware::of(target), &choices)
                    .unwrap_or_else(|error| panic!("{text}: {error}"));
                assert!(plan.kernels[0].ptx.contains(text.as_str()), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_candidate_is_refused_by_its_text() {
        let graph = linear(512, 512, 256);
        let key = tunables(&graph, Target::Sm90a).expect("the region is a product")[0].key.clone();
        let choices = Choices { by_region: [(key, "wgmma tile 3x3x3".to_string())].into() };
        let error = compile_with(&graph, &places(&graph), &Hardware::of(Target::Sm90a), &choices);
        let error = error.expect_err("there is no such schedule").to_string();
        assert!(
            error.contains("schedule `wgmma tile 3x3x3` is none that this version writes for 512x512x256"),
            "{error}"
        );
    }
}
