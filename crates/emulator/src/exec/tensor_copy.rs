//! `cp.async.bulk.tensor`, `cp.reduce.async.bulk.tensor` and `cp.async.bulk.prefetch.tensor`.

use std::sync::Arc;

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::{Instruction, Operand};

use super::transfer::{self, Combine};
use super::{At, Decoded, Execute, Flow};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Cluster, Space, lanes};
use crate::memory::Target;
use crate::order::{Kind, OperationKind, Place, Proxy};
use crate::program::{Address, Decoder, LoadError, Source};
use crate::tensor_map::bytes::{ALIGNMENT, SIZE};
use crate::tensor_map::copy::{self, Access, Direction, Request, plan};
use crate::tensor_map::map::TensorMap;
use crate::tensor_map::reduce;

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    let direction = match resolved.op {
        Op::CpAsyncBulkTensor if resolved.modifiers.contains(&Modifier::SharedCluster) => Direction::Load,
        Op::CpAsyncBulkTensor => match first_space(resolved) {
            Some(Modifier::Global) => Direction::Store,
            _ => Direction::Load,
        },
        Op::CpReduceAsyncBulkTensor => Direction::Reduce,
        Op::CpAsyncBulkPrefetchTensor => Direction::Prefetch,
        _ => return Ok(None),
    };
    Ok(Some(Decoded::free(tensor_copy(d, resolved, inst, direction)?)))
}

/// The space of the destination.
fn first_space(resolved: &Resolved) -> Option<Modifier> {
    resolved.one_of(&[Modifier::Global, Modifier::SharedCta, Modifier::SharedCluster])
}

/// The load mode, before its offsets are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Tile,
    FourRows,
    Im2col,
    Im2colWide,
    Im2colWide128,
}

struct TensorCopy {
    direction: Direction,
    mode: Mode,
    map: Address,
    coordinates: Vec<Source>,
    /// The tile in shared memory; none for a prefetch.
    shared: Option<Address>,
    space: Space,
    barrier: Option<Address>,
    offsets: Vec<Source>,
    mask: Option<Source>,
    group: u32,
    reduction: Option<reduce::Operation>,
    dimensions: usize,
}

