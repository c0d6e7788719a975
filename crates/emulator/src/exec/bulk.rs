//! `cp.async.bulk`, `cp.reduce.async.bulk` and `cp.async.bulk.prefetch`: bulk copies of contiguous bytes.

use std::sync::Arc;

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::Instruction;

use super::transfer::{self, Combine};
use super::{At, Decoded, Execute, Flow};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Cluster, Space, lanes};
use crate::memory::Target;
use crate::program::{Address, Decoder, LoadError, Source};
use crate::tensor_map::cluster::{self, Destination};
use crate::tensor_map::convert::Conversion;
use crate::tensor_map::copy::{Copy, Place, Run};
use crate::tensor_map::reduce;

/// What both addresses and the size must be a multiple of.
const CHUNK: u64 = 16;

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    Ok(Some(match resolved.op {
        Op::CpAsyncBulk | Op::CpReduceAsyncBulk => bulk(d, resolved, inst)?,
        Op::CpAsyncBulkPrefetch => {
            let from = d.address(d.operand(inst, 0)?)?;
            let size = d.value(d.operand(inst, 1)?)?;
            Decoded::free(super::step(move |c, at| {
                let kernel = c.grid.kernel;
                let addresses = c.warps[at.warp].addresses(kernel, from);
                let sizes = *c.warps[at.warp].source(kernel, size);
                for lane in lanes(at.mask) {
                    let size = u64::from(sizes[lane] as u32);
                    global(c, at.warp, addresses[lane], size).map_err(|fault| fault.lane(lane))?;
                }
                Ok(Flow::Next)
            }))
        }
        _ => return Ok(None),
    }))
}

/// Where a copy goes.
#[derive(Clone, Copy)]
enum Way {
    /// From global memory to shared memory; the space of the destination.
    Load(Space),
    /// From shared to global memory.
    Store,
    /// From shared memory to that of another CTA.
    Between,
}

struct Bulk {
    way: Way,
    to: Address,
    from: Address,
    size: Source,
    barrier: Option<Address>,
    mask: Option<Source>,
    combine: Combine,
    /// The byte mask of a store, whose value is known when it runs.
    bytes: Option<Source>,
}

