//! A loaded ONNX file: parsed, its tensors checked, its signature read. Nothing is computed yet.
//!
//! Holds from here on: one default graph; every initializer has as much data as it claims; names are unique; every
//! node reads only what earlier nodes, inputs or initializers make (so the graph has no cycle).

use crate::error::CaptureError;
use crate::onnx::external::ExternalFiles;
use crate::onnx::proto::{
    GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, tensor_shape_proto, type_proto,
};
use crate::onnx::tensor;
use crate::signature::{Port, Signature};
use bytes::Bytes;
use gable_ir::Type;
use gable_tensor::{Bindings, Dim, Tensor, mapped_file};
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The oldest operator set that is read: before it, operators had attributes that no exporter in use writes.
const OLDEST_OPSET: i64 = 6;

/// An ONNX model, ready to be lowered with [`OnnxModel::module`].
#[derive(Debug)]
pub struct OnnxModel {
    path: PathBuf,
    /// The file's bytes, mapped.
    pub(crate) file: Bytes,
    pub(crate) proto: ModelProto,
    pub(crate) initializers: BTreeMap<String, Tensor>,
    opsets: BTreeMap<String, i64>,
    signature: Signature,
}

impl OnnxModel {
    /// Loads the file at `path`. Fails when it, or a file that its tensors lie in, is missing, cut, or contradicts
    /// itself.
    pub fn load(path: impl AsRef<Path>) -> Result<OnnxModel, CaptureError> {
        let path = path.as_ref();
        let bytes = mapped_file::map(path).map_err(|source| CaptureError::Read { file: path.to_path_buf(), source })?;
        OnnxModel::parse(path, bytes)
    }

