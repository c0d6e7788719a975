//! What an architecture is written over: a graph builder that takes its parameters from a checkpoint.
//!
//! Parameters are asked for by name and shape. What is missing or has another shape is noted and building goes on, so that
//! one error names every tensor that does not fit; [`Network::finish`] adds the tensors that nobody asked for.
//! Computation is in f32, as the reference implementations' is when asked for full precision; parameters keep the type
//! that they have in the file and are raised where they are used.

use super::checkpoint::Checkpoint;
use super::config::{Config, FieldError};
use gable_ir::ops::Weight;
use gable_ir::{Builder, Module, NodeId, OpError, Type};
use gable_tensor::{DType, Dim};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Faults after which building stops: a hostile `num_hidden_layers` would go on for ever.
const MOST_FAULTS: usize = 64;

/// Why an architecture cannot be built from a configuration and a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A configuration field.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Sizes in the configuration that do not fit each other.
    #[error("`{layer}`: {source}")]
    Op {
        /// The layer that was being built.
        layer: String,
        /// Why.
        source: OpError,
    },
    /// Tensors that do not fit.
    #[error("{}", TensorFaults(.0))]
    Tensors(Vec<TensorFault>),
}

/// One tensor that does not fit the architecture.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorFault {
    /// The architecture needs it and the checkpoint lacks it.
    Missing {
        /// Its name.
        name: String,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
        /// Names in the checkpoint that are most alike.
        nearest: Vec<String>,
    },
    /// It has another type or shape than the configuration implies.
    Misfit {
        /// Its name.
        name: String,
        /// Type and shape in the checkpoint.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The checkpoint holds it and the architecture has no use for it.
    Extra {
        /// Its name.
        name: String,
        /// Type and shape in the checkpoint.
        found: String,
    },
}

impl fmt::Display for TensorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TensorFault::Missing { name, expected, nearest } => {
                write!(f, "`{name}` is missing, expected shape {expected:?}")?;
                let nearest: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
                if nearest.is_empty() { Ok(()) } else { write!(f, " (the file has {})", nearest.join(", ")) }
            }
            TensorFault::Misfit { name, found, expected } => write!(f, "`{name}` is {found}, expected {expected}"),
            TensorFault::Extra { name, found } => write!(f, "`{name}` ({found}) is not a part of the architecture"),
        }
    }
}

/// The first few faults, and how many there are.
struct TensorFaults<'a>(&'a [TensorFault]);

impl fmt::Display for TensorFaults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let shown: Vec<String> = self.0.iter().take(SHOWN).map(TensorFault::to_string).collect();
        f.write_str(&shown.join("; "))?;
        match self.0.len().checked_sub(SHOWN) {
            Some(more @ 1..) => write!(f, "; and {more} more"),
            _ => Ok(()),
        }
    }
}

/// A value, or why it cannot be built.
pub(crate) type Built = Result<NodeId, BuildError>;

/// A graph being built from a configuration and a checkpoint. Layers are in [`super::layers`].
pub(crate) struct Network<'a> {
    pub(crate) config: &'a Config,
    /// Batch and sequence sizes, symbolic.
    pub(crate) batch: Dim,
    /// Number of tokens of each sequence, symbolic.
    pub(crate) seq: Dim,
    /// The most tokens that a sequence may have, where a table of positions ends.
    pub(crate) longest_sequence: Option<usize>,
    checkpoint: &'a Checkpoint,
    /// What stands before every name in the checkpoint, where a task model wraps the architecture: `bert.`.
    prefix: &'a str,
    builder: Builder,
    layer: String,
    weights: BTreeMap<String, NodeId>,
    faults: Vec<TensorFault>,
}

