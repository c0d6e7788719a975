//! Asynchronous operations as agents. Slots are reused: an operation takes over the slot of an earlier one that its
//! issuer knows to be finished, so that whoever knows the later one to be finished knows the earlier one too.

use std::sync::Arc;

use crate::order::access::OperationKind;
use crate::order::knowledge::View;
use crate::order::vector::Vector;

/// An asynchronous operation that was issued: what it inherits from its issuer, and its identity.
#[derive(Clone, Debug)]
pub struct Operation {
    pub(crate) agent: u32,
    pub(crate) generation: u32,
    pub(crate) kind: OperationKind,
    /// What it knows: all that the issuer knew, the issuer's own accesses included.
    pub(crate) view: View,
    pub(crate) tensor: Arc<Vector>,
    /// What its completion tells beside itself: what the issuer had learned from others.
    pub(crate) inherited: View,
}

/// The slots of the operations of a cluster.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Agent of the first slot.
    first: u32,
    generations: Vec<u32>,
    /// Where the search for a finished operation begins.
    next: usize,
}

/// How many slots are looked at for a finished one before a new one is made.
const LOOKED_AT: usize = 8;

impl Slots {
    pub(crate) fn new(first: u32) -> Self {
        Slots { first, generations: Vec::new(), next: 0 }
    }

    /// An agent and its generation for an operation whose issuer knows `known`.
    pub(crate) fn take(&mut self, known: &Vector) -> (u32, u32) {
        let count = self.generations.len();
        for _ in 0..count.min(LOOKED_AT) {
            self.next = if self.next + 1 < count { self.next + 1 } else { 0 };
            let agent = self.first + self.next as u32;
            let generation = &mut self.generations[self.next];
            if known.least(agent) >= *generation {
                *generation += 1;
                return (agent, *generation);
            }
        }
        self.generations.push(1);
        (self.first + count as u32, 1)
    }
}