    /// Reads a model from the bytes of a file; external data is looked for beside `path`, which errors name.
    pub fn parse(path: &Path, bytes: Bytes) -> Result<OnnxModel, CaptureError> {
        let malformed = |place: &str, problem: String| CaptureError::Malformed {
            file: path.to_path_buf(),
            place: place.to_string(),
            problem,
        };
        let proto = ModelProto::decode(bytes.clone())
            .map_err(|e| malformed("the file", format!("is not an ONNX model, or is cut: {e}")))?;
        let Some(graph) = &proto.graph else {
            return Err(malformed("the file", "has no graph, expected an ONNX model".into()));
        };
        let opsets = opsets(&proto).map_err(|problem| malformed("opset_import", problem))?;
        check_names(graph).map_err(|(place, problem)| malformed(&place, problem))?;
        let mut files = ExternalFiles::beside(path);
        let mut initializers = BTreeMap::new();
        for initializer in &graph.initializer {
            let name = initializer.name.clone().unwrap_or_default();
            let value = tensor::read(initializer, &mut files)
                .map_err(|problem| malformed(&format!("initializer `{name}`"), problem))?;
            initializers.insert(name, value);
        }
        // Until IR version 4 every initializer was listed as an input too, as a default that nobody overrides.
        let inputs = graph
            .input
            .iter()
            .filter(|input| !initializers.contains_key(input.name()))
            .map(|input| port(input).map_err(|problem| malformed(&format!("input `{}`", input.name()), problem)))
            .collect::<Result<_, _>>()?;
        let outputs = graph.output.iter().map(|output| output.name().to_string()).collect();
        let signature = Signature { inputs, outputs };
        Ok(OnnxModel { path: path.to_path_buf(), file: bytes, initializers, opsets, signature, proto })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Inputs and outputs. A dynamic dimension without a name in the file is called `NAME_dimAXIS`.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The parameters that the file holds or refers to, by name.
    pub fn initializers(&self) -> &BTreeMap<String, Tensor> {
        &self.initializers
    }

    /// Imported operator sets: domain (empty for the default one) and version.
    pub fn opsets(&self) -> &BTreeMap<String, i64> {
        &self.opsets
    }

    /// The dimension values that the shapes of given inputs imply, added to `bindings`; see [`Signature::bind_shapes`].
    pub fn bind_shapes(&self, given: &[(&str, &[usize])], bindings: &mut Bindings) -> Result<(), CaptureError> {
        self.signature.bind_shapes(&self.path, given, bindings)
    }

    /// Makes the input `name` a constant: for inputs that decide shapes, which must be known before a graph can be
    /// built. Fails when there is no such input or `value` is not of its type.
    pub fn freeze(&mut self, name: &str, value: Tensor) -> Result<(), CaptureError> {
        let place = || format!("input `{name}`");
        let Some(position) = self.signature.inputs.iter().position(|port| port.name == name) else {
            return Err(self.malformed(place(), "is not in the model"));
        };
        let ty = &self.signature.inputs[position].ty;
        let fits = ty.dtype == value.dtype()
            && ty.rank() == value.shape().len()
            && ty.shape.iter().zip(value.shape()).all(|(dim, &size)| dim.value().is_none_or(|n| n == size as i64));
        if !fits {
            let found = gable_ir::ConcreteType::of(&value);
            return Err(self.malformed(place(), format!("is given a value of type {found}, expected {ty}")));
        }
        self.signature.inputs.remove(position);
        self.initializers.insert(name.to_string(), value);
        Ok(())
    }

    pub(crate) fn graph(&self) -> &GraphProto {
        self.proto.graph.as_ref().expect("a loaded model has a graph")
    }

    pub(crate) fn malformed(&self, place: impl Into<String>, problem: impl Into<String>) -> CaptureError {
        CaptureError::Malformed { file: self.path.clone(), place: place.into(), problem: problem.into() }
    }
}

/// Reads a file that holds one tensor in ONNX's own form, as the test data of ONNX models does.
pub fn load_tensor(path: &Path) -> Result<Tensor, CaptureError> {
    let file = || path.to_path_buf();
    let bytes = mapped_file::map(path).map_err(|source| CaptureError::Read { file: file(), source })?;
    let malformed = |problem| CaptureError::Malformed { file: file(), place: "the tensor".into(), problem };
    let stored = TensorProto::decode(bytes).map_err(|e| malformed(format!("is not an ONNX tensor: {e}")))?;
    tensor::read(&stored, &mut ExternalFiles::beside(path)).map_err(malformed)
}

/// The name that messages give a node: its own, or its operator and first result.
pub(crate) fn node_label(node: &NodeProto) -> String {
    match (node.name(), node.output.iter().find(|name| !name.is_empty())) {
        ("", Some(output)) => format!("{} -> {output}", node.op_type()),
        ("", None) => node.op_type().to_string(),
        (name, _) => name.to_string(),
    }
}

/// Imported operator sets with `ai.onnx` written as the empty domain.
fn opsets(proto: &ModelProto) -> Result<BTreeMap<String, i64>, String> {
    let mut opsets = BTreeMap::new();
    for import in &proto.opset_import {
        let domain = if import.domain() == "ai.onnx" { "" } else { import.domain() };
        opsets.insert(domain.to_string(), import.version());
    }
    match opsets.get("") {
        Some(&version) if version < OLDEST_OPSET => Err(format!(
            "is version {version} of the default domain, expected {OLDEST_OPSET} or newer; \
             convert the model with onnx.version_converter"
        )),
        Some(_) => Ok(opsets),
        // A model may consist of calls to its own functions and other domains only.
        None if !opsets.is_empty() => Ok(opsets),
        None => Err("is absent, expected the version of at least one operator set".into()),
    }
}

/// Names are made once, and read only after they are made.
fn check_names(graph: &GraphProto) -> Result<(), (String, String)> {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for initializer in &graph.initializer {
        if initializer.name().is_empty() || !known.insert(initializer.name()) {
            let problem = "is empty or used twice, expected names of their own for all initializers";
            return Err((format!("initializer name `{}`", initializer.name()), problem.into()));
        }
    }
    let mut inputs = BTreeSet::new();
    for input in &graph.input {
        if input.name().is_empty() || !inputs.insert(input.name()) {
            let problem = "is empty or used twice, expected names of their own for all inputs";
            return Err((format!("input name `{}`", input.name()), problem.into()));
        }
        known.insert(input.name());
    }
    if let Some(sparse) = graph.sparse_initializer.first() {
        let name = sparse.values.as_ref().map(|values| values.name()).unwrap_or_default();
        return Err((format!("sparse initializer `{name}`"), "is not supported; store the tensor dense".into()));
    }
    let made_later: BTreeSet<&str> = graph.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
    for node in &graph.node {
        let place = || format!("node `{}`", node_label(node));
        for input in node.input.iter().filter(|name| !name.is_empty()) {
            if !known.contains(input.as_str()) {
                let problem = if made_later.contains(input.as_str()) {
                    "which only a later node makes: the graph is cyclic or not in topological order"
                } else {
                    "which no input, initializer or node makes"
                };
                return Err((place(), format!("reads `{input}`, {problem}")));
            }
        }
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            if !known.insert(output) {
                return Err((place(), format!("makes `{output}`, which is already made; each name is made once")));
            }
        }
    }
    for output in &graph.output {
        if !known.contains(output.name()) {
            return Err((format!("output `{}`", output.name()), "is made by no node, input or initializer".into()));
        }
    }
    Ok(())
}

/// An input's name and type.
fn port(input: &ValueInfoProto) -> Result<Port, String> {
    let value = input.r#type.as_ref().and_then(|ty| ty.value.as_ref());
    let tensor = match value {
        Some(type_proto::Value::TensorType(tensor)) => tensor,
        Some(_) => {
            return Err(
                "is a sequence, map, optional or sparse tensor, which are not supported; expected a tensor".into()
            );
        }
        None => return Err("has no type, expected a tensor type".into()),
    };
    let dtype = tensor::element_type(tensor.elem_type())?;
    let shape = tensor.shape.as_ref().ok_or("has no shape, expected one; run onnx.shape_inference on the model")?;
    let dim = |(axis, dim): (usize, &tensor_shape_proto::Dimension)| match &dim.value {
        Some(tensor_shape_proto::dimension::Value::DimValue(size)) if *size >= 0 => Dim::known(*size),
        // Exporters write expressions such as `past + 1`; what is no expression is one name.
        Some(tensor_shape_proto::dimension::Value::DimParam(name)) if !name.is_empty() => {
            Dim::parse(name).ok().filter(|dim| dim.value().is_none()).unwrap_or_else(|| Dim::symbol(name))
        }
        _ => Dim::symbol(&format!("{}_dim{axis}", input.name())),
    };
    let shape = shape.dim.iter().enumerate().map(dim).collect();
    Ok(Port { name: input.name().to_string(), ty: Type { dtype, shape } })
}
