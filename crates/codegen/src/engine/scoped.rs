//! A map whose entries can be taken back to an earlier state.

use std::collections::HashMap;
use std::hash::Hash;

/// Entries, and which of them belong to the open scopes. Entries are never overwritten with other contents.
pub(super) struct Scoped<K, V> {
    entries: HashMap<K, V>,
    log: Vec<K>,
    marks: Vec<usize>,
}

impl<K, V> Default for Scoped<K, V> {
    fn default() -> Self {
        Scoped { entries: HashMap::new(), log: Vec::new(), marks: Vec::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Scoped<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key.clone(), value).is_none() {
            self.log.push(key);
        }
    }

    pub(super) fn open(&mut self) {
        self.marks.push(self.log.len());
    }

    pub(super) fn close(&mut self) {
        let mark = self.marks.pop().expect("a scope is closed after it was opened");
        for key in self.log.drain(mark..) {
            self.entries.remove(&key);
        }
    }
}
