//! `.gir` files: graphs as text. They hold no weights, so missing ones are filled with seeded random values.

use crate::error::CaptureError;
use crate::signature::Signature;
use gable_ir::{Graph, Module, Op, Weights, text, verify};
use gable_tensor::{Bindings, mapped_file, tensor};
use std::path::{Path, PathBuf};

/// The most bytes of random weights that a graph may ask for: a few lines of text can name any size.
const MOST_RANDOM_BYTES: usize = 1 << 30;

/// The seed of random weights: the same file gives the same weights everywhere.
const SEED: u64 = 0;

/// A graph read from text and verified.
#[derive(Debug)]
pub struct GirModel {
    path: PathBuf,
    /// The file's text.
    pub(crate) text: String,
    graph: Graph,
    signature: Signature,
}

impl GirModel {
    /// Reads the file at `path`. Fails when it cannot be read, is no graph, or is a graph with faults.
    pub fn load(path: impl AsRef<Path>) -> Result<GirModel, CaptureError> {
        let path = path.as_ref();
        let bytes = mapped_file::map(path).map_err(|source| CaptureError::Read { file: path.to_path_buf(), source })?;
        let malformed =
            |place: String, problem: String| CaptureError::Malformed { file: path.to_path_buf(), place, problem };
        let text =
            std::str::from_utf8(&bytes).map_err(|e| malformed("the text".into(), format!("is not UTF-8: {e}")))?;
        let graph = text::parse(text)
            .map_err(|e| malformed(format!("line {}, column {}", e.line, e.column), e.message.clone()))?;
        // The verifier lists them all; the first few are enough for a message.
        const SHOWN: usize = 8;
        let faults: Vec<String> = verify::verify(&graph).iter().take(SHOWN).map(ToString::to_string).collect();
        if !faults.is_empty() {
            return Err(malformed("the graph is not valid".into(), faults.join("; ")));
        }
        let signature = Signature::of(&graph);
        Ok(GirModel { path: path.to_path_buf(), text: text.to_string(), graph, signature })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Inputs and outputs.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The graph with the named dimensions bound, and random weights, which a warning in the log tells of. Fails on a
    /// dimension without a value, sizes that do not fit each other, and weights of more than a gigabyte.
    pub fn module(&self, bindings: &Bindings) -> Result<Module, CaptureError> {
        self.signature.check_values(&self.path, bindings)?;
        self.signature.check_bound(&self.path, bindings)?;
        let malformed = |place: &str, problem: String| CaptureError::Malformed {
            file: self.path.clone(),
            place: place.to_string(),
            problem,
        };
        let graph =
            self.graph.bind(bindings).map_err(|e| malformed("the graph with its dimensions bound", e.to_string()))?;
        let mut bytes = 0usize;
        for id in graph.ids() {
            let (Op::Weight(weight), Some(ty)) = (graph.op(id), graph.ty(id).concrete()) else { continue };
            let place = format!("weight `{}`", weight.key);
            let more = tensor::byte_count(ty.dtype, &ty.shape).map_err(|e| malformed(&place, e.to_string()))?;
            bytes = bytes.saturating_add(more);
            if bytes > MOST_RANDOM_BYTES {
                let problem = format!(
                    "is {ty}; a text graph has no weights, and random ones may take {MOST_RANDOM_BYTES} bytes in all: \
                     give the model as .onnx or as a folder"
                );
                return Err(malformed(&place, problem));
            }
        }
        let mut module = Module { graph, weights: Weights::default() };
        let filled = module.fill_missing_weights(SEED).map_err(|e| malformed("weights", e.to_string()))?;
        if !filled.is_empty() {
            tracing::warn!("{}: filled {} weights with random values, seed {SEED}", self.path.display(), filled.len());
        }
        Ok(module)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<GirModel, CaptureError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("graph.gir");
        std::fs::write(&path, text).expect("the folder is writable");
        GirModel::load(&path)
    }

    const PRODUCT: &str = "graph @g(%x: f32[n, 8]) {
        %0 = weight {key=\"w\", dtype=f32, shape=[8, 2]} : f32[8, 2]
        %1 = matmul %x, %0 {acc=f32, out=f32} : f32[n, 2]
        return y = %1
    }";

    #[test]
    fn a_graph_gets_the_same_random_weights_each_time() {
        let model = load(PRODUCT).expect("valid");
        let bindings = Bindings::from([("n".to_string(), 3)]);
        let module = model.module(&bindings).expect("valid");
        assert_eq!(module.weights.len(), 1);
        assert_eq!(module, model.module(&bindings).expect("valid"));
        assert!(model.module(&Bindings::new()).is_err());
    }

    #[test]
    fn bad_text_is_refused_with_its_place() {
        let message = |text: &str| load(text).expect_err("the text is wrong").to_string();
        assert!(message("graph @g() {").contains("line 1, column"));
        assert!(message(&PRODUCT.replace("f32[n, 2]", "f32[n, 3]")).contains("expected f32[n, 2]"));
    }

    #[test]
    fn a_few_lines_cannot_ask_for_gigabytes() {
        let model = load(&PRODUCT.replace('8', "999999999999")).expect("the graph is valid");
        let error = model.module(&Bindings::from([("n".to_string(), 1)])).expect_err("too large");
        assert!(error.to_string().contains("weight `w`"), "{error}");
    }
}
