//! A program ready to run: the plan with its memory.

use super::choose::arg_tensor;
use super::data::Data;
use super::error::CpuError;
use super::kernel::{Arg, Out};
use super::plan::{Place, Plan, Source, Step};
use gable_ir::{ConcreteType, Module};
use gable_tensor::Tensor;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A graph prepared for the host's processors.
///
/// Results do not depend on the number of threads. They equal the reference evaluation's bit for bit for integers,
/// truth values, movement and casts. Floats are rounded wherever the graph rounds them; each op alone is within one
/// unit in the last place of the reference but for contractions, which are summed in f32 (f64 for f64).
pub struct CpuProgram {
    plan: Plan,
    /// Buffers of finished runs, for the next ones.
    buffers: Mutex<Vec<Vec<Data>>>,
}

/// The time that one step of a program took.
#[derive(Clone, Debug)]
pub struct StepTime {
    /// The op; of a group of maps, the last.
    pub op: &'static str,
    /// The value's id in the graph.
    pub index: usize,
    /// Where the op came from, where known.
    pub origin: Option<String>,
    /// How long it took.
    pub time: Duration,
}

impl CpuProgram {
    /// Prepares a verified module whose dimensions are all bound. Weights are converted and kept.
    pub fn new(module: &Module) -> Result<CpuProgram, CpuError> {
        Ok(CpuProgram { plan: Plan::new(module)?, buffers: Mutex::default() })
    }

    /// Runs the program. Inputs go by name, in any order; outputs come in the graph's order.
    pub fn run(&self, inputs: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, CpuError> {
        self.run_with(inputs, &mut |_, _| {})
    }

    /// Runs the program once and tells how long each step took.
    pub fn profile(&self, inputs: &[(&str, &Tensor)]) -> Result<Vec<StepTime>, CpuError> {
        let mut times = Vec::with_capacity(self.plan.steps.len());
        self.run_with(inputs, &mut |step, time| {
            let label = &step.node;
            times.push(StepTime { op: label.op, index: label.index, origin: label.origin.clone(), time });
        })?;
        Ok(times)
    }

    /// Ops of the program that no kernel of this device computes: the reference evaluates them, slowly.
    pub fn ops_by_reference(&self) -> Vec<&'static str> {
        self.plan.by_reference.iter().copied().collect()
    }

    /// Elements of all buffers that one run uses at once, inputs and constants left out.
    pub fn buffer_elements(&self) -> usize {
        self.plan.slots.iter().map(|(_, len)| len).sum()
    }

    fn run_with(
        &self,
        inputs: &[(&str, &Tensor)],
        after: &mut (dyn FnMut(&Step, Duration) + Send),
    ) -> Result<Vec<(String, Tensor)>, CpuError> {
        let inputs = self.arrange(inputs)?;
        // A panic elsewhere leaves whole buffers behind, whose contents do not matter.
        let pooled = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut slots = match pooled {
            Some(slots) => slots,
            None => self.allocate()?,
        };
        // Inside the pool, so that steps do not wait to be handed over.
        let outputs = rayon::scope(|_| self.steps(&inputs, &mut slots, after));
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).push(slots);
        outputs
    }

    fn steps(
        &self,
        inputs: &[Data],
        slots: &mut [Data],
        after: &mut (dyn FnMut(&Step, Duration) + Send),
    ) -> Result<Vec<(String, Tensor)>, CpuError> {
        for step in &self.plan.steps {
            let class = slots[step.slot].class();
            let mut data = std::mem::replace(&mut slots[step.slot], Data::empty(class));
            let args: Vec<Arg<'_>> = step.args.iter().map(|place| self.arg(place, inputs, slots)).collect();
            let start = Instant::now();
            let result = step.kernel.run(&args, Out { data: &mut data, len: step.len });
            slots[step.slot] = data;
            result.map_err(|source| step.node.error(source))?;
            after(step, start.elapsed());
        }
        let output = |(name, ty, place): &(String, ConcreteType, Place)| {
            (name.clone(), arg_tensor(&self.arg(place, inputs, slots), ty))
        };
        Ok(self.plan.outputs.iter().map(output).collect())
    }

    fn arg<'a>(&'a self, place: &'a Place, inputs: &'a [Data], slots: &'a [Data]) -> Arg<'a> {
        let data = match place.source {
            Source::Input(number) => &inputs[number],
            Source::Constant(number) => &self.plan.constants[number],
            Source::Computed(slot) => &slots[slot],
        };
        Arg { data, layout: &place.layout }
    }

    fn allocate(&self) -> Result<Vec<Data>, CpuError> {
        let slot = |&(class, elements)| Data::zeroed(class, elements).ok_or(CpuError::OutOfMemory { elements });
        self.plan.slots.iter().map(slot).collect()
    }

    /// The inputs in the plan's order, checked.
    fn arrange(&self, given: &[(&str, &Tensor)]) -> Result<Vec<Data>, CpuError> {
        let known = |name: &str| self.plan.inputs.iter().any(|(input, _)| input == name);
        if let Some((name, _)) = given.iter().find(|(name, _)| !known(name)) {
            let known = self.plan.inputs.iter().map(|(name, _)| format!("`{name}`")).collect();
            return Err(CpuError::UnknownInput { name: name.to_string(), known });
        }
        let arrange = |(name, ty): &(String, ConcreteType)| {
            let missing = || CpuError::MissingInput { name: name.clone(), expected: ty.to_string() };
            let tensor = given.iter().find(|(given, _)| given == name).ok_or_else(missing)?.1;
            let found = ConcreteType::of(tensor);
            if found != *ty {
                let (found, expected) = (found.to_string(), ty.to_string());
                return Err(CpuError::InputType { name: name.clone(), found, expected });
            }
            Ok(Data::of_tensor(tensor))
        };
        self.plan.inputs.iter().map(arrange).collect()
    }
}
