//! Random graphs from the op table go through the whole pipeline: the results stay, every region keeps its contract,
//! and the memory plan never overlaps live values.

mod support;

use gable_ir::attr::ReduceKind;
use gable_ir::random_graph::{self, Generator};
use gable_ir::{Builder, Graph, Group, Module, NodeId, Op, Type, eval, region};
use gable_passes::plan::Place;
use gable_passes::{MemoryPlan, Optimized, PassOptions, RunnerConfig, fusion, optimize_with};
use gable_tensor::compare::{Tolerance, compare};
use gable_tensor::random::Random;
use gable_tensor::{DType, Tensor};
use std::collections::BTreeMap;

/// Draws one op after another over a pool of small f32 values.
struct Draw {
    b: Builder,
    pool: Vec<NodeId>,
    random: Random,
}

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.random.below(n as u64) as usize
    }

    fn pick(&mut self) -> NodeId {
        let at = self.below(self.pool.len());
        self.pool[at]
    }

    fn sizes(&self, id: NodeId) -> Vec<usize> {
        self.b.ty(id).concrete().expect("known").shape
    }

    /// A value of the same shape, if there is one; else the value itself.
    fn partner(&mut self, id: NodeId) -> NodeId {
        let same: Vec<NodeId> = self.pool.iter().copied().filter(|&o| self.b.ty(o) == self.b.ty(id)).collect();
        let at = self.below(same.len());
        same[at]
    }

    fn permutation(&mut self, rank: usize) -> Vec<usize> {
        let mut perm: Vec<usize> = (0..rank).collect();
        for i in (1..rank).rev() {
            let j = self.below(i + 1);
            perm.swap(i, j);
        }
        perm
    }

    /// A map row of the table over the value, with bounded results; `None` for rows of other types.
    fn map(&mut self, x: NodeId) -> Option<NodeId> {
        // Functions that are smooth and bounded on all reals: error stays error.
        const SAFE: [&str; 12] =
            ["neg", "abs", "relu", "sin", "cos", "tanh", "erf", "sigmoid", "silu", "add", "sub", "max"];
        let rows: Vec<_> = Op::TABLE.iter().filter(|row| SAFE.contains(&row.name)).collect();
        let row = rows[self.below(rows.len())];
        let op = Op::parse(row.name, &|_| None).ok()?;
        let operands: Vec<NodeId> = row.operands.iter().map(|_| self.partner(x)).collect();
        self.b.add(op, &operands).ok()
    }

    fn step(&mut self) -> Option<NodeId> {
        let x = self.pick();
        let sizes = self.sizes(x);
        let rank = sizes.len();
        match self.below(16) {
            0..=4 => self.map(x),
            5 => {
                let perm = self.permutation(rank);
                self.b.transpose(x, &perm).ok()
            }
            6 => {
                let n: usize = sizes.iter().product();
                let shape = if n.is_multiple_of(2) { vec![2, n / 2] } else { vec![n] };
                self.b.reshape(x, shape).ok()
            }
            7 if rank > 0 => {
                let axis = self.below(rank);
                let kind = [ReduceKind::Sum, ReduceKind::Mean, ReduceKind::Max][self.below(3)];
                let keep = self.below(2) == 0;
                let reduced = self.b.reduce(kind, x, &[axis], keep).ok()?;
                // Broadcast back, so that pools of one shape stay large.
                if keep && self.below(2) == 0 {
                    self.b.broadcast_binary(gable_ir::ops::Sub {}, x, reduced).ok()
                } else {
                    Some(reduced)
                }
            }
            8 if rank > 0 => {
                let axis = self.below(rank);
                self.b.add(gable_ir::ops::Softmax { axis }, &[x]).ok()
            }
            9 if rank > 0 => {
                let width = sizes[rank - 1];
                let scale = self.b.constant(Tensor::from_vec([width], &vec![0.5f32; width])).ok()?;
                self.b.add(gable_ir::ops::RmsNorm { eps: 1e-3 }, &[x, scale]).ok()
            }
            10 if rank >= 2 => {
                let (n, key) = (1 + self.below(4), format!("w{}", self.b.weights.len()));
                let mut shape = sizes.clone();
                shape[rank - 2] = sizes[rank - 1];
                shape[rank - 1] = n;
                let count = shape.iter().product();
                let values: Vec<f32> = (0..count).map(|_| self.random.normal() as f32 * 0.3).collect();
                let w = self.b.weight(key, Tensor::from_vec(shape, &values)).ok()?;
                self.b.matmul(x, w).ok()
            }
            11 if rank > 0 => {
                let axis = self.below(rank);
                let start = self.below(sizes[axis]);
                self.b.slice_axis(x, axis, start, sizes[axis]).ok()
            }
            12 if rank > 0 => {
                let axis = self.below(rank);
                let other = self.partner(x);
                (sizes[axis] < 8).then(|| self.b.concat(&[x, other], axis).ok())?
            }
            13 if rank > 0 => {
                let value = self.b.scalar(DType::F32, 0.25).ok()?;
                let mut low = vec![0; rank];
                low[self.below(rank)] = self.below(3) as i64 - 1;
                self.b.add(gable_ir::ops::Pad { low, high: vec![0; rank], interior: vec![0; rank] }, &[x, value]).ok()
            }
            14 if rank > 0 => {
                let (axis, n) = (self.below(rank), 1 + self.below(3));
                let indices: Vec<i64> = (0..n).map(|_| self.below(sizes[axis].max(1)) as i64).collect();
                let indices = self.b.constant(Tensor::from_vec([n], &indices)).ok()?;
                (sizes[axis] > 0).then(|| self.b.add(gable_ir::ops::Gather { axis }, &[x, indices]).ok())?
            }
            15 if rank > 0 => {
                let op = gable_ir::ops::Scan {
                    kind: ReduceKind::Sum,
                    axis: self.below(rank),
                    exclusive: false,
                    reverse: false,
                };
                self.b.add(op, &[x]).ok()
            }
            _ => {
                let n = 2 + self.below(2);
                let mut shape = vec![n];
                shape.extend(sizes.iter());
                let dims: Vec<gable_tensor::Dim> = shape.into_iter().map(Into::into).collect();
                (rank < 3).then(|| self.b.broadcast_to(x, &dims).ok())?
            }
        }
    }
}

