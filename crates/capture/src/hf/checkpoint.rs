//! The tensors of a checkpoint folder: `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
//!
//! Holds from here on: every listed tensor is in the shard that the index says; no tensor is in two shards.
//! Files of the folder may be links: model caches store the data elsewhere. Names in the index may not leave the folder.

use super::json::{object, shortened};
use super::safetensors::{self, Stored};
use crate::error::CaptureError;
use gable_tensor::mapped_file;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Tensors by name, each a slice of a mapped file.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint {
    pub(crate) tensors: BTreeMap<String, Stored>,
}

impl Checkpoint {
    /// Opens the checkpoint in `folder`. Where both forms are there, the single file counts.
    pub(crate) fn open(folder: &Path) -> Result<Checkpoint, CaptureError> {
        if folder.join(SINGLE).exists() {
            return Ok(Checkpoint { tensors: safetensors::open(&folder.join(SINGLE))? });
        }
        if folder.join(INDEX).exists() {
            return open_shards(folder);
        }
        let problem =
            if folder.join("pytorch_model.bin").exists() || folder.join("pytorch_model.bin.index.json").exists() {
                "holds pickled weights only; save the model with save_pretrained(safe_serialization=True)".to_string()
            } else {
                format!("has neither `{SINGLE}` nor `{INDEX}`")
            };
        Err(CaptureError::Malformed { file: folder.to_path_buf(), place: "model folder".into(), problem })
    }
}

fn open_shards(folder: &Path) -> Result<Checkpoint, CaptureError> {
    let index = folder.join(INDEX);
    let malformed = |place: &str, problem: String| CaptureError::Malformed {
        file: index.clone(),
        place: place.to_string(),
        problem,
    };
    let text = mapped_file::map(&index).map_err(|source| CaptureError::Read { file: index.clone(), source })?;
    let fields = object(&text).map_err(|problem| malformed("index", problem))?;
    let map = fields.get("weight_map").and_then(|map| map.as_object());
    let map =
        map.ok_or_else(|| malformed("weight_map", "is absent or no object of tensor names and file names".into()))?;

    let mut shard_of: BTreeMap<&str, &str> = BTreeMap::new();
    for (tensor, shard) in map {
        let place = format!("weight_map, tensor `{}`", shortened(tensor));
        let shard = shard.as_str().filter(|name| is_plain_file_name(name)).ok_or_else(|| {
            let found = shortened(&shard.to_string());
            malformed(&place, format!("lies in {found}, expected the name of a file in the model's folder"))
        })?;
        shard_of.insert(tensor, shard);
    }
    let shards: BTreeSet<&str> = shard_of.values().copied().collect();
    let mut checkpoint = Checkpoint::default();
    let mut home: BTreeMap<String, &str> = BTreeMap::new();
    for shard in shards {
        if !folder.join(shard).exists() {
            return Err(malformed(
                &format!("shard `{shard}`"),
                "is not in the folder; the download is incomplete".into(),
            ));
        }
        for (name, stored) in safetensors::open(&folder.join(shard))? {
            if let Some(other) = home.insert(name.clone(), shard) {
                let place = format!("tensor `{}`", shortened(&name));
                return Err(malformed(&place, format!("is in two shards, `{other}` and `{shard}`")));
            }
            checkpoint.tensors.insert(name, stored);
        }
    }
    for (name, shard) in shard_of {
        if home.get(name) != Some(&shard) {
            let place = format!("weight_map, tensor `{}`", shortened(name));
            return Err(malformed(&place, format!("is not in `{shard}`, where the index says it lies")));
        }
    }
    Ok(checkpoint)
}

/// A name without folders, as `model-00001-of-00002.safetensors`.
fn is_plain_file_name(name: &str) -> bool {
    name.ends_with(".safetensors") && !name.contains(['/', '\\', ':', '\0'])
}
