//! Names of a function body: registers, labels, variables, by scope.

use std::collections::HashMap;
use std::sync::Arc;

use gable_ptx::syntax::StorageType;

use super::Label;

/// A run of registers: `%r<4>`, or one.
#[derive(Clone, Copy, Debug)]
pub(super) struct RegisterRun {
    pub ty: StorageType,
    /// `.v2` and `.v4`: components of each.
    pub vector: u32,
    /// How many the text declares; absent for a single name.
    pub count: Option<u32>,
    /// Identity of the declaration, since scopes may reuse the text.
    pub id: u32,
}

/// Where a variable of a function lives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Variable {
    /// Global or constant memory.
    Global(u64),
    /// Offset in the CTA's shared memory.
    Shared(u32),
    /// The shared array that the launch sizes.
    DynamicShared,
    /// Offset in the thread's local memory. Arguments and results of calls live there too.
    Local(u32),
    /// Offset in the kernel's parameters.
    Parameter(u32),
    /// A function: its label.
    Function(u32),
}

/// Names declared between one pair of braces.
#[derive(Default)]
pub(super) struct Scope {
    /// Registers declared one by one.
    pub registers: HashMap<Arc<str>, RegisterRun>,
    /// Runs of registers, `%r<4>`, by their prefix: `a` and `a<2>` may both be declared.
    pub runs: HashMap<Arc<str>, RegisterRun>,
    pub labels: HashMap<Arc<str>, Label>,
    pub variables: HashMap<Arc<str>, Variable>,
    /// `.branchtargets` and `.calltargets`.
    pub targets: HashMap<Arc<str>, Vec<Arc<str>>>,
}

/// Scopes, innermost last.
#[derive(Default)]
pub(super) struct Names {
    pub scopes: Vec<Scope>,
}

impl Names {
    pub fn find<T>(&self, look: impl FnMut(&Scope) -> Option<T>) -> Option<T> {
        self.scopes.iter().rev().find_map(look)
    }

    pub fn innermost(&mut self) -> &mut Scope {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::default());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    /// The declaration of a register and its number in it.
    pub fn register(&self, name: &str) -> Option<(RegisterRun, u32)> {
        let whole = |scope: &Scope| scope.registers.get(name).map(|run| (*run, 0));
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        self.find(|scope| {
            whole(scope).or_else(|| {
                // `%r12` may be number 12 of `%r` or number 2 of `%r1`: the longest number first.
                (name.len() - digits..name.len()).find_map(|split| {
                    let run = scope.runs.get(&name[..split])?;
                    let number: u32 = name[split..].parse().ok()?;
                    run.count.filter(|count| number < *count).map(|_| (*run, number))
                })
            })
        })
    }
}