impl<'a> Network<'a> {
    /// Nothing yet. `prefix` counts only when the checkpoint uses it.
    pub(super) fn new(name: &str, config: &'a Config, checkpoint: &'a Checkpoint, prefix: &'a str) -> Network<'a> {
        let wrapped = !prefix.is_empty() && checkpoint.tensors.keys().any(|name| name.starts_with(prefix));
        Network {
            config,
            batch: Dim::symbol("batch"),
            seq: Dim::symbol("seq"),
            longest_sequence: None,
            checkpoint,
            prefix: if wrapped { prefix } else { "" },
            builder: Builder::new(name),
            layer: name.to_string(),
            weights: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// Says which layer the values that follow belong to; reports and messages name it.
    pub(crate) fn enter(&mut self, layer: impl Into<String>) {
        self.layer = layer.into();
        self.builder.set_origin(Some(self.layer.clone()));
    }

    /// Adds ops by the graph builder.
    pub(crate) fn build(&mut self, ops: impl FnOnce(&mut Builder) -> Result<NodeId, OpError>) -> Built {
        ops(&mut self.builder).map_err(|source| BuildError::Op { layer: self.layer.clone(), source })
    }

    /// The shape of a value.
    pub(crate) fn shape(&self, x: NodeId) -> Vec<Dim> {
        self.builder.shape(x)
    }

    /// An argument of the graph of shape `[batch, seq]`.
    pub(crate) fn token_input(&mut self, name: &str) -> NodeId {
        let ty = Type::new(DType::I64, [self.batch.clone(), self.seq.clone()]);
        self.builder.input(name, ty)
    }

    /// A result of the graph: `x`, one row per token, as `[batch, seq, width]`.
    pub(crate) fn token_output(&mut self, name: &str, x: NodeId) -> Result<(), BuildError> {
        let width = self.shape(x).pop().expect("token rows have a width");
        let shape = [self.batch.clone(), self.seq.clone(), width];
        let rows = self.build(|b| b.reshape(x, shape))?;
        self.builder.output(name, rows);
        Ok(())
    }

    /// The parameter called `name`, in the type that the checkpoint stores it in. What does not fit is noted; the value
    /// then stands for the parameter that was expected.
    pub(crate) fn parameter(&mut self, name: &str, shape: &[usize]) -> Built {
        let key = format!("{}{name}", self.prefix);
        if let Some(&weight) = self.weights.get(&key) {
            return Ok(weight);
        }
        const FLOATS: [DType; 4] = [DType::F32, DType::BF16, DType::F16, DType::F64];
        let checkpoint = self.checkpoint;
        let stored = checkpoint.tensors.get(&key);
        let weight = match stored {
            Some(stored) if stored.shape == shape && FLOATS.contains(&stored.dtype) => {
                self.build(|b| b.weight(key.clone(), stored.tensor()))?
            }
            _ => {
                self.faults.push(match stored {
                    Some(stored) => TensorFault::Misfit {
                        name: key.clone(),
                        found: stored.describe(),
                        expected: format!("shape {shape:?} and type f32, bf16, f16 or f64"),
                    },
                    None => TensorFault::Missing {
                        nearest: nearest_names(&key, checkpoint.tensors.keys()),
                        name: key.clone(),
                        expected: shape.to_vec(),
                    },
                });
                if self.faults.len() >= MOST_FAULTS {
                    return Err(BuildError::Tensors(std::mem::take(&mut self.faults)));
                }
                let shape = shape.iter().map(|&size| Dim::from(size)).collect();
                self.build(|b| b.add(Weight { key: key.clone(), dtype: DType::F32, shape }, &[]))?
            }
        };
        self.weights.insert(key, weight);
        Ok(weight)
    }

    /// The module, when every tensor fits and none is left over. `unused` are patterns of names that a checkpoint may hold
    /// although the architecture does not need them; `*` stands for any text at a pattern's begin or end.
    pub(super) fn finish(mut self, unused: &[&str]) -> Result<Module, BuildError> {
        let used: BTreeSet<&String> = self.weights.keys().collect();
        for (name, stored) in &self.checkpoint.tensors {
            let bare = name.strip_prefix(self.prefix).unwrap_or(name);
            if !used.contains(name) && !unused.iter().any(|pattern| matches(pattern, bare)) {
                self.faults.push(TensorFault::Extra { name: name.clone(), found: stored.describe() });
            }
        }
        if !self.faults.is_empty() {
            return Err(BuildError::Tensors(self.faults));
        }
        Ok(self.builder.finish())
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (_, Some(start)) => name.starts_with(start),
        _ => pattern == name,
    }
}

/// Up to two names that differ least from `wanted`, if they differ by less than half of it.
fn nearest_names<'a>(wanted: &str, names: impl Iterator<Item = &'a String>) -> Vec<String> {
    // Comparing costs the product of the lengths, and hostile names may be long and many.
    const LONGEST: usize = 128;
    const MOST: usize = 4096;
    let wanted_bytes = wanted.as_bytes();
    let mut scored: Vec<(usize, &String)> = names
        .filter(|name| name.len() <= LONGEST)
        .take(MOST)
        .map(|name| (edit_distance(wanted_bytes, name.as_bytes()), name))
        .filter(|(distance, _)| *distance * 2 < wanted.len())
        .collect();
    scored.sort();
    scored.into_iter().take(2).map(|(_, name)| name.clone()).collect()
}

/// Levenshtein's distance: insertions, removals and replacements from `a` to `b`.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        let names = ["layers.0.q_proj.weight", "layers.0.k_proj.weight", "embed"].map(String::from);
        assert_eq!(nearest_names("layers.0.q_proj.bias", names.iter())[0], "layers.0.q_proj.weight");
        assert!(nearest_names("zzz", names.iter()).is_empty());
        assert_eq!(edit_distance(b"kitten", b"sitting"), 3);
    }

    #[test]
    fn patterns_match_at_either_end() {
        assert!(matches("*.position_ids", "embeddings.position_ids"));
        assert!(matches("pooler.*", "pooler.dense.weight"));
        assert!(!matches("pooler.*", "x.pooler.dense"));
        assert!(matches("lm_head.weight", "lm_head.weight"));
    }
}
