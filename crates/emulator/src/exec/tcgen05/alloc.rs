//! `tcgen05.alloc`, `.dealloc`, `.relinquish_alloc_permit`.
//!
//! An allocation waits until columns are free. With `cta_group::2` a warp of each CTA of the pair takes part: the first waits for the
//! second. The manual lets `.dealloc` of a pair wait or not; here it waits, so that code which only works when it does not is found.

use gable_ptx::syntax::Instruction;

use super::{At, Decoded, Fault, HazardKind, cta_group, group_ranks, split};
use crate::exec::{Execute, Flow, step, wgmma::uniform};
use crate::machine::{Cluster, Space};
use crate::memory::Target;
use crate::order::{Kind, Operation, OperationKind, Place, Proxy};
use crate::program::{Address, Decoder, LoadError, Source};
use crate::tensor_core::tcgen05::{COLUMNS, LANES};

/// What a CTA has done to its tensor memory, beside its contents.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// The group of its first instruction.
    pub(super) cta_group: Option<u32>,
    /// Allocations and deallocations that were begun with its pair.
    requests: Vec<Request>,
    /// What its freed columns were used for: whoever allocates them knows that to be over.
    freed: Vec<Operation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Allocate {
        columns: u32,
        /// Where, once both have come.
        first: Option<u32>,
    },
    Deallocate {
        first: u32,
        columns: u32,
        done: bool,
    },
}

pub(super) fn allocate(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let cta_group = cta_group(d, inst)?;
    let to = d.address(d.operand(inst, 0)?)?;
    let columns = d.value(d.operand(inst, 1)?)?;
    let space = if super::says(inst, "shared::cta") { Space::Shared } else { Space::Generic };
    Ok(Decoded::aligned(Allocate { cta_group, to, space, columns }))
}

struct Allocate {
    cta_group: u32,
    to: Address,
    space: Space,
    columns: Source,
}

impl Execute for Allocate {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let columns = uniform(c, &at, self.columns, "the number of columns")? as u32;
        let ranks = group_ranks(c, &at, self.cta_group)?;
        let rank = c.cta_of(at.warp).rank;
        if at.resume.is_none() {
            c.ctas[rank as usize].tensor.may_allocate(columns)?;
        }
        let (first, token) = if ranks.len() == 1 {
            (c.ctas[rank as usize].tensor.free(columns).next(), 1)
        } else {
            self.with_peer(c, &at, &ranks, rank, columns)?
        };
        let Some(first) = first else {
            let allocated = c.ctas[rank as usize].tensor.allocations();
            let on =
                format!("tcgen05.alloc of {columns} columns (in use: {allocated:?}, or the peer CTA has not come)");
            return Ok(Flow::Wait { token, on, may_time_out: false });
        };
        if ranks.len() == 1 {
            c.ctas[rank as usize].tensor.allocate(first, columns);
        }
        c.progress += 1;
        if let Some(order) = &mut c.order {
            for operation in &c.ctas[rank as usize].tensor_owner.freed {
                order.complete(operation, at.warp as u32, at.mask);
            }
        }
        self.tell(c, &at, first)?;
        Ok(Flow::Next)
    }
}

impl Allocate {
    /// Writes the address of the allocation to shared memory. It is the unit of tensor memory that does, not a thread: no proxy fence
    /// is needed before a copy fills the place again, and all lanes of the warp know of it.
    fn tell(&self, c: &mut Cluster<'_>, at: &At, first: u32) -> Result<(), Fault> {
        let lane = at.mask.trailing_zeros();
        let address = c.warps[at.warp].addresses(c.grid.kernel, self.to)[lane as usize];
        let Target::Shared(short) = c.locate(at.warp, self.space, address)? else {
            let message = format!("{address:#x} is no shared address");
            return Err(Fault::new(HazardKind::OutOfBounds, message).at(address));
        };
        if !short.is_multiple_of(4) {
            let message = format!("4 bytes at {address:#x}: the address must be a multiple of 4");
            return Err(Fault::new(HazardKind::Misaligned, message).at(address));
        }
        let kind = OperationKind::TensorAllocation;
        let operation = c.order.as_mut().map(|order| order.start(at.warp as u32, 1 << lane, kind));
        c.touch(at, operation.as_ref(), Place::Shared, u64::from(short), 4, Kind::Write, Proxy::Async);
        if let (Some(order), Some(operation)) = (&mut c.order, &operation) {
            order.complete(operation, at.warp as u32, at.mask);
        }
        c.write_shared(short, &first.to_le_bytes())
    }

    /// The place, where both CTAs have asked and there is one, and the token to wait with.
    fn with_peer(
        &self,
        c: &mut Cluster<'_>,
        at: &At,
        ranks: &[u32],
        rank: u32,
        columns: u32,
    ) -> Result<(Option<u32>, u64), Fault> {
        let token = match at.resume {
            Some(token) => token,
            None => {
                let requests = &mut c.ctas[rank as usize].tensor_owner.requests;
                requests.push(Request::Allocate { columns, first: None });
                c.progress += 1;
                c.ctas[rank as usize].tensor_owner.requests.len() as u64
            }
        };
        let number = token as usize - 1;
        if let Request::Allocate { first: Some(first), .. } = c.ctas[rank as usize].tensor_owner.requests[number] {
            return Ok((Some(first), token));
        }
        let peer = (rank ^ 1) as usize;
        match c.ctas[peer].tensor_owner.requests.get(number) {
            None => return Ok((None, token)),
            Some(Request::Allocate { columns: other, .. }) if *other == columns => {}
            Some(other) => return Err(mismatch(rank ^ 1, other)),
        }
        let (even, odd) = (ranks[0] as usize, ranks[1] as usize);
        let place = c.ctas[even].tensor.free(columns).find(|&first| c.ctas[odd].tensor.is_free(first, columns));
        if let Some(first) = place {
            for rank in [even, odd] {
                c.ctas[rank].tensor.allocate(first, columns);
                c.ctas[rank].tensor_owner.requests[number] = Request::Allocate { columns, first: Some(first) };
            }
        }
        Ok((place, token))
    }
}