fn random_module(seed: u64) -> Module {
    let mut b = Builder::new(format!("random_{seed}"));
    let x = b.input("x", Type::new(DType::F32, [3i64, 4]));
    let y = b.input("y", Type::new(DType::F32, [2i64, 3, 4]));
    let mut draw = Draw { b, pool: vec![x, y], random: Random::new(seed) };
    for _ in 0..24 {
        if let Some(id) = draw.step()
            && draw.sizes(id).iter().product::<usize>() <= 512
        {
            draw.pool.push(id);
        }
    }
    let n = draw.pool.len();
    for (i, back) in [1, 2, n / 2].into_iter().enumerate() {
        let id = draw.pool[n - back.min(n)];
        draw.b.output(format!("out{i}"), id);
    }
    draw.b.finish()
}

fn optimized(module: &Module, fuel: Option<u64>) -> Optimized {
    let config = RunnerConfig { check: true, fuel, ..RunnerConfig::default() };
    optimize_with(module.clone(), &PassOptions::default(), &config).unwrap_or_else(|e| panic!("{e}\n{}", module.graph))
}

/// Rewrites change the order of f32 operations, at most: sums here have at most 24 terms of size 1, a few ops deep.
const REORDERED: Tolerance = Tolerance::ScaledElementwise { rtol: 1e-4, atol_of_max: 1e-4 };

#[test]
fn random_graphs_keep_their_results() {
    for seed in 0..150 {
        let module = random_module(seed);
        let result = optimized(&module, None);
        assert_eq!(fusion::check(&result.module.graph), []);
        check_plan(&result.module.graph, &result.plan);
        support::assert_same(&module, &result.module, REORDERED, &format!("seed {seed}"));
    }
}

#[test]
fn graphs_of_every_op_keep_their_results_exactly() {
    // Every row of the table, every type: what a rewrite must not forget. Nothing is narrowed, and the groups that
    // recognition may round otherwise do not come about by chance, so results are the same to the bit.
    for seed in 0..400 {
        let mut generator = Generator::new(seed);
        for _ in 0..12 {
            generator.grow_any(&|_, _| true);
        }
        let module = generator.finish();
        let result = optimized(&module, None);
        assert_eq!(fusion::check(&result.module.graph), []);
        check_plan(&result.module.graph, &result.plan);
        let inputs = random_graph::inputs(&module, seed);
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        // Some graphs take elements of an empty axis, which no values make right.
        let Ok(expected) = eval::evaluate(&module, &inputs) else { continue };
        let found = eval::evaluate(&result.module, &inputs).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        for ((name, expected), (_, found)) in expected.iter().zip(&found) {
            let comparison = compare(found, expected, Tolerance::Exact);
            let texts = || format!("{}{}", module.graph, result.module.graph);
            assert!(comparison.within, "seed {seed}: output `{name}`: {comparison}\n{}", texts());
        }
    }
}

