//! Memory after each step: the way to the first kernel that is wrong.

use crate::error::RuntimeError;
use gable_artifact::{BufferRef, Step, TargetPlan};

/// Reads a device's memory by the plan's own ranges.
pub(crate) trait Memory {
    /// The bytes of `range` as they are now.
    fn read(&self, range: BufferRef) -> Result<Vec<u8>, RuntimeError>;
}

/// The state right after one step has finished.
pub struct TraceStep<'a> {
    /// Position of the step in the plan.
    pub position: usize,
    /// The plan.
    pub plan: &'a TargetPlan,
    pub(crate) memory: &'a dyn Memory,
}

impl TraceStep<'_> {
    /// The step that has finished.
    pub fn step(&self) -> &Step {
        &self.plan.steps[self.position]
    }

    /// The bytes of any range of the plan's memory as they are now. The range comes from the plan.
    pub fn read(&self, range: BufferRef) -> Result<Vec<u8>, RuntimeError> {
        self.memory.read(range)
    }

    /// What the step wrote, in argument order.
    pub fn written(&self) -> Result<Vec<(BufferRef, Vec<u8>)>, RuntimeError> {
        self.step().writes().into_iter().map(|range| Ok((range, self.read(range)?))).collect()
    }
}