fn tensor_copy(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
    direction: Direction,
) -> Result<TensorCopy, LoadError> {
    let mode = [
        (Modifier::TileGather4, Mode::FourRows),
        (Modifier::TileScatter4, Mode::FourRows),
        (Modifier::Im2col, Mode::Im2col),
        (Modifier::Im2colNoOffs, Mode::Im2col),
        (Modifier::Im2colW, Mode::Im2colWide),
        (Modifier::Im2colW128, Mode::Im2colWide128),
    ];
    let mode = mode.into_iter().find(|(word, _)| resolved.has(*word)).map_or(Mode::Tile, |(_, mode)| mode);
    let ranks = [Modifier::D1, Modifier::D2, Modifier::D3, Modifier::D4, Modifier::D5];
    let dimensions = ranks.iter().position(|rank| resolved.has(*rank)).map(|index| index + 1);
    let dimensions = dimensions.ok_or_else(|| d.error(format!("`{}` has no dimension", inst.spelling())))?;
    let loads = direction == Direction::Load;
    // A load names its tile first, a store or prefetch its map.
    let (tile, map) = match direction {
        Direction::Load => (Some(0), 1),
        Direction::Prefetch => (None, 0),
        Direction::Store | Direction::Reduce => (Some(1), 0),
    };
    let operand = d.operand(inst, map)?.clone();
    let (map, coordinates) = map_operand(d, &operand)?;
    let expected = if mode == Mode::FourRows { 5 } else { dimensions };
    if coordinates.len() != expected {
        let found = coordinates.len();
        return Err(d.error(format!("`{}` has {found} coordinates, expected {expected}", inst.spelling())));
    }
    let shared = tile.map(|tile| d.operand(inst, tile).cloned()).transpose()?;
    let shared = shared.map(|operand| d.address(&operand)).transpose()?;
    let mut next = match direction {
        Direction::Prefetch => 1,
        _ => 2,
    };
    let mut barrier = None;
    if loads {
        barrier = Some(d.address(d.operand(inst, next)?)?);
        next += 1;
    }
    let mut offsets = Vec::new();
    let has_offsets =
        !matches!(mode, Mode::Tile | Mode::FourRows) && matches!(direction, Direction::Load | Direction::Prefetch);
    if has_offsets {
        for operand in d.elements(d.operand(inst, next)?)? {
            offsets.push(d.value(&operand)?);
        }
        next += 1;
        let expected = if mode == Mode::Im2col { dimensions.saturating_sub(2) } else { 2 };
        if offsets.len() != expected {
            let found = offsets.len();
            return Err(d.error(format!("`{}` has {found} im2col values, expected {expected}", inst.spelling())));
        }
    }
    let mut mask = None;
    if resolved.has(Modifier::MulticastCluster) {
        mask = Some(d.value(d.operand(inst, next)?)?);
    }
    if direction == Direction::Reduce {
        // CTAs add to the same bytes; in turns the sums are the same each time.
        d.takes_turns();
    }
    let own =
        matches!(direction, Direction::Store | Direction::Reduce) || first_space(resolved) == Some(Modifier::SharedCta);
    let reduction = match direction {
        Direction::Reduce => {
            let named = super::bulk::operation(resolved);
            Some(named.ok_or_else(|| d.error(format!("`{}` names no operation", inst.spelling())))?)
        }
        _ => None,
    };
    Ok(TensorCopy {
        direction,
        mode,
        map,
        coordinates,
        shared,
        space: if own { Space::Shared } else { Space::SharedCluster },
        barrier,
        offsets,
        mask,
        group: if resolved.has(Modifier::CtaGroup2) { 2 } else { 1 },
        reduction,
        dimensions,
    })
}

/// `[map, {c0, c1}]`.
fn map_operand(d: &mut Decoder<'_>, operand: &Operand) -> Result<(Address, Vec<Source>), LoadError> {
    let Operand::Address { more, .. } = operand else {
        return Err(d.error("expected a tensor map with coordinates in brackets"));
    };
    let mut coordinates = Vec::new();
    for part in more {
        for element in d.elements(part)? {
            coordinates.push(d.value(&element)?);
        }
    }
    Ok((d.address(operand)?, coordinates))
}

/// A fault of the copy as one of the machine.
fn fault(fault: copy::Fault) -> Fault {
    let kind = match fault {
        copy::Fault::SharedAlignment { .. } | copy::Fault::CoordinateAlignment { .. } => HazardKind::Misaligned,
        copy::Fault::Address => HazardKind::OutOfBounds,
        _ => HazardKind::Descriptor,
    };
    Fault::new(kind, fault.to_string())
}

/// The tensor map at a generic address, as the instruction reads it: through the proxy of tensor maps.
fn read_map(c: &mut Cluster<'_>, at: &At, lane: usize, address: u64) -> Result<TensorMap, Fault> {
    let Target::Global(address) = c.locate(at.warp, Space::Generic, address)? else {
        let message = format!("tensor map at {address:#x}: it must lie in global, constant or parameter memory");
        return Err(Fault::new(HazardKind::Descriptor, message).at(address));
    };
    if !address.is_multiple_of(ALIGNMENT) {
        let message = format!("tensor map at {address:#x}: the address must be a multiple of {ALIGNMENT}");
        return Err(Fault::new(HazardKind::Misaligned, message).at(address));
    }
    let mut bytes = [0; SIZE];
    c.read_global(address, &mut bytes)?;
    let operation = c.order.as_mut().map(|order| order.start(at.warp as u32, 1 << lane, OperationKind::MapRead));
    c.touch(at, operation.as_ref(), Place::Global, address, SIZE, Kind::Read, Proxy::TensorMap);
    // The map is read as the copy is issued: the thread may change it afterwards, if nobody else still uses it.
    if let (Some(order), Some(operation)) = (&mut c.order, &operation) {
        order.complete(operation, at.warp as u32, 1 << lane);
    }
    TensorMap::from_bytes(&bytes).map_err(|invalid| Fault::new(HazardKind::Descriptor, invalid.to_string()).at(address))
}

