//! Hugging Face model folders: `config.json` and safetensors weights to a graph.
//!
//! The graph is symbolic in `batch` and `seq`; weights are slices of the mapped files, in the type that the files have.
//! Computation is in f32. Architectures are rows of the table in `architecture.rs`, written over the layer kit.

mod architecture;
mod bert;
mod checkpoint;
mod config;
mod decoder;
mod gemma2;
mod gpt2;
mod json;
mod layers;
mod llama;
mod mistral;
mod network;
mod qwen;
mod rope;
mod safetensors;
mod self_attention;
mod sliding;

use crate::error::CaptureError;
use crate::signature::Signature;
use architecture::{ARCHITECTURES, Architecture};
use bytes::Bytes;
use checkpoint::Checkpoint;
use config::Config;
use gable_ir::{Module, Weights};
use gable_tensor::{Bindings, mapped_file};
use network::Network;
use std::path::{Path, PathBuf};

pub use config::FieldError;
pub use network::{BuildError, TensorFault};

/// A model folder, checked and built: every tensor is there, fits, and has a use.
#[derive(Debug)]
pub struct HfModel {
    folder: PathBuf,
    /// The text of `config.json`.
    pub(crate) config: Bytes,
    architecture: &'static str,
    signature: Signature,
    longest_sequence: Option<usize>,
    module: Module,
}

impl HfModel {
    /// Opens the folder `folder` with its `config.json` and weights. Weights are mapped, not read.
    ///
    /// Fails when a file is missing, cut or contradicts itself; when the architecture, a field's value or a quantization
    /// is not supported; and when tensors are missing, left over or of another shape than the configuration implies.
    pub fn open(folder: impl AsRef<Path>) -> Result<HfModel, CaptureError> {
        let folder = folder.as_ref();
        let file = folder.join("config.json");
        let text = mapped_file::map(&file).map_err(|source| CaptureError::Read { file: file.clone(), source })?;
        let config = Config::parse(&text).map_err(|problem| CaptureError::Malformed {
            file: file.clone(),
            place: "configuration".into(),
            problem,
        })?;
        let architecture = Architecture::of(&config).map_err(|found| {
            let known: Vec<&str> = ARCHITECTURES.iter().map(|row| row.name).collect();
            CaptureError::UnknownArchitecture { file: file.clone(), found, known: known.join(", ") }
        })?;
        let refused = |source: BuildError| CaptureError::Architecture {
            file: if matches!(source, BuildError::Tensors(_)) { folder.to_path_buf() } else { file.clone() },
            architecture: architecture.name.to_string(),
            source: Box::new(source),
        };
        if config.get("quantization_config").is_some() {
            let expected = "none: quantized weights are not supported, use the model's unquantized files";
            return Err(refused(config.error("quantization_config", expected).into()));
        }
        let checkpoint = Checkpoint::open(folder)?;
        let mut network = Network::new(architecture.model_type, &config, &checkpoint, architecture.prefix);
        (architecture.build)(&mut network).map_err(refused)?;
        let longest_sequence = network.longest_sequence;
        let module = network.finish(architecture.unused).map_err(refused)?;
        let signature = Signature::of(&module.graph);
        Ok(HfModel {
            config: text,
            folder: folder.to_path_buf(),
            architecture: architecture.name,
            signature,
            longest_sequence,
            module,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The architecture's name, as `LlamaForCausalLM`.
    pub fn architecture(&self) -> &'static str {
        self.architecture
    }

    /// Inputs and outputs.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The weights that the graph uses.
    pub fn weights(&self) -> &Weights {
        &self.module.weights
    }

    /// The graph and its weights, with the dimensions that `bindings` name (`batch`, `seq`) replaced; the others stay
    /// symbolic. Fails on a name that the model does not have and on a sequence longer than its positions.
    pub fn module(&self, bindings: &Bindings) -> Result<Module, CaptureError> {
        self.signature.check_values(&self.folder, bindings)?;
        if let (Some(longest), Some(&seq)) = (self.longest_sequence, bindings.get("seq"))
            && usize::try_from(seq).is_ok_and(|seq| seq > longest)
        {
            let expected = format!("{longest} tokens at most, which is max_position_embeddings");
            return Err(CaptureError::DimValue { file: self.folder.clone(), dim: "seq".into(), value: seq, expected });
        }
        let graph = self.module.graph.bind(bindings).map_err(|source| CaptureError::Architecture {
            file: self.folder.join("config.json"),
            architecture: self.architecture.to_string(),
            source: Box::new(BuildError::Op { layer: self.module.graph.name.clone(), source }),
        })?;
        Ok(Module { graph, weights: self.module.weights.clone() })
    }
}
