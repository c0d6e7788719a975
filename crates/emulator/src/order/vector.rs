//! What is known of every agent: for a warp, up to which count of its releases each lane's accesses are known; for an
//! asynchronous operation, which use of its slot is known to be finished. Out: joins and the question "is this access known".
//!
//! Agents of the own cluster are an array; agents of other clusters, seen only through global memory, are a sorted list.
//! An entry is one value for all 32 lanes (the least of them) and, only where lanes differ, the 32 values beside it.

use std::sync::Arc;

/// Values of the 32 lanes of one agent.
pub(crate) type Lanes = Arc<[u32; 32]>;

/// An agent of another cluster: `cluster << 32 | agent`.
type Far = u64;

/// Knowledge of all agents. Absent entries are zero: nothing known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vector {
    /// The cluster whose agents are in `near`.
    cluster: u32,
    near: Vec<u32>,
    /// Agents of `near` whose lanes differ, sorted. Invariant: the least value is the one in `near`.
    uneven: Vec<(u32, Lanes)>,
    far: Option<Arc<FarVector>>,
}

#[derive(Clone, Debug, Default)]
struct FarVector {
    even: Vec<(Far, u32)>,
    uneven: Vec<(Far, Lanes)>,
}

fn far_key(cluster: u32, agent: u32) -> Far {
    u64::from(cluster) << 32 | u64::from(agent)
}

impl Vector {
    /// Nothing known, as seen from `cluster`.
    pub(crate) fn new(cluster: u32) -> Self {
        Vector { cluster, ..Vector::default() }
    }

    /// The cluster from which this is seen.
    pub(crate) fn cluster(&self) -> u32 {
        self.cluster
    }

    /// True when the first `counter` of `lanes` (a mask) of the agent are known.
    #[inline]
    pub(crate) fn knows(&self, cluster: u32, agent: u32, counter: u32, lanes: u32) -> bool {
        if cluster == self.cluster {
            let least = self.near.get(agent as usize).copied().unwrap_or(0);
            return least >= counter || (!self.uneven.is_empty() && self.knows_lanes(agent, counter, lanes));
        }
        self.knows_far(cluster, agent, counter, lanes)
    }

    #[cold]
    fn knows_lanes(&self, agent: u32, counter: u32, lanes: u32) -> bool {
        match self.uneven.binary_search_by_key(&agent, |entry| entry.0) {
            Ok(index) => covers(&self.uneven[index].1, counter, lanes),
            Err(_) => false,
        }
    }

    #[cold]
    fn knows_far(&self, cluster: u32, agent: u32, counter: u32, lanes: u32) -> bool {
        let Some(far) = &self.far else {
            return false;
        };
        let key = far_key(cluster, agent);
        if let Ok(index) = far.even.binary_search_by_key(&key, |entry| entry.0)
            && far.even[index].1 >= counter
        {
            return true;
        }
        match far.uneven.binary_search_by_key(&key, |entry| entry.0) {
            Ok(index) => covers(&far.uneven[index].1, counter, lanes),
            Err(_) => false,
        }
    }

    /// The value known of all lanes of an agent of the own cluster.
    pub(crate) fn least(&self, agent: u32) -> u32 {
        self.near.get(agent as usize).copied().unwrap_or(0)
    }

    /// Learns `counter` of `lanes` of an agent of the own cluster.
    pub(crate) fn raise(&mut self, agent: u32, lanes: u32, counter: u32) {
        let index = agent as usize;
        let uneven = self.uneven.first().is_some_and(|first| first.0 <= agent);
        if lanes == u32::MAX && !uneven {
            if self.near.len() <= index {
                self.near.resize(index + 1, 0);
            }
            self.near[index] = self.near[index].max(counter);
            return;
        }
        self.raise_each(agent, lanes, |_| counter);
    }

    /// Learns `counter(lane)` of each of `lanes` of an agent of the own cluster.
    pub(crate) fn raise_each(&mut self, agent: u32, lanes: u32, counter: impl Fn(u32) -> u32) {
        if lanes == 0 {
            return;
        }
        let index = agent as usize;
        if self.near.len() <= index {
            self.near.resize(index + 1, 0);
        }
        let place = self.uneven.binary_search_by_key(&agent, |entry| entry.0);
        let old = match place {
            Ok(at) => *self.uneven[at].1,
            Err(_) => [self.near[index]; 32],
        };
        let mut values = old;
        for (lane, value) in values.iter_mut().enumerate() {
            if lanes >> lane & 1 == 1 {
                *value = (*value).max(counter(lane as u32));
            }
        }
        if values == old {
            return;
        }
        self.near[index] = settle(&mut self.uneven, place, agent, values);
    }

