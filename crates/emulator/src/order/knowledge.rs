//! What each lane of a warp knows. Lanes that know the same share one record; a lane's own accesses are known to it
//! implicitly. Invariant: the masks of a warp's groups are disjoint and cover all 32 lanes.

use std::sync::Arc;

use crate::order::vector::Vector;

/// What whoever acquires it comes to know: filled by releases and finished operations. Empty when new.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    pub(crate) inside: Option<View>,
}

impl Clock {
    /// Learns all that `other` would tell.
    pub fn join(&mut self, other: &Clock) {
        if let Some(view) = &other.inside {
            self.learn(view);
        }
    }

    /// Forgets everything: the object that it belongs to begins anew.
    pub fn clear(&mut self) {
        self.inside = None;
    }

    pub(crate) fn learn(&mut self, view: &View) {
        match &mut self.inside {
            Some(mine) => mine.join(view),
            None => self.inside = Some(view.clone()),
        }
    }
}

/// Accesses that are known to have happened, by what may follow them.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// May be followed by accesses through the same proxy, or by generic ones.
    pub(crate) known: Arc<Vector>,
    /// May be followed by accesses through the async proxy. A part of `known`.
    pub(crate) fenced: Arc<Vector>,
    /// May be followed by reads of tensor maps. A part of `known`.
    pub(crate) mapped: Arc<Vector>,
    /// Passed a `tcgen05.fence::before_thread_sync` on the way. A part of `known`.
    pub(crate) before: Arc<Vector>,
}

impl View {
    pub(crate) fn new(cluster: u32) -> Self {
        let nothing = Arc::new(Vector::new(cluster));
        View { known: nothing.clone(), fenced: nothing.clone(), mapped: nothing.clone(), before: nothing }
    }

    pub(crate) fn join(&mut self, other: &View) {
        join(&mut self.known, &other.known);
        join(&mut self.fenced, &other.fenced);
        join(&mut self.mapped, &other.mapped);
        join(&mut self.before, &other.before);
    }

    fn same(&self, other: &View) -> bool {
        Arc::ptr_eq(&self.known, &other.known)
            && Arc::ptr_eq(&self.fenced, &other.fenced)
            && Arc::ptr_eq(&self.mapped, &other.mapped)
            && Arc::ptr_eq(&self.before, &other.before)
    }
}

/// Joins, and shares the record where one side knows all that the other does: lanes that learn the same stay together.
pub(crate) fn join(mine: &mut Arc<Vector>, theirs: &Arc<Vector>) {
    if Arc::ptr_eq(mine, theirs) || mine.includes(theirs) {
        return;
    }
    if theirs.includes(mine) {
        *mine = theirs.clone();
    } else {
        Arc::make_mut(mine).join(theirs);
    }
}

/// Lanes of a warp that know the same.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) mask: u32,
    pub(crate) view: View,
    /// May be followed by accesses to tensor memory. A part of `known`.
    pub(crate) tensor: Arc<Vector>,
    /// The view at the last release fence, without the own accesses: what later relaxed stores release.
    pub(crate) released: Option<Arc<View>>,
    /// What relaxed loads have seen: what the next acquire fence acquires.
    pub(crate) observed: Option<Arc<View>>,
}

impl Group {
    fn same(&self, other: &Group) -> bool {
        let pointer = |one: &Option<Arc<View>>, other: &Option<Arc<View>>| match (one, other) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        self.view.same(&other.view)
            && Arc::ptr_eq(&self.tensor, &other.tensor)
            && pointer(&self.released, &other.released)
            && pointer(&self.observed, &other.observed)
    }
}

/// Of each lane, up to which counter its own accesses passed each kind of fence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    /// The fences of other proxies and of tensor memory.
    pub(crate) passed: Passed,
    /// A release fence.
    pub(crate) released: [u32; 32],
    /// What had passed the other fences at the last release fence.
    pub(crate) passed_at_release: Passed,
}

/// Of each lane, up to which counter its own accesses passed the fences of other proxies and of tensor memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    /// `fence.proxy.async`.
    pub(crate) fenced: [u32; 32],
    /// `fence.proxy.tensormap`.
    pub(crate) mapped: [u32; 32],
    /// `tcgen05.fence::before_thread_sync`.
    pub(crate) before: [u32; 32],
}

/// The `cp.async` of a warp: an agent whose lanes are the issuing ones; each lane knows its own copies once it waited.
#[derive(Clone, Debug)]
pub(crate) struct Copies {
    pub(crate) agent: u32,
    /// Count of the instructions issued.
    pub(crate) issued: u32,
    /// Of each lane, up to which instruction it waited.
    pub(crate) waited: [u32; 32],
    /// Of each lane, up to which instruction it waited before its last `fence.proxy.async`.
    pub(crate) fenced: [u32; 32],
}

