//! Asynchronous operations on their way.

use crate::hazard::Fault;

use super::Cluster;

/// Operations of one queue finish in the order of their issue; `Unordered` ones in any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// No order with any other.
    Unordered,
    /// Matrix multiplies of a warp.
    Warpgroup {
        /// The warp, by its index in the cluster.
        warp: u32,
    },
    /// Tensor memory operations that the ISA lists as pipelined, of a thread.
    Tensor {
        /// The warp, by its index in the cluster.
        warp: u32,
        /// The lane.
        lane: u32,
    },
    /// Copies of a thread whose groups it waits for in order.
    Copies {
        /// The warp, by its index in the cluster.
        warp: u32,
        /// The lane.
        lane: u32,
    },
}

/// The part of an asynchronous operation that happens when it finishes.
pub trait Asynchronous: Send {
    /// Moves the data and tells whoever waits.
    fn finish(self: Box<Self>, cluster: &mut Cluster<'_>) -> Result<(), Fault>;
}

/// An operation that has been issued.
pub struct Pending {
    /// Its number, in the order of issue.
    pub number: u64,
    /// Its order with others.
    pub queue: Queue,
    /// Who issued it: index of the warp in the cluster, and the lane.
    pub issuer: (usize, u32),
    /// Index of the instruction that issued it.
    pub pc: u32,
    /// The rest of it.
    pub operation: Box<dyn Asynchronous>,
}

impl Cluster<'_> {
    /// Issues an asynchronous operation, which runs at once where the schedule says so. Gives its number.
    pub fn issue(
        &mut self,
        queue: Queue,
        issuer: (usize, u32),
        pc: u32,
        operation: Box<dyn Asynchronous>,
    ) -> Result<u64, Fault> {
        let number = self.issued;
        self.issued += 1;
        self.pending.push(Pending { number, queue, issuer, pc, operation });
        if self.finishes_at_once() {
            self.finish_queue_up_to(number)?;
        }
        Ok(number)
    }

    /// Whether the operation of that number is still on its way.
    pub fn is_pending(&self, number: u64) -> bool {
        self.pending.iter().any(|pending| pending.number == number)
    }

    /// Finishes everything of the same queue up to an operation, and then it.
    pub fn finish_queue_up_to(&mut self, number: u64) -> Result<(), Fault> {
        let Some(queue) = self.pending.iter().find(|p| p.number == number).map(|p| p.queue) else { return Ok(()) };
        if queue == Queue::Unordered {
            return self.finish_number(number);
        }
        while let Some(first) = self.pending.iter().find(|p| p.queue == queue).map(|p| p.number) {
            if first > number {
                break;
            }
            self.finish_number(first)?;
        }
        Ok(())
    }

    fn finish_number(&mut self, number: u64) -> Result<(), Fault> {
        let Some(index) = self.pending.iter().position(|p| p.number == number) else { return Ok(()) };
        let pending = self.pending.remove(index);
        self.progress += 1;
        let place = (pending.issuer, pending.pc);
        pending.operation.finish(self).inspect_err(|_| self.blame = Some(place))
    }

    /// Finishes one operation of those that may be next, by the schedule. False where none is on its way.
    pub fn finish_one(&mut self) -> Result<bool, Fault> {
        let mut next: Vec<u64> = Vec::new();
        let mut seen: Vec<Queue> = Vec::new();
        for pending in &self.pending {
            if pending.queue == Queue::Unordered {
                next.push(pending.number);
            } else if !seen.contains(&pending.queue) {
                seen.push(pending.queue);
                next.push(pending.number);
            }
        }
        let Some(&number) = self.choose(&next) else { return Ok(false) };
        self.finish_number(number)?;
        Ok(true)
    }
}