/// The operation and type of a reduction.
fn reduction(d: &Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Combine, LoadError> {
    let operation = operation(resolved).ok_or_else(|| d.error(format!("`{}` names no operation", inst.spelling())))?;
    use Modifier as M;
    let bitwise = matches!(operation, reduce::Operation::And | reduce::Operation::Or | reduce::Operation::Xor);
    let element = match resolved.types().last() {
        // Bits have no sign: any type of the size names them.
        Some(M::B32 | M::U32 | M::S32) if bitwise => reduce::Type::B32,
        Some(M::B64 | M::U64 | M::S64) if bitwise => reduce::Type::B64,
        Some(M::U32) => reduce::Type::U32,
        Some(M::S32) => reduce::Type::S32,
        Some(M::U64) => reduce::Type::U64,
        Some(M::S64) => reduce::Type::S64,
        Some(M::F16) => reduce::Type::F16,
        Some(M::Bf16) => reduce::Type::Bf16,
        Some(M::F32) => reduce::Type::F32,
        Some(M::F64) => reduce::Type::F64,
        _ => return Err(d.error(format!("`{}` has no type that can be reduced", inst.spelling()))),
    };
    if !reduce::exists(operation, element) {
        return Err(d.error(format!("`{}`: there is no such reduction", inst.spelling())));
    }
    Ok(Combine::Reduce(operation, element))
}

/// The operation of a reduction.
pub(super) fn operation(resolved: &Resolved) -> Option<reduce::Operation> {
    use Modifier as M;
    Some(match resolved.one_of(&[M::Add, M::Min, M::Max, M::Inc, M::Dec, M::And, M::Or, M::Xor])? {
        M::Add => reduce::Operation::Add,
        M::Min => reduce::Operation::Min,
        M::Max => reduce::Operation::Max,
        M::Inc => reduce::Operation::Inc,
        M::Dec => reduce::Operation::Dec,
        M::And => reduce::Operation::And,
        M::Or => reduce::Operation::Or,
        _ => reduce::Operation::Xor,
    })
}

fn bulk(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    use Modifier as M;
    // Destination first, then source: the order of the spaces in the mnemonic.
    let spaces: Vec<M> = resolved
        .modifiers
        .iter()
        .copied()
        .filter(|modifier| matches!(modifier, M::Global | M::SharedCta | M::SharedCluster))
        .collect();
    let way = match spaces[..] {
        [M::SharedCta, M::Global] => Way::Load(Space::Shared),
        [M::SharedCluster, M::Global] => Way::Load(Space::SharedCluster),
        [M::Global, M::SharedCta] => Way::Store,
        [M::SharedCluster, M::SharedCta] => Way::Between,
        _ => return Err(d.error(format!("`{}`: no copy between these spaces", inst.spelling()))),
    };
    let combine = if resolved.op == Op::CpReduceAsyncBulk { reduction(d, resolved, inst)? } else { Combine::Replace };
    if matches!(way, Way::Store) && combine != Combine::Replace {
        // CTAs add to the same bytes; in turns the sums are the same each time.
        d.takes_turns();
    }
    let to = d.address(d.operand(inst, 0)?)?;
    let from = d.address(d.operand(inst, 1)?)?;
    let size = d.value(d.operand(inst, 2)?)?;
    let mut next = 3;
    let mut barrier = None;
    if !matches!(way, Way::Store) {
        barrier = Some(d.address(d.operand(inst, next)?)?);
        next += 1;
    }
    let mut mask = None;
    if resolved.has(M::MulticastCluster) {
        mask = Some(d.value(d.operand(inst, next)?)?);
    }
    // The byte mask comes last, after the cache policy.
    let mut bytes = None;
    if resolved.has(M::CpMask) {
        bytes = Some(d.value(d.operand(inst, inst.operands.len() - 1)?)?);
    }
    Ok(Decoded::free(Bulk { way, to, from, size, barrier, mask, combine, bytes }))
}

/// A checked address in global memory.
fn global(c: &Cluster<'_>, warp: usize, address: u64, size: u64) -> Result<u64, Fault> {
    let Target::Global(address) = c.locate(warp, Space::Global, address)? else {
        return Err(Fault::new(HazardKind::OutOfBounds, format!("{address:#x} is no global address")).at(address));
    };
    multiple("global address", address)?;
    multiple("size", size)?;
    transfer::check_global(c, address, size)?;
    Ok(address)
}

/// A checked address in shared memory.
fn shared(c: &Cluster<'_>, warp: usize, space: Space, address: u64) -> Result<u32, Fault> {
    let Target::Shared(short) = c.locate(warp, space, address)? else {
        return Err(Fault::new(HazardKind::OutOfBounds, format!("{address:#x} is no shared address")).at(address));
    };
    multiple("shared address", u64::from(short))?;
    Ok(short)
}

fn multiple(what: &str, value: u64) -> Result<(), Fault> {
    if value.is_multiple_of(CHUNK) {
        return Ok(());
    }
    let message = format!("{what} {value:#x} of a bulk copy, expected a multiple of {CHUNK}");
    Err(Fault::new(HazardKind::Misaligned, message).at(value))
}

/// A copy of contiguous bytes.
fn plain(shared: u32, bytes: u32, global: u64) -> Copy {
    Copy {
        runs: if bytes > 0 { vec![Run { shared, length: bytes, place: Place::Global(global) }] } else { Vec::new() },
        conversion: Conversion::None,
        filling: [0; 16],
        shared_bytes: bytes,
        transaction_bytes: bytes,
    }
}

impl Execute for Bulk {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let kernel = c.grid.kernel;
        let warp = &c.warps[at.warp];
        let (to, from) = (warp.addresses(kernel, self.to), warp.addresses(kernel, self.from));
        let sizes = *warp.source(kernel, self.size);
        let barriers = self.barrier.map(|barrier| warp.addresses(kernel, barrier));
        let masks = self.mask.map(|mask| *warp.source(kernel, mask));
        let bytes = self.bytes.map(|bytes| *warp.source(kernel, bytes));
        for lane in lanes(at.mask) {
            let size = sizes[lane] as u32;
            let barrier = barriers.map(|barriers| barriers[lane]);
            let mask = masks.map(|masks| masks[lane] as u16);
            let combine = bytes.map_or(self.combine, |bytes| Combine::Masked(bytes[lane] as u16));
            self.one(c, &at, lane, to[lane], from[lane], size, barrier, mask, combine)
                .map_err(|fault| fault.lane(lane))?;
        }
        c.progress += 1;
        Ok(Flow::Next)
    }
}

