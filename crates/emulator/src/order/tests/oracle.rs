//! A second, slow judgement of traces: every event is a node of a graph, every ordering an edge, every access is kept, and
//! whether two accesses are ordered is a search for a path, which must hold a proxy fence where one is needed.

use std::collections::{HashMap, HashSet};

use crate::order::{Kind, Proxy};

pub(super) type Node = usize;

/// A warp and a lane.
pub(super) type Thread = (u32, u32);

#[derive(Default)]
pub(super) struct Oracle {
    nodes: Vec<Event>,
    threads: HashMap<Thread, State>,
    bytes: HashMap<u64, Vec<(Node, Kind, Proxy)>>,
}

/// One event: what comes before it, and before it only for its own accesses.
#[derive(Default)]
struct Event {
    before: Vec<Node>,
    /// What an operation inherits: not known to those who wait for it.
    inherits: Vec<Node>,
    proxy_fence: bool,
}

#[derive(Default, Clone)]
struct State {
    last: Option<Node>,
    /// The same, without the thread's own accesses: what it learned from others.
    learned: Option<Node>,
    release_fence: Option<Node>,
    observed: Vec<Node>,
    copies: Vec<(u32, Node)>,
}

impl Oracle {
    fn node(&mut self, before: impl IntoIterator<Item = Node>) -> Node {
        self.nodes.push(Event { before: before.into_iter().collect(), ..Event::default() });
        self.nodes.len() - 1
    }

    /// The next event of a thread.
    pub(super) fn step(&mut self, thread: Thread) -> Node {
        let last = self.threads.entry(thread).or_default().last;
        let node = self.node(last);
        self.threads.entry(thread).or_default().last = Some(node);
        node
    }

    /// The thread learns what the nodes tell.
    pub(super) fn learn(&mut self, thread: Thread, from: &[Node]) {
        let state = self.threads.entry(thread).or_default().clone();
        let last = self.node(state.last.into_iter().chain(from.iter().copied()));
        let learned = self.node(state.learned.into_iter().chain(from.iter().copied()));
        let state = self.threads.entry(thread).or_default();
        (state.last, state.learned) = (Some(last), Some(learned));
    }

    pub(super) fn proxy_fence(&mut self, thread: Thread) {
        let node = self.step(thread);
        self.nodes[node].proxy_fence = true;
        let learned = self.threads[&thread].learned;
        let learned = self.node(learned);
        self.nodes[learned].proxy_fence = true;
        self.threads.entry(thread).or_default().learned = Some(learned);
    }

    pub(super) fn fence(&mut self, thread: Thread) {
        let observed = std::mem::take(&mut self.threads.entry(thread).or_default().observed);
        self.learn(thread, &observed);
        let node = self.step(thread);
        self.threads.entry(thread).or_default().release_fence = Some(node);
    }

    pub(super) fn release_fence(&self, thread: Thread) -> Option<Node> {
        self.threads.get(&thread)?.release_fence
    }

    pub(super) fn observe(&mut self, thread: Thread, nodes: &[Node]) {
        self.threads.entry(thread).or_default().observed.extend(nodes);
    }

    /// An operation of the thread: the node of its accesses, and the node of its completion.
    pub(super) fn operation(&mut self, thread: Thread) -> (Node, Node) {
        let state = self.threads.entry(thread).or_default().clone();
        let accesses = self.node([]);
        self.nodes[accesses].inherits = state.last.into_iter().collect();
        let done = self.node(state.learned.into_iter().chain([accesses]));
        (accesses, done)
    }

    /// The copy was issued, in the warp's instruction of that number.
    pub(super) fn issued(&mut self, thread: Thread, number: u32, node: Node) {
        self.threads.entry(thread).or_default().copies.push((number, node));
    }

    /// The node of a copy that the thread may issue.
    pub(super) fn copy(&mut self, thread: Thread) -> Node {
        let last = self.threads.entry(thread).or_default().last;
        let node = self.node([]);
        self.nodes[node].inherits = last.into_iter().collect();
        node
    }

    /// Copies of the thread up to that number.
    pub(super) fn copies(&self, thread: Thread, number: u32) -> Vec<Node> {
        let copies = self.threads.get(&thread).map_or(&[][..], |state| &state.copies);
        copies.iter().filter(|copy| copy.0 <= number).map(|copy| copy.1).collect()
    }

    /// The thread waited for its copies: its own accesses, not learned from others.
    pub(super) fn wait_copies(&mut self, thread: Thread, number: u32) {
        let copies = self.copies(thread, number);
        let last = self.threads.entry(thread).or_default().last;
        let node = self.node(last.into_iter().chain(copies));
        self.threads.entry(thread).or_default().last = Some(node);
    }

    /// True when the access conflicts with an earlier one.
    pub(super) fn conflicts(&self, node: Node, bytes: std::ops::Range<u64>, kind: Kind, proxy: Proxy) -> bool {
        let (known, fenced) = self.past(node);
        bytes.into_iter().filter_map(|byte| self.bytes.get(&byte)).flatten().any(|&(earlier, old, path)| {
            let matters = earlier != node && (old.writes() || kind.writes());
            let strong = old.scope().is_some() && kind.scope().is_some();
            let needs_fence = old.writes() && path == Proxy::Generic && proxy == Proxy::Async;
            matters && !strong && !if needs_fence { fenced.contains(&earlier) } else { known.contains(&earlier) }
        })
    }

    /// Records the access.
    pub(super) fn record(&mut self, node: Node, bytes: std::ops::Range<u64>, kind: Kind, proxy: Proxy) {
        for byte in bytes {
            self.bytes.entry(byte).or_default().push((node, kind, proxy));
        }
    }

    /// The nodes before `node`, and those of them from which a path holds a proxy fence.
    fn past(&self, node: Node) -> (HashSet<Node>, HashSet<Node>) {
        let mut seen = [HashSet::new(), HashSet::new()];
        let event = &self.nodes[node];
        let mut open: Vec<(Node, bool)> =
            event.before.iter().chain(&event.inherits).map(|before| (*before, false)).collect();
        while let Some((at, fenced)) = open.pop() {
            if !seen[usize::from(fenced)].insert(at) {
                continue;
            }
            let event = &self.nodes[at];
            open.extend(event.before.iter().map(|before| (*before, fenced || event.proxy_fence)));
        }
        let [plain, fenced] = seen;
        (plain.union(&fenced).copied().collect(), fenced)
    }
}
