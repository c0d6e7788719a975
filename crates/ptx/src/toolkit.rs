//! Where programs of a CUDA toolkit lie on this machine, and folders for the files that they read and write.
//!
//! A program is looked for in an environment variable of its own, on `PATH`, in `bin` of `CUDA_HOME` and `CUDA_PATH`, and in
//! `tools/bin` of the workspace that this crate was built in, in this order. It comes with a toolkit, or by `cargo xtask tools`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, io};

/// The program's file, else where it was looked for. `chosen` is the variable that names the file itself.
pub(crate) fn find(
    program: &str,
    chosen: &str,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, Vec<String>> {
    // An explicit choice is never replaced by another file.
    if let Some(path) = variable(chosen) {
        let path = PathBuf::from(path);
        let tried = vec![format!("{chosen} (`{}`)", path.display())];
        return if path.is_file() { Ok(path) } else { Err(tried) };
    }
    let file_name = format!("{program}{}", env::consts::EXE_SUFFIX);
    let on_path = variable("PATH").unwrap_or_default();
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(&variable);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/bin");
    env::split_paths(&on_path)
        .chain(toolkits.map(|toolkit| Path::new(&toolkit).join("bin")))
        .chain([workspace])
        .map(|folder| folder.join(&file_name))
        .find(|path| path.is_file())
        .ok_or_else(|| ["PATH", "CUDA_HOME", "CUDA_PATH", "tools/bin"].map(String::from).into())
}

/// A folder of our own among the temporary files, removed with the value.
pub(crate) struct WorkFolder {
    pub(crate) path: PathBuf,
}

impl WorkFolder {
    /// A new one; the error names the folder that could not be made.
    pub(crate) fn new() -> Result<WorkFolder, (PathBuf, io::Error)> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("gable-toolkit-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(WorkFolder { path }),
                // Left behind by an older process of the same number.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err((path, e)),
            }
        }
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // Nothing depends on it: what stays behind is a few files in the temporary folder.
        let _ = fs::remove_dir_all(&self.path);
    }
}
