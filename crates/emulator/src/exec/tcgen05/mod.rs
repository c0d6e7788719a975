//! `tcgen05.*`: tensor memory and the matrix unit beside it.
//!
//! Multiplies, copies and shifts of a thread form a pipeline: they run in the order of their issue, when the schedule says, and
//! `commit` is an operation at the end of it that arrives at mbarriers. Loads and stores of a warp are waited for by `wait`.

mod alloc;
mod copy;
pub(super) mod load;
mod mma;
mod operands;
mod pipeline;
mod product;

pub use alloc::Owner;
pub(crate) use alloc::cta_exits;
pub use load::WarpTensor;

use gable_ptx::grammar::Resolved;
use gable_ptx::syntax::Instruction;

use super::{At, Decoded, Flow, says, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::Cluster;
use crate::program::{Decoder, LoadError};

pub(super) fn decode(
    d: &mut Decoder<'_>,
    _resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    if &*inst.name != "tcgen05" {
        return Ok(None);
    }
    Ok(Some(match inst.modifiers.first().map(|word| &**word) {
        Some("alloc") => alloc::allocate(d, inst)?,
        Some("dealloc") => alloc::deallocate(d, inst)?,
        Some("relinquish_alloc_permit") => alloc::relinquish(d, inst)?,
        Some("ld") => load::load(d, inst)?,
        Some("st") => load::store(d, inst)?,
        Some("wait::ld") => Decoded::aligned(step(|c, at| load::wait(c, &at, true))),
        Some("wait::st") => Decoded::aligned(step(|c, at| load::wait(c, &at, false))),
        Some("fence::before_thread_sync") => Decoded::free(step(|c, at| {
            if let Some(order) = &mut c.order {
                order.fence_tensor_before(at.warp as u32, at.mask);
            }
            Ok(Flow::Next)
        })),
        Some("fence::after_thread_sync") => Decoded::free(step(|c, at| {
            if let Some(order) = &mut c.order {
                order.fence_tensor_after(at.warp as u32, at.mask);
            }
            Ok(Flow::Next)
        })),
        Some("cp") => copy::copy(d, inst)?,
        Some("shift") => copy::shift(d, inst)?,
        Some("mma") => mma::multiply(d, inst)?,
        Some("commit") => pipeline::commit(d, inst)?,
        _ => return Ok(None),
    }))
}

/// CTAs that the instruction works on: 1 or 2.
fn cta_group(d: &Decoder<'_>, inst: &Instruction) -> Result<u32, LoadError> {
    match (says(inst, "cta_group::1"), says(inst, "cta_group::2")) {
        (true, false) => Ok(1),
        (false, true) => Ok(2),
        _ => Err(d.error(format!("`{}` names no cta_group", inst.spelling()))),
    }
}

/// The ranks of the CTAs that an instruction of this group works on, the even one first; they must be there, and all instructions of
/// a CTA must have the same group.
fn group_ranks(c: &mut Cluster<'_>, at: &At, cta_group: u32) -> Result<Vec<u32>, Fault> {
    let rank = c.cta_of(at.warp).rank;
    let owner = &mut c.ctas[rank as usize].tensor_owner;
    let first = *owner.cta_group.get_or_insert(cta_group);
    if first != cta_group {
        let message =
            format!("cta_group::{cta_group} after cta_group::{first}: all tcgen05 instructions of a kernel must agree");
        return Err(Fault::new(HazardKind::TensorMemory, message));
    }
    if cta_group == 1 {
        return Ok(vec![rank]);
    }
    let even = rank & !1;
    if even as usize + 1 >= c.ctas.len() {
        let message = format!("cta_group::2 needs a pair of CTAs; CTA {rank} of the cluster has no peer");
        return Err(Fault::new(HazardKind::TensorMemory, message));
    }
    let threads = c.threads_per_cta();
    for rank in [even, even + 1] {
        if c.ctas[rank as usize].exited >= threads {
            let message = format!("cta_group::2, and CTA {rank} of the pair has exited");
            return Err(Fault::new(HazardKind::TensorMemory, message));
        }
    }
    Ok(vec![even, even + 1])
}

/// Lane and column of an address of tensor memory.
fn split(address: u32) -> (u32, u32) {
    (address >> 16, address & 0xffff)
}
