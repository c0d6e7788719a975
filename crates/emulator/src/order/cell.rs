//! The shadow of 16 bytes: who wrote them last and who has read them since, whole or split in four, down to single bytes.
//! In: an access and what its agent knows. Out: the first access that it conflicts with.

use crate::order::access::{Access, Proxy, Scope, WHOLE};
use crate::order::conflict::Reason;
use crate::order::vector::Vector;

/// Bytes of a cell that is not part of another.
pub(crate) const CELL: u32 = 16;

/// The shadow of some bytes that have a common history, or of their four quarters.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Whole(Unit),
    Split(Box<[Cell; 4]>),
}

/// Last write and the reads since then that are not known to one another.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    write: Access,
    read: Access,
    #[expect(clippy::box_collection, reason = "rarely present, and the cell must stay small")]
    more: Option<Box<Vec<Access>>>,
}

/// Who accesses, and what it knows.
pub(crate) struct Actor<'a> {
    pub(crate) known: &'a Vector,
    pub(crate) fenced: &'a Vector,
    pub(crate) mapped: &'a Vector,
    pub(crate) tensor: &'a Vector,
    /// The agent of the own lanes, whose own accesses are known implicitly; none for an operation.
    pub(crate) own: Option<u32>,
    /// CTA of the access, for scopes: rank in the cluster.
    pub(crate) warps_per_cta: u32,
    /// How many accesses beside the last write and one read a cell remembers; more are a sample.
    pub(crate) remembered: usize,
    /// True for tensor memory: fences of tcgen05 are needed.
    pub(crate) tensor_memory: bool,
}

/// A conflict as the cell sees it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) reason: Reason,
    pub(crate) first: Access,
    /// Lane of the first access.
    pub(crate) first_lane: u32,
    /// Lane of the second access.
    pub(crate) second_lane: u32,
    /// Byte in the cell.
    pub(crate) offset: u32,
}

/// Whether the order of two accesses is there, or which is missing, or that the cell must be split to tell.
enum Verdict {
    Ordered,
    Split,
    Missing(Reason, u32, u32),
}

impl Cell {
    pub(crate) const EMPTY: Cell = Cell::Whole(Unit { write: Access::NONE, read: Access::NONE, more: None });

    /// Checks the access to bytes `low..high` of this cell of `size` bytes, and records it. `access` is that to the cell's
    /// first byte onwards; lanes count from there.
    pub(crate) fn touch(
        &mut self,
        size: u32,
        low: u32,
        high: u32,
        access: Access,
        actor: &Actor<'_>,
    ) -> Result<(), Found> {
        let full = low == 0 && high == size;
        if let Cell::Whole(unit) = self
            && full
        {
            match unit.touch(size, access, actor) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(found) => return Err(found),
            }
        }
        let quarter = size / 4;
        if let Cell::Whole(unit) = self {
            *self = Cell::Split(Box::new(std::array::from_fn(|index| {
                Cell::Whole(unit.part(index as u32 * quarter, quarter))
            })));
        }
        let Cell::Split(parts) = self else {
            return Ok(());
        };
        for (index, cell) in parts.iter_mut().enumerate() {
            let start = index as u32 * quarter;
            let (from, to) = (low.max(start), high.min(start + quarter));
            if from < to {
                cell.touch(quarter, from - start, to - start, access.part(start, quarter), actor).map_err(
                    |mut found| {
                        found.offset += start;
                        found
                    },
                )?;
            }
        }
        if full && access.kind.writes() {
            self.write_whole(access);
        }
        Ok(())
    }

    fn write_whole(&mut self, access: Access) {
        *self = Cell::Whole(Unit { write: access, read: Access::NONE, more: None });
    }
}

impl Unit {
    fn part(&self, offset: u32, size: u32) -> Unit {
        Unit {
            write: self.write.part(offset, size),
            read: self.read.part(offset, size),
            more: self
                .more
                .as_ref()
                .map(|more| Box::new(more.iter().map(|access| access.part(offset, size)).collect())),
        }
    }

    /// True when it was recorded; false when the bytes of the unit have to be told apart.
    #[inline]
    fn touch(&mut self, size: u32, access: Access, actor: &Actor<'_>) -> Result<bool, Found> {
        if !self.write.is_none() && !settled(&self.write, &access, actor, size)? {
            return Ok(false);
        }
        if !access.kind.writes() {
            self.add_read(size, access, actor);
            return Ok(true);
        }
        if !self.read.is_none() && !settled(&self.read, &access, actor, size)? {
            return Ok(false);
        }
        if let Some(more) = &self.more {
            for read in more.iter() {
                if !settled(read, &access, actor, size)? {
                    return Ok(false);
                }
            }
        }
        // A strong write may follow another that it is not ordered with: a later weak access must still be ordered with both.
        let beside =
            access.kind.scope().is_some() && !self.write.is_none() && !replaces(&self.write, &access, actor, size);
        if beside {
            let more = self.more.get_or_insert_default();
            if !self.read.is_none() {
                remember(more, self.read, actor);
            }
            remember(more, self.write, actor);
            more.retain(|old| !replaces(old, &access, actor, size));
        } else {
            self.more = None;
        }
        self.write = access;
        self.read = Access::NONE;
        Ok(true)
    }