#[test]
fn any_amount_of_fuel_gives_a_runnable_graph() {
    for fuel in [0, 1, 3, 10, 30] {
        for seed in 150..160 {
            let module = random_module(seed);
            let result = optimized(&module, Some(fuel));
            assert_eq!(fusion::check(&result.module.graph), []);
            check_plan(&result.module.graph, &result.plan);
            support::assert_same(&module, &result.module, REORDERED, &format!("seed {seed}, fuel {fuel}"));
        }
    }
}

#[test]
fn the_same_module_gives_the_same_text() {
    for seed in 0..10 {
        let text = |_| {
            let result = optimized(&random_module(seed), None);
            format!("{}{}{:?}", result.module.graph, result.plan, result.plan.place)
        };
        assert_eq!(text(0), text(1));
    }
}

/// Plays the plan: memory is a map from place to the value that lies there; every read must find its value.
fn check_plan(graph: &Graph, plan: &MemoryPlan) {
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Held {
        value: NodeId,
        start: u64,
        end: u64,
    }
    let bytes = |id: NodeId| graph.ty(id).concrete().expect("known").bytes() as u64;
    // What a value is after reshapes that move nothing.
    let mut same_as: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    let (mut arena, mut outputs): (Vec<Held>, BTreeMap<usize, NodeId>) = (Vec::new(), BTreeMap::new());
    for (step, region) in graph.regions.iter().enumerate() {
        let written = region::outputs(graph, &region.nodes);
        for input in region::inputs(graph, &region.nodes) {
            let value = same_as.get(&input).copied().unwrap_or(input);
            match plan.place[&input] {
                Place::Input(at) => assert_eq!(graph.inputs()[at], value),
                Place::Weight => assert!(matches!(graph.op(value), Op::Weight(_))),
                Place::Output(at) => assert_eq!(outputs.get(&at), Some(&value), "step {step}\n{graph}"),
                Place::Arena(start) => {
                    let held = Held { value, start, end: start + bytes(input) };
                    assert!(bytes(input) == 0 || arena.contains(&held), "step {step} reads {held:?}\n{graph}");
                }
            }
        }
        if plan.aliases.contains(&step) {
            for id in written {
                let mut from = id;
                while region.nodes.contains(&from) {
                    assert!(matches!(graph.op(from), Op::Reshape(_)));
                    from = graph.operand(from, 0);
                }
                assert_eq!(plan.place[&id], plan.place[&from]);
                same_as.insert(id, same_as.get(&from).copied().unwrap_or(from));
            }
            continue;
        }
        let read: Vec<NodeId> = region::inputs(graph, &region.nodes);
        for id in written {
            match plan.place[&id] {
                Place::Arena(start) => {
                    let end = start + bytes(id);
                    assert!(end <= plan.arena_bytes);
                    assert_eq!(start % gable_passes::plan::ALIGNMENT, 0);
                    for held in arena.iter().filter(|held| held.start < end && start < held.end) {
                        // Overwriting what the same kernel reads is right only for an elementwise map in place.
                        let reads_it = read.iter().any(|r| same_as.get(r).copied().unwrap_or(*r) == held.value);
                        let in_place =
                            region.kind == gable_ir::RegionKind::Map && (held.start, held.end) == (start, end);
                        assert!(!reads_it || in_place, "step {step} overwrites its operand\n{graph}");
                    }
                    arena.retain(|held| held.end <= start || end <= held.start);
                    arena.push(Held { value: id, start, end });
                }
                Place::Output(at) => {
                    assert_eq!(outputs.insert(at, id), None, "an output is written once");
                }
                Place::Input(_) | Place::Weight => panic!("step {step} writes to what it may only read"),
            }
        }
    }
    for (at, (_, id)) in graph.outputs().iter().enumerate() {
        let value = same_as.get(id).copied().unwrap_or(*id);
        let copied = plan.copies.iter().find(|copy| copy.output == at);
        match copied {
            Some(copy) => {
                assert_eq!(copy.from, *id);
                let held = match plan.place[id] {
                    Place::Output(at) => outputs.get(&at) == Some(&value),
                    _ => graph.op(value).is(Group::Leaf),
                };
                assert!(held, "the copied value is there");
            }
            None => assert_eq!(outputs.get(&at), Some(&value), "output {at} is written\n{graph}"),
        }
    }
    assert!(plan.needed_bytes <= plan.arena_bytes && plan.arena_bytes <= plan.unshared_bytes.max(256));
}
