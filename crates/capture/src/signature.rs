//! What a model takes and gives, and what its dynamic dimensions may be.

use crate::error::CaptureError;
use gable_ir::{Graph, Type};
use gable_tensor::{Bindings, Dim};
use std::collections::BTreeSet;
use std::path::Path;

/// A named input with its type; dimensions may be symbolic.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// The name in the file.
    pub name: String,
    /// Element type and shape.
    pub ty: Type,
}

/// Inputs and outputs of a model, in the file's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signature {
    /// What must be given at run time.
    pub inputs: Vec<Port>,
    /// Names of the results.
    pub outputs: Vec<String>,
}

impl Signature {
    /// The signature of a graph.
    pub fn of(graph: &Graph) -> Signature {
        let input = |&id| Port { name: graph.input_name(id).to_string(), ty: graph.ty(id).clone() };
        let outputs = graph.outputs().iter().map(|(name, _)| name.clone()).collect();
        Signature { inputs: graph.inputs().iter().map(input).collect(), outputs }
    }

    /// Names of the inputs' dynamic dimensions, sorted.
    pub fn dims(&self) -> Vec<String> {
        let dims = self.inputs.iter().flat_map(|input| &input.ty.shape);
        let names: BTreeSet<String> = dims.flat_map(Dim::symbols).map(|name| name.to_string()).collect();
        names.into_iter().collect()
    }

    /// The dimension values that the shapes of given inputs imply, added to `bindings`. Fails when a shape contradicts
    /// the model or another shape; unknown names are ignored here. `file` is named in errors.
    pub fn bind_shapes(
        &self,
        file: &Path,
        given: &[(&str, &[usize])],
        bindings: &mut Bindings,
    ) -> Result<(), CaptureError> {
        for (name, shape) in given {
            let Some(port) = self.inputs.iter().find(|port| port.name == *name) else { continue };
            let misfit = || CaptureError::Malformed {
                file: file.to_path_buf(),
                place: format!("input `{name}`"),
                problem: format!("is given shape {shape:?}, expected {}", port.ty.bind(bindings)),
            };
            if port.ty.rank() != shape.len() {
                return Err(misfit());
            }
            let mut bound = bindings.clone();
            for (dim, &size) in port.ty.shape.iter().zip(*shape) {
                let size = i64::try_from(size).map_err(|_| misfit())?;
                if let [symbol] = &dim.symbols()[..]
                    && *dim == Dim::symbol(symbol)
                {
                    bound.entry(symbol.to_string()).or_insert(size);
                }
                if dim.bind(&bound).value().is_some_and(|value| value != size) {
                    return Err(misfit());
                }
            }
            *bindings = bound;
        }
        Ok(())
    }

    /// Checks that `bindings` give values, from 0, to dimensions that the model has. Not all need one.
    pub fn check_values(&self, file: &Path, bindings: &Bindings) -> Result<(), CaptureError> {
        let dims = self.dims();
        for (dim, &value) in bindings {
            let expected = match dims.contains(dim) {
                true if value >= 0 => continue,
                true => "a size, not a negative number".to_string(),
                false if dims.is_empty() => "no such dimension: all sizes of this model are fixed".to_string(),
                false => format!("one of the model's dimensions: {}", dims.join(", ")),
            };
            return Err(CaptureError::DimValue { file: file.to_path_buf(), dim: dim.clone(), value, expected });
        }
        Ok(())
    }

    /// Checks that every dynamic dimension has a value.
    pub fn check_bound(&self, file: &Path, bindings: &Bindings) -> Result<(), CaptureError> {
        for port in &self.inputs {
            let symbols = port.ty.shape.iter().flat_map(Dim::symbols);
            if let Some(dim) = symbols.into_iter().find(|dim| !bindings.contains_key(dim.as_ref())) {
                let (dim, input) = (dim.to_string(), port.name.clone());
                return Err(CaptureError::UnboundDim { file: file.to_path_buf(), dim, input });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gable_tensor::DType;

    fn signature() -> Signature {
        let shape = [Dim::symbol("batch"), Dim::symbol("seq") + Dim::known(1)];
        let ports = ["a", "b"].map(|name| Port { name: name.into(), ty: Type::new(DType::I64, shape.clone()) });
        Signature { inputs: ports.to_vec(), outputs: vec![] }
    }

    #[test]
    fn shapes_bind_dimensions_and_must_agree() {
        let (signature, file) = (signature(), Path::new("model"));
        let mut bindings = Bindings::from([("seq".to_string(), 3)]);
        signature.bind_shapes(file, &[("a", &[2, 4])], &mut bindings).expect("the shape fits");
        assert_eq!(bindings["batch"], 2);
        let error = signature.bind_shapes(file, &[("b", &[5, 4])], &mut bindings).expect_err("batch is 2");
        assert!(error.to_string().contains("is given shape [5, 4], expected i64[2, 4]"), "{error}");
        assert!(signature.bind_shapes(file, &[("b", &[2])], &mut bindings).is_err());
    }

    #[test]
    fn values_are_for_dimensions_that_exist() {
        let (signature, file) = (signature(), Path::new("model"));
        let check = |dim: &str, value| signature.check_values(file, &Bindings::from([(dim.to_string(), value)]));
        assert!(check("batch", 0).is_ok());
        assert!(check("batch", -1).is_err());
        assert!(check("bach", 1).expect_err("unknown").to_string().contains("batch, seq"));
        let error = signature.check_bound(file, &Bindings::from([("batch".to_string(), 1)])).expect_err("seq is open");
        assert!(error.to_string().contains("--dim seq=VALUE"), "{error}");
    }
}
