//! Synchronisation of lanes: barriers, arrivals and waits, fences, strong accesses.

use std::sync::Arc;

use crate::order::access::Place;
use crate::order::cluster::ClusterOrder;
use crate::order::knowledge::{Clock, Own, View, join};

impl ClusterOrder {
    /// Every lane of the participants learns what all of them know: `bar.sync`, `bar.warp.sync`.
    /// A participant is a warp and the mask of its lanes.
    pub fn barrier(&mut self, participants: &[(u32, u32)]) {
        let mut all: Option<View> = None;
        for &(warp, mask) in participants {
            let groups = &self.warps[warp as usize].groups;
            for group in groups.iter().filter(|group| group.mask & mask != 0) {
                match &mut all {
                    Some(view) => view.join(&group.view),
                    None => all = Some(group.view.clone()),
                }
            }
        }
        let Some(mut all) = all else {
            return;
        };
        for &(warp, mask) in participants {
            let state = &mut self.warps[warp as usize];
            state.add_own(&mut all, mask);
            state.counter += 1;
        }
        for &(warp, mask) in participants {
            self.warps[warp as usize].change(mask, |group| group.view = all.clone());
        }
    }

    /// The lanes tell what they know: an arrival.
    pub fn release(&mut self, warp: u32, mask: u32, into: &mut Clock) {
        let state = &mut self.warps[warp as usize];
        if let Some(view) = state.together(mask) {
            into.learn(&view);
            state.counter += 1;
        }
    }

    /// The lanes learn what was told: a wait that was satisfied.
    pub fn acquire(&mut self, warp: u32, mask: u32, from: &Clock) {
        if let Some(view) = &from.inside {
            self.warps[warp as usize].change(mask, |group| group.view.join(view));
        }
    }

    /// `fence.sc`, `fence.acq_rel` and the one-sided ones, at a scope of CTA or more.
    pub fn fence(&mut self, warp: u32, mask: u32, acquire: bool, release: bool) {
        let state = &mut self.warps[warp as usize];
        if acquire {
            state.change(mask, |group| {
                if let Some(observed) = group.observed.take() {
                    group.view.join(&observed);
                }
            });
        }
        if release {
            state.change(mask, |group| {
                group.released = Some(Arc::new(group.view.clone()));
            });
            mark(&mut state.own.released, mask, state.counter);
            let Own { passed, passed_at_release, .. } = &mut state.own;
            for lane in (0..32).filter(|lane| mask >> lane & 1 == 1) {
                passed_at_release.fenced[lane] = passed.fenced[lane];
                passed_at_release.mapped[lane] = passed.mapped[lane];
                passed_at_release.before[lane] = passed.before[lane];
            }
            state.counter += 1;
        }
    }

    /// `fence.proxy.async`: all that the lanes know of generic accesses may be followed by the async proxy.
    pub fn fence_proxy_async(&mut self, warp: u32, mask: u32) {
        let state = &mut self.warps[warp as usize];
        state.change(mask, |group| {
            group.view.fenced = group.view.known.clone();
        });
        mark(&mut state.own.passed.fenced, mask, state.counter);
        if let Some(copies) = &mut state.copies {
            let waited = copies.waited;
            for lane in (0..32).filter(|lane| mask >> lane & 1 == 1) {
                copies.fenced[lane] = waited[lane];
            }
        }
        state.counter += 1;
    }

    /// `fence.proxy.tensormap`, the acquiring side: what the lanes know of written tensor maps may be followed by their use.
    pub fn fence_proxy_tensormap(&mut self, warp: u32, mask: u32) {
        let state = &mut self.warps[warp as usize];
        state.change(mask, |group| {
            group.view.mapped = group.view.known.clone();
        });
        mark(&mut state.own.passed.mapped, mask, state.counter);
        state.counter += 1;
    }

    /// `tcgen05.fence::before_thread_sync`.
    pub fn fence_tensor_before(&mut self, warp: u32, mask: u32) {
        let state = &mut self.warps[warp as usize];
        state.change(mask, |group| {
            group.view.before = group.view.known.clone();
        });
        mark(&mut state.own.passed.before, mask, state.counter);
        state.counter += 1;
    }

    /// `tcgen05.fence::after_thread_sync`.
    pub fn fence_tensor_after(&mut self, warp: u32, mask: u32) {
        self.warps[warp as usize].change(mask, |group| {
            let before = group.view.before.clone();
            join(&mut group.tensor, &before);
        });
    }

    /// The releasing half of a strong store or update of one lane; call it before memory changes.
    /// `release`: the operation itself releases; otherwise only an earlier fence does.
    pub fn synchronize_store(&mut self, warp: u32, lane: u32, place: Place, address: u64, update: bool, release: bool) {
        let state = &mut self.warps[warp as usize];
        let told = if release {
            let view = state.together(1 << lane);
            state.counter += 1;
            view
        } else {
            state.released(lane)
        };
        let change = |clock: &mut Clock| {
            // An update continues the release sequence of what it read; a store begins anew.
            if !update {
                clock.clear();
            }
            if let Some(view) = &told {
                clock.learn(view);
            }
        };
        match place {
            Place::Global => self.global.location(address, change),
            Place::Shared | Place::Tensor => {
                change(self.locations.entry(address).or_default());
            }
        }
    }

    /// The acquiring half of a strong load or update of one lane; call it after memory was read.
    /// `acquire`: the operation itself acquires; otherwise a later fence does.
    pub fn synchronize_load(&mut self, warp: u32, lane: u32, place: Place, address: u64, acquire: bool) {
        let seen = match place {
            Place::Global => self.global.location(address, |clock| clock.clone()),
            Place::Shared | Place::Tensor => self.locations.get(&address).cloned().unwrap_or_default(),
        };
        let Some(view) = seen.inside else {
            return;
        };
        let cluster = self.cluster;
        self.warps[warp as usize].change(1 << lane, |group| {
            if acquire {
                group.view.join(&view);
            } else {
                let mut observed =
                    group.observed.as_ref().map_or_else(|| View::new(cluster), |observed| (**observed).clone());
                observed.join(&view);
                group.observed = Some(Arc::new(observed));
            }
        });
    }
}

fn mark(own: &mut [u32; 32], mask: u32, counter: u32) {
    for (lane, value) in own.iter_mut().enumerate() {
        if mask >> lane & 1 == 1 {
            *value = counter;
        }
    }
}
