//! Guards: conditions on indices under which memory may be touched.
//!
//! Padding, concatenation and the ends of tiles have elements that are not there. A guard is a set of conditions; those
//! that the ranges of the indices prove are dropped, and a set that cannot hold is none at all.

use super::Engine;
use crate::error::Fault;
use crate::index::IndexId;
use gable_ptx::meaning::Comparison;
use gable_ptx::{Pred, R, Reg, ScalarType};
use std::collections::HashMap;

/// A set of conditions that must all hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuardId(u32);

impl GuardId {
    /// The guard that always holds.
    pub const ALWAYS: GuardId = GuardId(0);
}

/// How an index compares with a bound, or a predicate that the kernel computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Condition {
    Below(IndexId, i64),
    AtLeast(IndexId, i64),
    Equal(IndexId, i64),
    Given(Reg),
}

pub(super) struct Guards {
    sets: Vec<Vec<Condition>>,
    ids: HashMap<Vec<Condition>, GuardId>,
}

impl Default for Guards {
    fn default() -> Guards {
        Guards { sets: vec![Vec::new()], ids: HashMap::from([(Vec::new(), GuardId::ALWAYS)]) }
    }
}

impl Engine<'_> {
    /// The guard that holds where `guard` and the predicate do.
    pub fn guard_by(&mut self, guard: GuardId, pred: R<Pred>) -> GuardId {
        self.with_condition(guard, Condition::Given(pred.reg()))
    }

    /// The guard that holds where `guard` does and `index < bound`; `None` where that never is.
    pub fn guard_below(&mut self, guard: GuardId, index: IndexId, bound: i64) -> Option<GuardId> {
        self.narrowed(guard, Condition::Below(index, bound))
    }

    /// The guard that holds where `guard` does and `index >= bound`; `None` where that never is.
    pub fn guard_at_least(&mut self, guard: GuardId, index: IndexId, bound: i64) -> Option<GuardId> {
        self.narrowed(guard, Condition::AtLeast(index, bound))
    }

    /// The guard that holds where `guard` does and `index == bound`; `None` where that never is.
    pub fn guard_equal(&mut self, guard: GuardId, index: IndexId, bound: i64) -> Option<GuardId> {
        self.narrowed(guard, Condition::Equal(index, bound))
    }

    fn narrowed(&mut self, guard: GuardId, condition: Condition) -> Option<GuardId> {
        let condition = self.without_lane(condition);
        let (holds, fails) = match condition {
            Condition::Below(index, bound) => {
                let (low, high) = self.indices.range(index);
                (high < bound, low >= bound)
            }
            Condition::AtLeast(index, bound) => {
                let (low, high) = self.indices.range(index);
                (low >= bound, high < bound)
            }
            Condition::Equal(index, bound) => {
                let (low, high) = self.indices.range(index);
                (low == bound && high == bound, bound < low || high < bound)
            }
            Condition::Given(_) => (false, false),
        };
        if fails {
            return None;
        }
        Some(if holds { guard } else { self.with_condition(guard, condition) })
    }

    /// A bound at a multiple of the vector's length is the same for all lanes: `4 q + lane < 4 b` is `q < b`.
    fn without_lane(&mut self, condition: Condition) -> Condition {
        let (Condition::Below(index, bound) | Condition::AtLeast(index, bound)) = condition else { return condition };
        if !self.indices.has_lane(index) {
            return condition;
        }
        let mut length = i64::from(self.lanes());
        while length > 1 {
            let (quotient, _) = self.indices.divide(index, length);
            if bound % length == 0 && !self.indices.has_lane(quotient) {
                return match condition {
                    Condition::Below(..) => Condition::Below(quotient, bound / length),
                    _ => Condition::AtLeast(quotient, bound / length),
                };
            }
            length /= 2;
        }
        condition
    }

    fn with_condition(&mut self, guard: GuardId, condition: Condition) -> GuardId {
        let mut set = self.guards.sets[guard.0 as usize].clone();
        if let Err(position) = set.binary_search(&condition) {
            set.insert(position, condition);
        }
        if let Some(&known) = self.guards.ids.get(&set) {
            return known;
        }
        let id = GuardId(self.guards.sets.len() as u32);
        self.guards.sets.push(set.clone());
        self.guards.ids.insert(set, id);
        id
    }

    /// Whether the guard differs between lanes.
    pub(crate) fn guard_has_lane(&self, guard: GuardId) -> bool {
        self.guards.sets[guard.0 as usize].iter().any(|condition| match condition {
            Condition::Below(index, _) | Condition::AtLeast(index, _) | Condition::Equal(index, _) => {
                self.indices.has_lane(*index)
            }
            Condition::Given(_) => false,
        })
    }

    /// The predicate of a guard in a lane; `None` where it always holds.
    pub(crate) fn predicate(&mut self, guard: GuardId, lane: u32) -> Result<Option<R<Pred>>, Fault> {
        if guard == GuardId::ALWAYS {
            return Ok(None);
        }
        let lane = self.guard_has_lane(guard).then_some(lane);
        if let Some(&known) = self.predicates.get(&(guard, lane)) {
            return Ok(Some(known));
        }
        let mut all: Option<R<Pred>> = None;
        for condition in self.guards.sets[guard.0 as usize].clone() {
            let one = self.condition_predicate(condition, lane)?;
            all = Some(match all {
                None => one,
                Some(all) => self.k.and_pred(all, one),
            });
        }
        let all = all.expect("a guard with an id of its own has a condition");
        self.predicates.insert((guard, lane), all);
        Ok(Some(all))
    }

    fn condition_predicate(&mut self, condition: Condition, lane: Option<u32>) -> Result<R<Pred>, Fault> {
        let (comparison, index, bound) = match condition {
            Condition::Below(index, bound) => (Comparison::Lt, index, bound),
            Condition::AtLeast(index, bound) => (Comparison::Ge, index, bound),
            Condition::Equal(index, bound) => (Comparison::Eq, index, bound),
            Condition::Given(register) => {
                return Ok(register.typed().expect("a given condition is a predicate"));
            }
        };
        let index = match lane {
            Some(lane) => self.indices.at_lane(index, lane),
            None => index,
        };
        let wide = self.is_wide(index) || i32::try_from(bound).is_err();
        let ty = if wide { ScalarType::S64 } else { ScalarType::S32 };
        let register = self.index_register(index, wide)?;
        Ok(self.k.compare(comparison, ty, register, bound)?)
    }
}