fn mismatch(rank: u32, other: &Request) -> Fault {
    let message = format!("CTA {rank} of the pair does {other:?} at the same time: both must do the same");
    Fault::new(HazardKind::TensorMemory, message)
}

pub(super) fn deallocate(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let cta_group = cta_group(d, inst)?;
    let address = d.value(d.operand(inst, 0)?)?;
    let columns = d.value(d.operand(inst, 1)?)?;
    Ok(Decoded::aligned(Deallocate { cta_group, address, columns }))
}

struct Deallocate {
    cta_group: u32,
    address: Source,
    columns: Source,
}

impl Execute for Deallocate {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let address = uniform(c, &at, self.address, "the address")? as u32;
        let columns = uniform(c, &at, self.columns, "the number of columns")? as u32;
        let (lane, first) = split(address);
        if lane != 0 {
            let message = format!("frees address {address:#x}: an allocation begins at lane 0");
            return Err(Fault::new(HazardKind::TensorMemory, message));
        }
        let ranks = group_ranks(c, &at, self.cta_group).or_else(|fault| match at.resume {
            // The peer may have been freed together with this one, and exited.
            Some(_) => Ok(vec![0, 1]),
            None => Err(fault),
        })?;
        let rank = c.cta_of(at.warp).rank;
        if at.resume.is_none() {
            self.used_no_more(c, &at, rank, first, columns);
        }
        if ranks.len() == 1 {
            c.ctas[rank as usize].tensor.deallocate(first, columns)?;
            c.progress += 1;
            return Ok(Flow::Next);
        }
        let token = match at.resume {
            Some(token) => token,
            None => {
                let requests = &mut c.ctas[rank as usize].tensor_owner.requests;
                requests.push(Request::Deallocate { first, columns, done: false });
                c.progress += 1;
                c.ctas[rank as usize].tensor_owner.requests.len() as u64
            }
        };
        let number = token as usize - 1;
        let done = Request::Deallocate { first, columns, done: true };
        if c.ctas[rank as usize].tensor_owner.requests[number] == done {
            return Ok(Flow::Next);
        }
        match c.ctas[(rank ^ 1) as usize].tensor_owner.requests.get(number) {
            None => {
                let on = format!("tcgen05.dealloc of {columns} columns: the peer CTA has not come");
                return Ok(Flow::Wait { token, on, may_time_out: false });
            }
            Some(Request::Deallocate { first: f, columns: n, .. }) if (*f, *n) == (first, columns) => {}
            Some(other) => return Err(mismatch(rank ^ 1, other)),
        }
        for rank in [rank, rank ^ 1] {
            c.ctas[rank as usize].tensor.deallocate(first, columns)?;
            c.ctas[rank as usize].tensor_owner.requests[number] = done;
        }
        c.progress += 1;
        Ok(Flow::Next)
    }
}

impl Deallocate {
    /// Everything that used the columns must be known to be over. No fence is needed for that, only synchronisation.
    fn used_no_more(&self, c: &mut Cluster<'_>, at: &At, rank: u32, first: u32, columns: u32) {
        let Some(order) = &mut c.order else { return };
        let mut operation = order.start(at.warp as u32, at.mask, OperationKind::TensorStore);
        operation.tensor = operation.view.known.clone();
        let columns = first.min(COLUMNS)..(first.saturating_add(columns)).min(COLUMNS);
        let found = order.operation_tensor(&operation, rank, 0..LANES, columns, Kind::Write, at.pc);
        order.complete(&operation, at.warp as u32, at.mask);
        c.ctas[rank as usize].tensor_owner.freed.push(operation);
        if let Err(conflict) = found {
            c.report_conflict(at.warp, conflict);
        }
    }
}

pub(super) fn relinquish(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let cta_group = cta_group(d, inst)?;
    Ok(Decoded::aligned(step(move |c, at| {
        group_ranks(c, &at, cta_group)?;
        let rank = c.cta_of(at.warp).rank;
        c.ctas[rank as usize].tensor.relinquish();
        Ok(Flow::Next)
    })))
}

/// When the last thread of a CTA has exited: its tensor memory must have been freed.
pub(crate) fn cta_exits(c: &mut Cluster<'_>, warp: usize) {
    let cta = c.cta_of(warp);
    let Some(allocation) = cta.tensor.allocations().first() else { return };
    let message = format!(
        "the CTA exits with {} columns of tensor memory from column {} allocated: tcgen05.dealloc must come first",
        allocation.columns, allocation.first
    );
    c.report(warp, Fault::new(HazardKind::TensorMemory, message));
}
