//! What all clusters of a launch share: the shadow of global memory, and what its synchronisation locations release.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::order::access::Access;
use crate::order::cell::{Actor, Found};
use crate::order::knowledge::Clock;
use crate::order::shadow::{PAGE, Page};

/// Locks over pages and locations, by address.
const SHARDS: usize = 64;

/// Pages by number.
type Pages = HashMap<u64, Page, BuildHasherDefault<PageHasher>>;

/// Numbers of pages are spread by one multiplication: they come from the program that runs, not from an adversary of this one.
#[derive(Clone, Copy, Debug, Default)]
struct PageHasher(u64);

impl Hasher for PageHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// The shadow of global memory during one launch. What was written before the launch is known to all.
#[derive(Debug)]
pub struct GlobalOrder {
    pages: Vec<Mutex<Pages>>,
    locations: Vec<Mutex<HashMap<u64, Clock>>>,
}

impl Default for GlobalOrder {
    fn default() -> Self {
        Self::new()
    }
}

impl GlobalOrder {
    /// Nothing accessed yet.
    pub fn new() -> Self {
        GlobalOrder {
            pages: (0..SHARDS).map(|_| Mutex::default()).collect(),
            locations: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Checks and records an access to `bytes` bytes from `address` on.
    pub(crate) fn touch(
        &self,
        address: u64,
        bytes: u64,
        access: Access,
        actor: &Actor<'_>,
    ) -> Result<(), (u64, Found)> {
        let mut first = Ok(());
        let mut from = address;
        let end = address.saturating_add(bytes);
        while from < end {
            let number = from / PAGE;
            let base = number * PAGE;
            let to = end.min(base.saturating_add(PAGE));
            let part = access.shifted((from - address) as u32, 0);
            let mut pages = lock(&self.pages[number as usize % SHARDS]);
            let page = pages.entry(number).or_insert_with(Page::new);
            let touched = page.touch((from - base) as u32, (to - base) as u32, part, actor);
            if touched.is_err() && first.is_ok() {
                first = touched.map_err(|found| (base, found));
            }
            from = to;
        }
        first
    }

    /// What the location at `address` releases, for the time of `use_it`.
    pub(crate) fn location<R>(&self, address: u64, use_it: impl FnOnce(&mut Clock) -> R) -> R {
        let mut locations = lock(&self.locations[(address / 4) as usize % SHARDS]);
        use_it(locations.entry(address).or_default())
    }
}

/// A lock whose holder panicked still guards whole values: every change is one assignment of a finished value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
