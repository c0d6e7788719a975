//! What a pass sees beside the module: the options, and the fuel that its rewrites use up.

use crate::options::PassOptions;

/// The surroundings of one pass.
#[derive(Debug)]
pub struct Context<'a> {
    /// What the caller asked for.
    pub options: &'a PassOptions,
    fuel: Option<u64>,
    steps: u64,
}

impl<'a> Context<'a> {
    /// With `fuel` steps to go; `None` for no limit.
    pub fn new(options: &'a PassOptions, fuel: Option<u64>) -> Context<'a> {
        Context { options, fuel, steps: 0 }
    }

    /// Asked before every rewrite that could as well not be done: whether to do it. Counts those that are.
    ///
    /// A pass goes on looking after a refusal, so what it must do it still does.
    pub fn step(&mut self) -> bool {
        if self.fuel.is_some_and(|fuel| self.steps >= fuel) {
            return false;
        }
        self.steps += 1;
        true
    }

    /// Rewrites done so far, over all passes.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}
