//! Places by the memory plan, code by the code generator, predictions by the roofline: a target's plan.

use crate::{Error, Target};
use gable_artifact::{Action, BufferRef, Prediction, Space, Step, StepCost, TargetPlan};
use gable_codegen::{Choices, Hardware, Places};
use gable_ir::{Graph, NodeId, Op};
use gable_passes::MemoryPlan;
use gable_passes::plan::Place;
use gable_roofline::{Machine, Roofs};
use std::collections::BTreeMap;

/// Makes the plan of a fused graph for one target.
pub(crate) fn target_plan(
    graph: &Graph,
    memory: &MemoryPlan,
    weights: &BTreeMap<&str, usize>,
    target: Target,
    choices: &Choices,
) -> Result<TargetPlan, Error> {
    let places = places(graph, memory, weights);
    let mut plan = gable_codegen::compile_with(graph, &places, &Hardware::of(target), choices)?;
    plan.steps.extend(memory.copies.iter().map(|copy| {
        let source = places.of[&copy.from];
        let target = BufferRef { space: Space::Output(copy.output), offset: 0, bytes: source.bytes };
        Step {
            label: format!("copy.{}", copy.output),
            action: Action::Copy { source, target },
            cost: StepCost { bytes_read: source.bytes, bytes_written: source.bytes, ..StepCost::default() },
            predicted: None,
        }
    }));
    if let Some(roofs) = Machine::for_target(target.name()).map(Roofs::data_sheet) {
        for step in &mut plan.steps {
            let predicted = roofs.predict(&crate::report::step_cost(&step.cost));
            step.predicted = Some(Prediction {
                machine: roofs.machine.name.into(),
                seconds: predicted.seconds,
                bound: predicted.binding.to_string(),
            });
        }
    }
    Ok(plan)
}

/// Where the memory plan puts values, as ranges of the artifact's memory.
fn places(graph: &Graph, memory: &MemoryPlan, weights: &BTreeMap<&str, usize>) -> Places {
    let range = |(&id, place): (&NodeId, &Place)| {
        let (space, offset) = match *place {
            Place::Input(position) => (Space::Input(position), 0),
            Place::Output(position) => (Space::Output(position), 0),
            Place::Arena(offset) => (Space::Arena, offset),
            Place::Weight => (Space::Weight(weights[weight_key(graph, id)]), 0),
        };
        let ty = graph.ty(id).concrete().expect("the passes bound every dimension");
        (id, BufferRef { space, offset, bytes: ty.bytes() as u64 })
    };
    Places { of: memory.place.iter().map(range).collect(), arena_bytes: memory.arena_bytes }
}

/// The key of the weight that a value is, or is a reshape of.
fn weight_key(graph: &Graph, id: NodeId) -> &str {
    match graph.op(id) {
        Op::Weight(weight) => &weight.key,
        _ => weight_key(graph, graph.operand(id, 0)),
    }
}