    /// True when nothing of `other`, seen from the same cluster, is news. May say false where that is costly to tell.
    pub(crate) fn includes(&self, other: &Vector) -> bool {
        let far = match (&self.far, &other.far) {
            (_, None) => true,
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            (None, Some(_)) => false,
        };
        let near = self.near.len() >= other.near.len()
            && self.near.iter().zip(&other.near).all(|(mine, theirs)| mine >= theirs);
        self.cluster == other.cluster
            && far
            && near
            && other.uneven.iter().all(|(agent, theirs)| {
                self.least(*agent) >= theirs.iter().copied().max().unwrap_or(0)
                    || match self.uneven.binary_search_by_key(agent, |entry| entry.0) {
                        Ok(at) => {
                            let mine = &self.uneven[at].1;
                            mine.iter().zip(theirs.iter()).all(|(m, t)| m >= t)
                        }
                        Err(_) => false,
                    }
            })
    }

    /// Learns all that `other` knows.
    pub(crate) fn join(&mut self, other: &Vector) {
        if self.cluster != other.cluster {
            self.join_other_cluster(other);
            return;
        }
        if self.near.len() < other.near.len() {
            self.near.resize(other.near.len(), 0);
        }
        if self.uneven.is_empty() && other.uneven.is_empty() {
            for (mine, theirs) in self.near.iter_mut().zip(&other.near) {
                *mine = (*mine).max(*theirs);
            }
        } else {
            self.join_uneven(other);
        }
        self.join_far(other.far.as_ref());
    }

    fn join_uneven(&mut self, other: &Vector) {
        let mut merged = Vec::with_capacity(self.uneven.len().max(other.uneven.len()));
        let (mut left, mut right) = (self.uneven.iter().peekable(), other.uneven.iter().peekable());
        // Even entries first, remembering the old ones: an uneven entry meets the even one of the other side.
        let old = self.near.clone();
        for (mine, theirs) in self.near.iter_mut().zip(&other.near) {
            *mine = (*mine).max(*theirs);
        }
        loop {
            let agent = match (left.peek(), right.peek()) {
                (Some(l), Some(r)) => l.0.min(r.0),
                (Some(l), None) => l.0,
                (None, Some(r)) => r.0,
                (None, None) => break,
            };
            let mine = left.next_if(|entry| entry.0 == agent);
            let theirs = right.next_if(|entry| entry.0 == agent);
            let values = join_lanes(
                mine.map(|entry| &entry.1),
                old[agent as usize],
                theirs.map(|entry| &entry.1),
                other.least(agent),
            );
            let least = least_of(&values);
            self.near[agent as usize] = least;
            if values.iter().any(|value| *value != least) {
                merged.push((agent, values));
            }
        }
        self.uneven = merged;
    }

    fn join_far(&mut self, other: Option<&Arc<FarVector>>) {
        let Some(theirs) = other else {
            return;
        };
        match &mut self.far {
            None => self.far = Some(theirs.clone()),
            Some(mine) if Arc::ptr_eq(mine, theirs) => {}
            Some(mine) => Arc::make_mut(mine).merge(spread(theirs)),
        }
    }

    fn join_other_cluster(&mut self, other: &Vector) {
        let mut far = self
            .far
            .take()
            .map_or_else(FarVector::default, |far| Arc::try_unwrap(far).unwrap_or_else(|shared| (*shared).clone()));
        let mut entries: Vec<(Far, Known)> = Vec::new();
        for (agent, &value) in other.near.iter().enumerate() {
            let agent = agent as u32;
            let known = match other.uneven.binary_search_by_key(&agent, |entry| entry.0) {
                Ok(index) => Known::Uneven(other.uneven[index].1.clone()),
                Err(_) if value == 0 => continue,
                Err(_) => Known::Even(value),
            };
            entries.push((far_key(other.cluster, agent), known));
        }
        far.merge(entries);
        if let Some(theirs) = &other.far {
            let (home, away): (Vec<_>, Vec<_>) =
                spread(theirs).partition(|(key, _)| (key >> 32) as u32 == self.cluster);
            far.merge(away);
            for (key, known) in home {
                let agent = key as u32;
                self.raise_each(agent, u32::MAX, |lane| known.of(lane));
            }
        }
        self.far = Some(Arc::new(far));
    }
}

