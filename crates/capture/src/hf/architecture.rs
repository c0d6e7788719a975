//! The table of architectures. A new one is a file like `llama.rs` or `gemma2.rs`, and a row here.

use super::config::Config;
use super::network::{BuildError, Network};
use super::{bert, gemma2, gpt2, llama, mistral, qwen};

/// One architecture.
#[derive(Debug)]
pub(crate) struct Architecture {
    /// Its name in `architectures` of `config.json`.
    pub(crate) name: &'static str,
    /// Its `model_type`, for files that name no architecture.
    pub(crate) model_type: &'static str,
    /// What may stand before every tensor's name, when the file was saved by a model for some task; or nothing.
    pub(crate) prefix: &'static str,
    /// Patterns of tensors that files hold and the graph does not need; `*` stands for any text at begin or end.
    pub(crate) unused: &'static [&'static str],
    /// Adds inputs, layers and outputs.
    pub(crate) build: fn(&mut Network) -> Result<(), BuildError>,
}

/// Every architecture, in the order in which messages list them.
pub(crate) const ARCHITECTURES: &[Architecture] =
    &[bert::BERT, llama::LLAMA, mistral::MISTRAL, qwen::QWEN2, qwen::QWEN3, gemma2::GEMMA2, gpt2::GPT2];

impl Architecture {
    /// The architecture that a configuration names; else what it names.
    pub(super) fn of(config: &Config) -> Result<&'static Architecture, String> {
        let text = |field| config.optional_text(field).ok().flatten();
        let named = config.optional_texts("architectures").ok().flatten().unwrap_or_default();
        let model_type = text("model_type");
        let found = match named.first() {
            Some(name) => ARCHITECTURES.iter().find(|row| row.name == *name),
            None => ARCHITECTURES.iter().find(|row| Some(row.model_type) == model_type),
        };
        found.ok_or_else(|| match (named.first(), model_type) {
            (Some(name), _) => format!("architecture `{}`", super::json::shortened(name)),
            (None, Some(model_type)) => format!("model type `{}`", super::json::shortened(model_type)),
            (None, None) => "a configuration without `architectures` and `model_type`".to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_has_a_row_in_the_docs() {
        let page = include_str!("../../../../docs/huggingface.md");
        for row in ARCHITECTURES {
            assert!(page.contains(&format!("| `{}` |", row.name)), "docs/huggingface.md lacks `{}`", row.name);
        }
    }
}
