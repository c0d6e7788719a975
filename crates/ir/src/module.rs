//! A graph together with its parameters.

use crate::graph::Graph;
use gable_tensor::{Tensor, random};
use std::collections::BTreeMap;

/// Parameters by key. Tensors may be memory-mapped; cloning shares them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights(BTreeMap<String, Tensor>);

impl Weights {
    /// The parameter called `key`.
    pub fn get(&self, key: &str) -> Option<&Tensor> {
        self.0.get(key)
    }

    /// Adds or replaces a parameter.
    pub fn insert(&mut self, key: impl Into<String>, tensor: Tensor) {
        self.0.insert(key.into(), tensor);
    }

    /// Removes a parameter.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Keys and parameters, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(key, tensor)| (key.as_str(), tensor))
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the parameters that `graph` names.
    pub fn retain_used(&mut self, graph: &Graph) {
        let used: std::collections::BTreeSet<&str> =
            graph.ids().into_iter().filter_map(|id| weight_key(graph, id)).collect();
        self.0.retain(|key, _| used.contains(key.as_str()));
    }
}

fn weight_key(graph: &Graph, id: crate::NodeId) -> Option<&str> {
    match graph.op(id) {
        crate::Op::Weight(weight) => Some(&weight.key),
        _ => None,
    }
}

/// A tensor program with its parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module {
    /// The program.
    pub graph: Graph,
    /// Its parameters.
    pub weights: Weights,
}

impl Module {
    /// Gives every weight that the store lacks seeded random values (unit normal over the square root of the size
    /// along the last axis but one, so that products keep their scale). Graphs from text come without parameters.
    /// Returns the keys filled; fails on a size that cannot be held.
    pub fn fill_missing_weights(&mut self, seed: u64) -> Result<Vec<String>, gable_tensor::TensorError> {
        let mut filled = Vec::new();
        for id in self.graph.ids() {
            let Some(key) = weight_key(&self.graph, id).map(str::to_string) else { continue };
            let Some(ty) = self.graph.ty(id).concrete() else { continue };
            if self.weights.get(&key).is_some() {
                continue;
            }
            let fan_in = ty.shape.iter().rev().nth(1).copied().unwrap_or(1).max(1);
            let scale = 1.0 / (fan_in as f64).sqrt();
            let raw = random::tensor(&mut random::Random::named(seed, &key), ty.dtype, &ty.shape, 2)?;
            let tensor = if ty.dtype.is_float() {
                let scaled = raw.scalars().map(|x| gable_tensor::Scalar::F(x.as_f64() * scale));
                Tensor::from_scalars(ty.dtype, ty.shape, scaled)
            } else {
                raw
            };
            self.weights.insert(key.clone(), tensor);
            filled.push(key);
        }
        Ok(filled)
    }
}