/// The lanes of one warp.
#[derive(Clone, Debug)]
pub(crate) struct Warp {
    /// Index in the cluster.
    pub(crate) agent: u32,
    /// Count of the warp's releases; accesses bear it. Starts at 1.
    pub(crate) counter: u32,
    pub(crate) groups: Vec<Group>,
    pub(crate) own: Own,
    pub(crate) copies: Option<Box<Copies>>,
}

impl Warp {
    pub(crate) fn new(agent: u32, view: &View) -> Self {
        Warp {
            agent,
            counter: 1,
            groups: vec![Group {
                mask: u32::MAX,
                view: view.clone(),
                tensor: view.known.clone(),
                released: None,
                observed: None,
            }],
            own: Own::default(),
            copies: None,
        }
    }

    /// Separates the lanes of `mask` from the others, and lets `change` change what they know.
    pub(crate) fn change(&mut self, mask: u32, mut change: impl FnMut(&mut Group)) {
        let count = self.groups.len();
        for index in 0..count {
            let inside = self.groups[index].mask & mask;
            if inside == 0 {
                continue;
            }
            if inside == self.groups[index].mask {
                change(&mut self.groups[index]);
                continue;
            }
            let mut part = self.groups[index].clone();
            self.groups[index].mask &= !mask;
            part.mask = inside;
            change(&mut part);
            self.groups.push(part);
        }
        if self.groups.len() > 1 {
            self.unite();
        }
    }

    /// Joins groups that know the same.
    fn unite(&mut self) {
        let mut index = 0;
        while index < self.groups.len() {
            let twin = (0..index).find(|&before| self.groups[before].same(&self.groups[index]));
            match twin {
                Some(before) => {
                    self.groups[before].mask |= self.groups[index].mask;
                    self.groups.swap_remove(index);
                }
                None => index += 1,
            }
        }
    }

    /// What the lanes of `mask` know together, their own accesses included.
    pub(crate) fn together(&self, mask: u32) -> Option<View> {
        let mut all: Option<View> = None;
        for group in self.groups.iter().filter(|group| group.mask & mask != 0) {
            match &mut all {
                Some(view) => view.join(&group.view),
                None => all = Some(group.view.clone()),
            }
        }
        let mut view = all?;
        self.add_own(&mut view, mask);
        Some(view)
    }

    /// What the lane's last release fence releases, its own accesses until then included.
    pub(crate) fn released(&self, lane: u32) -> Option<View> {
        let group = self.groups.iter().find(|group| group.mask >> lane & 1 == 1)?;
        let mut view = (**group.released.as_ref()?).clone();
        self.add_own_until(&mut view, 1 << lane, &self.own.released, &self.own.passed_at_release);
        Some(view)
    }

    /// Adds the own accesses of the lanes of `mask`, which groups leave out.
    pub(crate) fn add_own(&self, view: &mut View, mask: u32) {
        self.add_own_until(view, mask, &[self.counter; 32], &self.own.passed);
    }

    /// Adds the own accesses of the lanes of `mask`, of each up to its counter in `until`, and those that `passed` fences.
    fn add_own_until(&self, view: &mut View, mask: u32, until: &[u32; 32], passed: &Passed) {
        learn(&mut view.known, self.agent, mask, until);
        learn(&mut view.fenced, self.agent, mask, &passed.fenced);
        learn(&mut view.mapped, self.agent, mask, &passed.mapped);
        learn(&mut view.before, self.agent, mask, &passed.before);
        if let Some(copies) = &self.copies {
            learn(&mut view.known, copies.agent, mask, &copies.waited);
            learn(&mut view.fenced, copies.agent, mask, &copies.fenced);
        }
    }
}

/// Learns of each lane of `mask` its value, without a new record when nothing is news.
fn learn(vector: &mut Arc<Vector>, agent: u32, mask: u32, values: &[u32; 32]) {
    if values.iter().all(|value| *value == values[0]) {
        if !vector.knows(vector.cluster(), agent, values[0], mask) {
            Arc::make_mut(vector).raise(agent, mask, values[0]);
        }
        return;
    }
    let news =
        (0..32).any(|lane| mask >> lane & 1 == 1 && !vector.knows(vector.cluster(), agent, values[lane], 1 << lane));
    if news {
        Arc::make_mut(vector).raise_each(agent, mask, |lane| values[lane as usize]);
    }
}
