//! The shadow of 16 bytes: who wrote them last and who has read them since, whole or split in four, down to single bytes.
//! In: an access and what its agent knows. Out: the first access that it conflicts with.

use crate::order::access::{Access, Kind, Proxy, Scope, WHOLE};
use crate::order::conflict::Reason;
use crate::order::knowledge::Copies;
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
    /// What whoever knows of the access knows too.
    pub(crate) told: &'a Vector,
    pub(crate) mapped: &'a Vector,
    pub(crate) tensor: &'a Vector,
    /// The agent of the own lanes, whose own accesses are known implicitly; none for an operation.
    pub(crate) own: Option<u32>,
    /// The `cp.async` of the own lanes.
    pub(crate) copies: Option<&'a Copies>,
    /// The agent of operations which the hardware performs in the order of issue.
    pub(crate) in_order: Option<u32>,
    /// Tells of a warp in which CTA of the cluster it is.
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

impl Found {
    /// The same, in a larger cell in which the one at hand begins at `start`.
    pub(crate) fn moved(mut self, start: u32) -> Found {
        self.offset += start;
        self
    }
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
        let mut first = Ok(());
        for (index, cell) in parts.iter_mut().enumerate() {
            let start = index as u32 * quarter;
            let (from, to) = (low.max(start), high.min(start + quarter));
            if from < to {
                let part = cell.touch(quarter, from - start, to - start, access.part(start, quarter), actor);
                first = first.and(part.map_err(|found| found.moved(start)));
            }
        }
        if full && access.kind == Kind::Write {
            self.write_whole(access);
        }
        first
    }

    /// The first access that `matters` and that the actor does not know of.
    pub(crate) fn unknown(
        &self,
        size: u32,
        known: &Vector,
        matters: &dyn Fn(&Access) -> bool,
    ) -> Option<(Access, u32)> {
        match self {
            Cell::Whole(unit) => unit.accesses().find_map(|access| {
                let mask = access.mask(size);
                let told = |mask| known.knows(access.cluster, access.agent, access.counter, mask);
                let missing = !access.is_none() && matters(access) && !told(mask);
                let lane = (0..32).find(|lane| mask >> lane & 1 == 1 && !told(1 << lane));
                missing.then(|| (*access, lane.unwrap_or(0)))
            }),
            Cell::Split(parts) => parts.iter().find_map(|part| part.unknown(size / 4, known, matters)),
        }
    }

    fn write_whole(&mut self, access: Access) {
        *self = Cell::Whole(Unit { write: access, read: Access::NONE, more: None });
    }
}

impl Unit {
    fn accesses(&self) -> impl Iterator<Item = &Access> {
        [&self.write, &self.read].into_iter().chain(self.more.iter().flat_map(|more| more.iter()))
    }

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

    /// True when it was checked and recorded; false when the bytes of the unit have to be told apart. An access in conflict
    /// is recorded like any other.
    #[inline]
    fn touch(&mut self, size: u32, access: Access, actor: &Actor<'_>) -> Result<bool, Found> {
        match self.check(size, &access, actor) {
            Ok(false) => Ok(false),
            checked => {
                if access.kind.writes() {
                    self.set_write(size, access, actor);
                } else {
                    self.add_read(size, access, actor);
                }
                checked
            }
        }
    }

    #[inline]
    fn check(&self, size: u32, access: &Access, actor: &Actor<'_>) -> Result<bool, Found> {
        if !self.write.is_none() && !settled(&self.write, access, actor, size)? {
            return Ok(false);
        }
        let writes = access.kind.writes();
        if writes && !self.read.is_none() && !settled(&self.read, access, actor, size)? {
            return Ok(false);
        }
        if let Some(more) = &self.more {
            for old in more.iter().filter(|old| writes || old.kind.writes()) {
                if !settled(old, access, actor, size)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    #[inline]
    fn set_write(&mut self, size: u32, access: Access, actor: &Actor<'_>) {
        if access.kind == Kind::Write {
            // The list is kept, empty: the cell is likely to be read by as many again.
            if let Some(more) = &mut self.more {
                more.clear();
            }
        } else {
            // A strong write may follow others that it is not ordered with: a later weak access must be ordered with them all.
            let mut kept = self.more.take().unwrap_or_default();
            kept.retain(|old| !stands_for(&access, old, actor, size));
            for old in [self.write, self.read] {
                if !old.is_none() && !stands_for(&access, &old, actor, size) {
                    remember(&mut kept, old, actor);
                }
            }
            self.more = (!kept.is_empty()).then_some(kept);
        }
        self.write = access;
        self.read = Access::NONE;
    }

    #[inline]
    fn add_read(&mut self, size: u32, access: Access, actor: &Actor<'_>) {
        if self.read.is_none() || read_replaces(&access, &self.read, actor, size) {
            self.read = access;
            return;
        }
        let more = self.more.get_or_insert_default();
        match more.iter_mut().find(|old| read_replaces(&access, old, actor, size)) {
            Some(old) => *old = access,
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

/// True when the old access, a read, can be forgotten for the new read.
#[inline]
fn read_replaces(new: &Access, old: &Access, actor: &Actor<'_>, size: u32) -> bool {
    !old.kind.writes() && stands_for(new, old, actor, size)
}

/// True when whoever is ordered with `new` is also ordered with `old`: by knowing of it, or by being strong in a scope that `old`
/// has too. A weak access is never forgotten for a strong one, which others need not know of.
#[inline]
fn stands_for(new: &Access, old: &Access, actor: &Actor<'_>, size: u32) -> bool {
    old.kind.scope() >= new.kind.scope()
        && (old.same_lanes(new) || actor.told.knows(old.cluster, old.agent, old.counter, old.mask(size)))
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
    let mut mask = first.mask(size);
    let mut own = false;
    if first.cluster == second.cluster {
        own = actor.own == Some(first.agent);
        if let Some(copies) = actor.copies
            && copies.agent == first.agent
        {
            own = waited(copies, first, mask);
        }
        if actor.in_order == Some(first.agent) {
            return Verdict::Ordered;
        }
    }
    if own && first.shift == second.shift && first.lanes == second.lanes {
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

/// True when each of the lanes of `mask` waited for its part of the copy.
fn waited(copies: &Copies, first: &Access, mask: u32) -> bool {
    (0..32).all(|lane| mask >> lane & 1 == 0 || copies.waited[lane] >= first.counter)
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