impl Execute for TensorCopy {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        for lane in lanes(at.mask) {
            self.one(c, &at, lane).map_err(|fault| fault.lane(lane))?;
        }
        c.progress += 1;
        Ok(Flow::Next)
    }
}

impl TensorCopy {
    fn access(&self, offsets: &[u16]) -> Access {
        let offset = |index: usize| *offsets.get(index).unwrap_or(&0);
        match self.mode {
            Mode::Tile => Access::Tile,
            Mode::FourRows => Access::FourRows,
            Mode::Im2col => Access::Im2col { offsets: [offset(0), offset(1), offset(2)] },
            Mode::Im2colWide => Access::Im2colWide { halo: offset(0), offset: offset(1) },
            Mode::Im2colWide128 => Access::Im2colWide128 { halo: offset(0), offset: offset(1) },
        }
    }

    fn one(&self, c: &mut Cluster<'_>, at: &At, lane: usize) -> Result<(), Fault> {
        let kernel = c.grid.kernel;
        let warp = &c.warps[at.warp];
        let value = |source: &Source| warp.source(kernel, *source)[lane];
        let address = |address: Address| warp.addresses(kernel, address)[lane];
        let coordinates: Vec<i32> = self.coordinates.iter().map(|source| value(source) as i32).collect();
        let offsets: Vec<u16> = self.offsets.iter().map(|source| value(source) as u16).collect();
        let mask = self.mask.as_ref().map(|mask| value(mask) as u16);
        let barrier = self.barrier.map(address);
        let shared = self.shared.map(address);
        let map_address = address(self.map);
        let map = read_map(c, at, lane, map_address)?;
        if map.rank != self.dimensions {
            let (rank, dimensions) = (map.rank, self.dimensions);
            let message = format!("an instruction of {dimensions} dimensions with a tensor map of rank {rank}");
            return Err(Fault::new(HazardKind::Descriptor, message).at(map_address));
        }
        let shared = match shared {
            None => 0,
            Some(address) => match c.locate(at.warp, self.space, address)? {
                Target::Shared(short) => short,
                _ => {
                    let message = format!("{address:#x} is no shared address");
                    return Err(Fault::new(HazardKind::OutOfBounds, message).at(address));
                }
            },
        };
        let request = Request {
            direction: self.direction,
            access: self.access(&offsets),
            coordinates: &coordinates,
            shared,
            capability: kernel.machine.row().sm,
        };
        let copy = plan(&map, &request).map_err(fault)?;
        match self.direction {
            Direction::Load => {
                let copy = Arc::new(copy);
                let barrier = barrier.unwrap_or_default();
                for to in super::bulk::destinations(c, at, self.space, shared, barrier, mask, self.group)? {
                    transfer::load(c, at, lane, &copy, to)?;
                }
                Ok(())
            }
            Direction::Store => transfer::store(c, at, lane, copy, Combine::Replace),
            Direction::Reduce => {
                let operation = self.reduction.unwrap_or(reduce::Operation::Add);
                let element = reduce::tensor_type(operation, map.data_type).ok_or_else(|| {
                    let message = format!("there is no reduction {operation:?} of {}", map.data_type.name());
                    Fault::new(HazardKind::Descriptor, message)
                })?;
                transfer::store(c, at, lane, copy, Combine::Reduce(operation, element))
            }
            // A hint: what it would read is known to exist.
            Direction::Prefetch => {
                copy.global_ranges().try_for_each(|(at, bytes)| transfer::check_global(c, at, bytes))
            }
        }
    }
}
