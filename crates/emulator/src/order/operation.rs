//! Asynchronous operations as agents. Slots are reused, so that whoever knows the later operation to be finished knows
//! the earlier one too: those of a queue that finishes in order share one slot; any other takes over the slot of an
//! earlier one that its issuer knows to be finished.

use std::collections::HashMap;
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
    /// Slots of queues, by warp, first lane and queue: never searched.
    queues: HashMap<(u32, u32, u8), u32>,
    /// Slots that belong to no queue.
    free: Vec<u32>,
    /// Where the search for a finished operation begins.
    next: usize,
}

/// How many slots are looked at for a finished one before a new one is made.
const LOOKED_AT: usize = 8;

impl Slots {
    pub(crate) fn new(first: u32) -> Self {
        Slots { first, generations: Vec::new(), queues: HashMap::new(), free: Vec::new(), next: 0 }
    }

    /// An agent and its generation for the next operation of a queue of the warp's lane.
    pub(crate) fn take_queued(&mut self, warp: u32, lane: u32, queue: u8) -> (u32, u32) {
        let next = self.generations.len() as u32;
        let slot = *self.queues.entry((warp, lane, queue)).or_insert(next);
        if slot == next {
            self.generations.push(0);
        }
        let generation = &mut self.generations[slot as usize];
        *generation += 1;
        (self.first + slot, *generation)
    }

    /// An agent and its generation for an operation whose issuer knows `known`.
    pub(crate) fn take(&mut self, known: &Vector) -> (u32, u32) {
        let count = self.free.len();
        for _ in 0..count.min(LOOKED_AT) {
            self.next = if self.next + 1 < count { self.next + 1 } else { 0 };
            let slot = self.free[self.next];
            let generation = &mut self.generations[slot as usize];
            if known.least(self.first + slot) >= *generation {
                *generation += 1;
                return (self.first + slot, *generation);
            }
        }
        let slot = self.generations.len() as u32;
        self.generations.push(1);
        self.free.push(slot);
        (self.first + slot, 1)
    }
}