impl Bulk {
    #[expect(clippy::too_many_arguments, reason = "the operands of the instruction")]
    fn one(
        &self,
        c: &mut Cluster<'_>,
        at: &At,
        lane: usize,
        to: u64,
        from: u64,
        size: u32,
        barrier: Option<u64>,
        mask: Option<u16>,
        combine: Combine,
    ) -> Result<(), Fault> {
        let barrier = barrier.unwrap_or_default();
        match self.way {
            Way::Load(space) => {
                let data = shared(c, at.warp, space, to)?;
                let from = global(c, at.warp, from, u64::from(size))?;
                let copy = Arc::new(plain(data, size, from));
                for to in destinations(c, at, space, data, barrier, mask, 1)? {
                    transfer::load(c, at, lane, &copy, to)?;
                }
                Ok(())
            }
            Way::Store => {
                let from = shared(c, at.warp, Space::Shared, from)?;
                let to = global(c, at.warp, to, u64::from(size))?;
                transfer::store(c, at, lane, plain(from, size, to), combine)
            }
            Way::Between => {
                multiple("size", u64::from(size))?;
                let from = shared(c, at.warp, Space::Shared, from)?;
                let data = shared(c, at.warp, Space::SharedCluster, to)?;
                for to in destinations(c, at, Space::SharedCluster, data, barrier, None, 1)? {
                    transfer::between(c, at, lane, from, size, to, combine)?;
                }
                Ok(())
            }
        }
    }
}

/// Where data and signal of a load go: one place, or those of the CTAs of a multicast mask.
pub(super) fn destinations(
    c: &Cluster<'_>,
    at: &At,
    space: Space,
    data: u32,
    barrier: u64,
    mask: Option<u16>,
    group: u32,
) -> Result<Vec<Destination>, Fault> {
    // With `cta_group::2` the barrier may be the peer's even where the data is the own CTA's.
    let space = if group == 2 { Space::SharedCluster } else { space };
    let barrier = super::mbarrier::locate_one(c, at.warp, space, barrier, false)?;
    let Some(mask) = mask else {
        if !cluster::may_signal(data, barrier, group) {
            let message = format!(
                "data goes to CTA {} and the signal to CTA {}, expected the same CTA{}",
                cluster::rank(data),
                cluster::rank(barrier),
                if group == 2 { " or its peer" } else { "" }
            );
            return Err(Fault::new(HazardKind::Descriptor, message).at(u64::from(barrier)));
        }
        return Ok(vec![Destination { data, barrier }]);
    };
    let count = c.ctas.len();
    if mask == 0 || u32::from(mask) >> count != 0 {
        let message = format!("multicast mask {mask:#06x} in a cluster of {count} CTAs");
        return Err(Fault::new(HazardKind::Descriptor, message));
    }
    Ok(cluster::multicast(data, barrier, mask, group).collect())
}
