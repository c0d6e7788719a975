//! What the pass tests share: random inputs, evaluation before and after, comparison by a stated tolerance.

use gable_ir::{Graph, Module, eval};
use gable_tensor::Tensor;
use gable_tensor::compare::{Tolerance, compare};
use gable_tensor::random::{self, Random};

/// Random tensors for the graph's inputs. Integers are small, so that they can be indices; see `bound`.
pub fn random_inputs(graph: &Graph, seed: u64) -> Vec<(String, Tensor)> {
    let input = |&id: &gable_ir::NodeId| {
        let name = graph.input_name(id).to_string();
        let ty = graph.ty(id).concrete().expect("dimensions are bound");
        let tensor = random::tensor(&mut Random::named(seed, &name), ty.dtype, &ty.shape, 3).expect("small");
        (name, tensor)
    };
    graph.inputs().iter().map(input).collect()
}

/// Panics when the outputs of `after` are not those of `before` on random inputs.
pub fn assert_same(before: &Module, after: &Module, tolerance: Tolerance, what: &str) {
    for seed in 0..2 {
        let inputs = random_inputs(&before.graph, seed);
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let expected = eval::evaluate(before, &inputs).unwrap_or_else(|e| panic!("{what}: before: {e}"));
        let found = eval::evaluate(after, &inputs).unwrap_or_else(|e| panic!("{what}: after: {e}"));
        assert_eq!(expected.len(), found.len(), "{what}: number of outputs");
        for ((name, expected), (found_name, found)) in expected.iter().zip(&found) {
            assert_eq!(name, found_name, "{what}: outputs keep their names and order");
            assert_eq!(expected.dtype(), found.dtype(), "{what}: output `{name}`");
            let comparison = compare(found, expected, tolerance);
            assert!(comparison.within, "{what}: output `{name}` (seed {seed}): {comparison}\n{}", after.graph);
        }
    }
}