    fn add_read(&mut self, size: u32, access: Access, actor: &Actor<'_>) {
        if replaces(&self.read, &access, actor, size) {
            self.read = access;
            return;
        }
        let more = self.more.get_or_insert_default();
        match more.iter_mut().find(|read| replaces(read, &access, actor, size)) {
            Some(read) => *read = access,
            None => remember(more, access, actor),
        }
    }
}

/// Adds an access to those remembered; when they are many, in the place of another.
fn remember(more: &mut Vec<Access>, access: Access, actor: &Actor<'_>) {
    if more.len() < actor.remembered {
        more.push(access);
    } else {
        let place = (access.counter ^ access.agent ^ access.cluster) as usize % more.len();
        more[place] = access;
    }
}

/// True when whoever knows `new` also knows `old`, so that `old` can be forgotten.
#[inline]
fn replaces(old: &Access, new: &Access, actor: &Actor<'_>, size: u32) -> bool {
    if old.is_none() {
        return true;
    }
    if old.kind.scope().is_some() != new.kind.scope().is_some() {
        return false;
    }
    if old.same_lanes(new) {
        return true;
    }
    actor.known.knows(old.cluster, old.agent, old.counter, old.mask(size))
}

#[inline]
fn settled(first: &Access, second: &Access, actor: &Actor<'_>, size: u32) -> Result<bool, Found> {
    match order(first, second, actor, size) {
        Verdict::Ordered => Ok(true),
        Verdict::Split if size > 1 => Ok(false),
        Verdict::Split => Ok(true),
        Verdict::Missing(reason, first_lane, second_lane) => {
            Err(Found { reason, first: *first, first_lane, second_lane, offset: 0 })
        }
    }
}

/// Judges `first` before `second`, of which at least one writes, on all bytes of a unit.
#[inline]
fn order(first: &Access, second: &Access, actor: &Actor<'_>, size: u32) -> Verdict {
    let own = actor.own == Some(first.agent) && first.cluster == second.cluster;
    let mut mask = first.mask(size);
    if own && first.same_lanes(second) {
        if first.shift != WHOLE || first.lanes.is_power_of_two() {
            return Verdict::Ordered;
        }
    } else if own && second.shift == WHOLE && second.lanes.is_power_of_two() {
        // What a lane did itself needs no telling.
        mask &= !second.lanes;
        if mask == 0 {
            return Verdict::Ordered;
        }
    }
    if actor.known.knows(first.cluster, first.agent, first.counter, mask) {
        return fences(first, second, actor, mask, size);
    }
    let strong = match (first.kind.scope(), second.kind.scope()) {
        (Some(one), Some(other)) => Some(one.min(other)),
        _ => None,
    };
    if let Some(scope) = strong
        && in_scope(scope, first, second, actor)
    {
        return Verdict::Ordered;
    }
    if (first.shift != WHOLE || second.shift != WHOLE) && size > 1 {
        return Verdict::Split;
    }
    let reason = if strong.is_some() {
        Reason::Scope
    } else if first.operation.is_some() {
        Reason::NotWaited
    } else {
        Reason::Race
    };
    missing(reason, first, second, actor, mask)
}

fn missing(reason: Reason, first: &Access, second: &Access, actor: &Actor<'_>, mask: u32) -> Verdict {
    let unknown = (0..32)
        .find(|&lane| mask >> lane & 1 == 1 && !actor.known.knows(first.cluster, first.agent, first.counter, 1 << lane))
        .unwrap_or(mask.trailing_zeros());
    let other =
        (0..32).find(|&lane| second.mask(1) >> lane & 1 == 1 && (actor.own.is_none() || lane != unknown)).unwrap_or(0);
    Verdict::Missing(reason, unknown, other)
}

/// The fences that are needed beside happens-before.
#[inline]
fn fences(first: &Access, second: &Access, actor: &Actor<'_>, mask: u32, size: u32) -> Verdict {
    let (vector, reason) = match (first.proxy, second.proxy) {
        _ if actor.tensor_memory => (actor.tensor, Reason::TensorFence),
        (Proxy::Generic, Proxy::Async) if first.kind.writes() && second.kind.scope().is_none() => {
            (actor.fenced, Reason::ProxyFence)
        }
        (Proxy::Generic, Proxy::TensorMap) => (actor.mapped, Reason::TensorMapFence),
        _ => return Verdict::Ordered,
    };
    if vector.knows(first.cluster, first.agent, first.counter, mask) {
        return Verdict::Ordered;
    }
    if size > 1 && (first.shift != WHOLE || second.shift != WHOLE) {
        return Verdict::Split;
    }
    let lane = (0..32)
        .find(|&lane| mask >> lane & 1 == 1 && !vector.knows(first.cluster, first.agent, first.counter, 1 << lane));
    Verdict::Missing(reason, lane.unwrap_or(0), second.mask(1).trailing_zeros() & 31)
}

fn in_scope(scope: Scope, first: &Access, second: &Access, actor: &Actor<'_>) -> bool {
    if scope >= Scope::Gpu {
        return true;
    }
    if first.cluster != second.cluster {
        return false;
    }
    // Operations are not of one CTA: hardware performs them at cluster scope.
    scope == Scope::Cluster
        || first.operation.is_some()
        || second.operation.is_some()
        || first.agent / actor.warps_per_cta == second.agent / actor.warps_per_cta
}
