//! Where the test models and their reference outputs are, and reading them.

use gable_tensor::{Tensor, mapped_file, npy};
use std::path::{Path, PathBuf};

/// The folder `name` of the model collection: `GABLE_MODELS`, else `shared/models` beside the workspace. Where it is
/// absent the test says that it is skipped, and on CI it fails.
pub fn folder(name: &str) -> Option<PathBuf> {
    let collection = std::env::var_os("GABLE_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models"), PathBuf::from);
    present(collection.join(name), "set GABLE_MODELS to the model collection")
}

/// The folder of a model that `cargo xtask models` fetches.
pub fn fetched(name: &str) -> Option<PathBuf> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/models");
    present(models.join(name), "run `cargo xtask models`")
}

/// `path`, if it is there; else the test is skipped, visibly, and on CI it fails.
pub fn present(path: PathBuf, remedy: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "`{}` is not there: {remedy}", path.display());
    println!("SKIPPED: `{}` is not there: {remedy}", path.display());
    None
}

/// A `.npy` file.
pub fn array(path: &Path) -> Tensor {
    let file = mapped_file::map(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    npy::read(&file).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
