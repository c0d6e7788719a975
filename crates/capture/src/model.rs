//! One face for every form of model: an `.onnx` file, a Hugging Face folder, a `.gir` file.

use crate::error::CaptureError;
use crate::gir::GirModel;
use crate::hf::HfModel;
use crate::onnx::OnnxModel;
use crate::signature::{Port, Signature};
use gable_ir::Module;
use gable_tensor::{Bindings, Tensor};
use std::path::Path;

/// A model in one of the forms that Gable reads, loaded and checked.
#[derive(Debug)]
pub enum Model {
    /// An `.onnx` file.
    Onnx(Box<OnnxModel>),
    /// A folder with `config.json` and safetensors weights.
    HuggingFace(Box<HfModel>),
    /// A `.gir` file: a graph as text, with random weights.
    Gir(Box<GirModel>),
}

impl Model {
    /// Loads the model at `path`: a folder, or a file whose extension says its form. Weights are mapped, not read.
    pub fn load(path: impl AsRef<Path>) -> Result<Model, CaptureError> {
        let path = path.as_ref();
        let metadata =
            std::fs::metadata(path).map_err(|source| CaptureError::Read { file: path.to_path_buf(), source })?;
        if metadata.is_dir() {
            return Ok(Model::HuggingFace(HfModel::open(path)?.into()));
        }
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("onnx") => Ok(Model::Onnx(OnnxModel::load(path)?.into())),
            Some("gir") => Ok(Model::Gir(GirModel::load(path)?.into())),
            _ => Err(CaptureError::Malformed {
                file: path.to_path_buf(),
                place: "the file's name".into(),
                problem:
                    "says no known form; expected a .onnx or .gir file, or a folder with config.json and safetensors \
                          weights"
                        .into(),
            }),
        }
    }

    /// The file or folder.
    pub fn path(&self) -> &Path {
        match self {
            Model::Onnx(model) => model.path(),
            Model::HuggingFace(model) => model.folder(),
            Model::Gir(model) => model.path(),
        }
    }

    /// A short name: the folder's, or the file's without extension; a file called `model` is named by its folder.
    pub fn name(&self) -> String {
        let path = self.path();
        // A folder given as `.` has its name only in the whole path.
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let file = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let stem = whole.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let name = match self {
            Model::HuggingFace(_) => file(&whole),
            Model::Onnx(_) | Model::Gir(_) => match stem.as_deref() {
                Some("model") => whole.parent().and_then(file).or(stem),
                _ => stem,
            },
        };
        name.unwrap_or_else(|| "model".into())
    }

    /// A hash of all that the model is made of: its description and its weights, in hexadecimal. Reads every weight.
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut tensor = |name: &str, tensor: &Tensor| {
            hasher.update(format!("{name:?} {} {:?}", tensor.dtype(), tensor.shape()).as_bytes());
            hasher.update(tensor.bytes());
        };
        match self {
            // Initializers may lie in other files.
            Model::Onnx(model) => model.initializers.iter().for_each(|(name, value)| tensor(name, value)),
            Model::HuggingFace(model) => model.weights().iter().for_each(|(name, value)| tensor(name, value)),
            Model::Gir(_) => {}
        }
        hasher.update(match self {
            Model::Onnx(model) => &model.file,
            Model::HuggingFace(model) => &model.config,
            Model::Gir(model) => model.text.as_bytes(),
        });
        hasher.finalize().to_hex().to_string()
    }

    /// Inputs and outputs, with dynamic dimensions as symbols.
    pub fn signature(&self) -> &Signature {
        match self {
            Model::Onnx(model) => model.signature(),
            Model::HuggingFace(model) => model.signature(),
            Model::Gir(model) => model.signature(),
        }
    }

    /// What must be given at run time.
    pub fn inputs(&self) -> &[Port] {
        &self.signature().inputs
    }

    /// Names of the results.
    pub fn outputs(&self) -> &[String] {
        &self.signature().outputs
    }

    /// The dimension values that the shapes of given inputs imply, added to `bindings`; see [`Signature::bind_shapes`].
    pub fn bind_shapes(&self, given: &[(&str, &[usize])], bindings: &mut Bindings) -> Result<(), CaptureError> {
        self.signature().bind_shapes(self.path(), given, bindings)
    }

    /// The model as graph and parameters, every dimension bound. Fails on a dimension without a value or one that the
    /// model does not have, and where the model asks for what is not supported.
    pub fn module(&self, bindings: &Bindings) -> Result<Module, CaptureError> {
        match self {
            Model::Onnx(model) => model.module(bindings),
            Model::HuggingFace(model) => {
                model.signature().check_bound(model.folder(), bindings)?;
                model.module(bindings)
            }
            Model::Gir(model) => model.module(bindings),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_no_known_form_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let message = |path: &Path| Model::load(path).expect_err("there is no model").to_string();
        let text = folder.path().join("model.txt");
        std::fs::write(&text, "").expect("the folder is writable");
        assert!(message(&text).contains("expected a .onnx or .gir file"));
        assert!(message(folder.path()).contains("config.json"));
        assert!(message(&folder.path().join("absent.onnx")).contains("cannot be read"));
    }

    #[test]
    fn a_model_has_a_name_and_a_hash_of_its_contents() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, size: usize| {
            let text = format!("graph @g(%x: f32[{size}]) {{ return y = %x }}");
            std::fs::write(folder.path().join(name), text).expect("the folder is writable");
            Model::load(folder.path().join(name)).expect("the graph is valid")
        };
        let (one, same, other) = (write("one.gir", 2), write("model.gir", 2), write("other.gir", 3));
        assert_eq!(one.name(), "one");
        assert_eq!(Some(same.name().as_str()), folder.path().file_name().and_then(|name| name.to_str()));
        assert_eq!(one.hash(), same.hash());
        assert_ne!(one.hash(), other.hash());
    }
}
