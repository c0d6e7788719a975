//! Tensor data in files beside the model: mapped, and never outside the model's folder.
//!
//! In: the `external_data` entries of a tensor (`location`, `offset`, `length`). Out: a view of the mapped file.
//! A location is refused when it is absolute, climbs with `..`, or reaches out of the folder through a link.

use crate::onnx::proto::TensorProto;
use bytes::Bytes;
use gable_tensor::mapped_file;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The files that one model's tensors lie in, each mapped once.
#[derive(Debug)]
pub(crate) struct ExternalFiles {
    /// The folder of the model file.
    folder: PathBuf,
    mapped: BTreeMap<PathBuf, Bytes>,
}

impl ExternalFiles {
    pub(crate) fn beside(model: &Path) -> ExternalFiles {
        // The parent of a bare file name is the empty path.
        let folder = model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        ExternalFiles { folder: folder.to_path_buf(), mapped: BTreeMap::new() }
    }

    /// The `expected` bytes of a tensor; the error says which entry is at fault.
    pub(crate) fn data(&mut self, tensor: &TensorProto, expected: usize) -> Result<Bytes, String> {
        let entry = |key: &str| {
            let found = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key));
            found.map(|entry| entry.value.as_deref().unwrap_or_default())
        };
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => text
                .parse::<usize>()
                .map(Some)
                .map_err(|_| format!("external data `{key}` is `{text}`, expected a number of bytes")),
        };
        let location = entry("location").ok_or("external data has no `location`, expected a file beside the model")?;
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(expected);
        if length != expected {
            return Err(format!("external data `length` is {length}, but type and shape need {expected} bytes"));
        }
        let file = self.open(location)?;
        let end = offset.checked_add(length).filter(|&end| end <= file.len());
        let end = end.ok_or_else(|| {
            format!(
                "external data at offset {offset} with {length} bytes passes the end of `{location}`, which has {} \
                 bytes; the file is cut or belongs to another model",
                file.len()
            )
        })?;
        Ok(file.slice(offset..end))
    }

    fn open(&mut self, location: &str) -> Result<Bytes, String> {
        let relative = Path::new(location);
        let inside = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || !inside {
            return Err(format!(
                "external data `location` is `{location}`, expected a path inside the model's folder, \
                 neither absolute nor with `..`"
            ));
        }
        if let Some(file) = self.mapped.get(relative) {
            return Ok(file.clone());
        }
        let path = self.folder.join(relative);
        let error = |e: std::io::Error| format!("external data file `{}` cannot be read: {e}", path.display());
        let folder = self.folder.canonicalize().map_err(error)?;
        let target = path.canonicalize().map_err(error)?;
        if !target.starts_with(&folder) {
            return Err(format!(
                "external data `location` is `{location}`, a link to `{}`, which is outside the model's folder; \
                 put the file itself beside the model",
                target.display()
            ));
        }
        let file = mapped_file::map(&target).map_err(error)?;
        self.mapped.insert(relative.to_path_buf(), file.clone());
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::StringStringEntryProto;

    fn read(folder: &Path, entries: &[(&str, &str)], expected: usize) -> Result<Bytes, String> {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
            key: Some(key.to_string()),
            value: Some(value.to_string()),
        };
        let tensor = TensorProto { external_data: entries.iter().map(entry).collect(), ..TensorProto::default() };
        ExternalFiles::beside(&folder.join("model.onnx")).data(&tensor, expected)
    }

    #[test]
    fn data_is_read_from_the_models_folder_and_nowhere_else() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        let folder = outer.path().join("model");
        std::fs::create_dir(&folder).expect("the folder is new");
        std::fs::write(folder.join("weights"), b"0123456789").expect("the folder is writable");
        std::fs::write(outer.path().join("secret"), b"0123456789").expect("the folder is writable");

        let found = read(&folder, &[("location", "weights"), ("offset", "3"), ("length", "4")], 4);
        assert_eq!(found.as_deref(), Ok(&b"3456"[..]));

        let absolute = outer.path().join("secret").display().to_string();
        for (entries, message) in [
            (vec![("location", "../secret")], "neither absolute nor with `..`"),
            (vec![("location", absolute.as_str())], "neither absolute nor with `..`"),
            (vec![("location", "")], "expected a path inside"),
            (vec![], "has no `location`"),
            (vec![("location", "absent")], "cannot be read"),
            (vec![("location", ".")], "not a regular file"),
            (vec![("location", "weights"), ("offset", "7")], "passes the end of `weights`, which has 10 bytes"),
            (vec![("location", "weights"), ("offset", "18446744073709551615")], "passes the end"),
            (vec![("location", "weights"), ("offset", "-1")], "`offset` is `-1`"),
            (vec![("location", "weights"), ("length", "5")], "`length` is 5, but type and shape need 4 bytes"),
        ] {
            let error = read(&folder, &entries, 4).expect_err("refused");
            assert!(error.contains(message), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_out_are_refused_and_links_within_are_not() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        let folder = outer.path().join("model");
        std::fs::create_dir(&folder).expect("the folder is new");
        std::fs::write(outer.path().join("secret"), b"0123").expect("the folder is writable");
        std::fs::write(folder.join("weights"), b"0123").expect("the folder is writable");
        std::os::unix::fs::symlink("../secret", folder.join("out")).expect("links can be made");
        std::os::unix::fs::symlink("weights", folder.join("in")).expect("links can be made");
        let error = read(&folder, &[("location", "out")], 4).expect_err("refused");
        assert!(error.contains("outside the model's folder"), "{error}");
        assert!(read(&folder, &[("location", "in")], 4).is_ok());
    }
}
