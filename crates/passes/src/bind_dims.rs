//! Gives named dimensions their values.
//!
//! In: a graph whose inputs may have named dimensions. Out: every type known.

use crate::context::Context;
use crate::error::PassError;
use gable_ir::{Module, OpError, verify};
use std::collections::BTreeSet;

/// See the table.
pub fn run(module: &mut Module, context: &mut Context) -> Result<(), PassError> {
    let dims = &context.options.dims;
    let known: Vec<String> = module.graph.symbols();
    if let Some(dim) = dims.keys().find(|dim| !known.contains(dim)) {
        return Err(PassError::UnknownDim { dim: dim.clone(), known });
    }
    if let Some((dim, &value)) = dims.iter().find(|(_, value)| **value < 0) {
        return Err(PassError::NegativeDim { dim: dim.clone(), value });
    }
    for &id in module.graph.inputs() {
        let ty = module.graph.ty(id);
        let symbols: BTreeSet<_> = ty.shape.iter().flat_map(|dim| dim.symbols()).collect();
        if let Some(dim) = symbols.iter().find(|dim| !dims.contains_key(dim.as_ref())) {
            return Err(PassError::UnboundDim {
                dim: dim.to_string(),
                input: module.graph.input_name(id).to_string(),
                ty: ty.to_string(),
            });
        }
    }
    if known.is_empty() {
        return Ok(());
    }
    let misfit = |source| PassError::BadDims {
        dims: dims.iter().map(|(dim, value)| format!("--dim {dim}={value}")).collect::<Vec<_>>().join(" "),
        source,
    };
    module.graph = module.graph.bind(dims).map_err(misfit)?;
    match verify::verify(&module.graph).first() {
        Some(fault) => Err(misfit(OpError(fault.to_string()))),
        None => Ok(()),
    }
}