/// What is known of one agent.
#[derive(Clone)]
enum Known {
    Even(u32),
    Uneven(Lanes),
}

impl Known {
    fn join(&mut self, other: Known) {
        match (&mut *self, &other) {
            (Known::Even(mine), Known::Even(theirs)) => *mine = (*mine).max(*theirs),
            (Known::Uneven(mine), Known::Uneven(theirs)) if Arc::ptr_eq(mine, theirs) => {}
            _ => {
                let values: [u32; 32] = std::array::from_fn(|lane| self.of(lane as u32).max(other.of(lane as u32)));
                let least = least_of(&values);
                *self = if values.iter().all(|value| *value == least) {
                    Known::Even(least)
                } else {
                    Known::Uneven(Arc::new(values))
                };
            }
        }
    }

    fn of(&self, lane: u32) -> u32 {
        match self {
            Known::Even(value) => *value,
            Known::Uneven(values) => values[lane as usize],
        }
    }
}

fn spread(far: &FarVector) -> impl Iterator<Item = (Far, Known)> + '_ {
    // An uneven agent is in both lists: the even list holds its least value.
    let mut uneven = far.uneven.iter().peekable();
    far.even.iter().map(move |&(key, value)| match uneven.next_if(|entry| entry.0 == key) {
        Some(entry) => (key, Known::Uneven(entry.1.clone())),
        None => (key, Known::Even(value)),
    })
}

impl FarVector {
    /// Joins entries sorted by key.
    fn merge(&mut self, entries: impl IntoIterator<Item = (Far, Known)>) {
        let mut merged = FarVector::default();
        let mut mine = spread(self).peekable();
        let mut theirs = entries.into_iter().peekable();
        loop {
            let (key, known) = match (mine.peek(), theirs.peek()) {
                (Some((left, _)), Some((right, _))) if left == right => {
                    let (Some((key, mut known)), Some((_, other))) = (mine.next(), theirs.next()) else {
                        break;
                    };
                    known.join(other);
                    (key, known)
                }
                (Some((left, _)), Some((right, _))) => {
                    let next = if left < right { mine.next() } else { theirs.next() };
                    let Some(entry) = next else { break };
                    entry
                }
                _ => match mine.next().or_else(|| theirs.next()) {
                    Some(entry) => entry,
                    None => break,
                },
            };
            match known {
                Known::Even(value) => merged.even.push((key, value)),
                Known::Uneven(values) => {
                    merged.even.push((key, least_of(&values)));
                    merged.uneven.push((key, values));
                }
            }
        }
        drop(mine);
        *self = merged;
    }
}

/// Stores the lanes of an agent among the uneven ones when they differ, and removes it there when they do not; the least value.
fn settle<K: Copy>(uneven: &mut Vec<(K, Lanes)>, place: Result<usize, usize>, key: K, values: [u32; 32]) -> u32 {
    let least = least_of(&values);
    let same = values.iter().all(|value| *value == least);
    match place {
        Ok(at) if same => {
            uneven.remove(at);
        }
        Ok(at) => uneven[at].1 = Arc::new(values),
        Err(_) if same => {}
        Err(at) => uneven.insert(at, (key, Arc::new(values))),
    }
    least
}

fn join_lanes(mine: Option<&Lanes>, my_even: u32, theirs: Option<&Lanes>, their_even: u32) -> Lanes {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) if Arc::ptr_eq(mine, theirs) => mine.clone(),
        (Some(mine), None) if their_even <= my_even => mine.clone(),
        (None, Some(theirs)) if my_even <= their_even => theirs.clone(),
        _ => {
            let mut values = [0; 32];
            for (lane, value) in values.iter_mut().enumerate() {
                let left = mine.map_or(my_even, |lanes| lanes[lane]);
                let right = theirs.map_or(their_even, |lanes| lanes[lane]);
                *value = left.max(right);
            }
            Arc::new(values)
        }
    }
}

fn least_of(values: &[u32; 32]) -> u32 {
    values.iter().copied().min().unwrap_or(0)
}

fn covers(values: &[u32; 32], counter: u32, lanes: u32) -> bool {
    let mut rest = lanes;
    while rest != 0 {
        let lane = rest.trailing_zeros() as usize;
        if values[lane] < counter {
            return false;
        }
        rest &= rest - 1;
    }
    true
}
