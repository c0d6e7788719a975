//! Read-only files mapped into memory: weights of any size are opened without being copied.
//!
//! The bytes stay mapped for as long as any slice of them lives.

use bytes::Bytes;
use std::fs::File;
use std::io;
use std::path::Path;

/// Maps the file at `path`. An empty file gives empty bytes; a folder or a special file is an error.
pub fn map(path: &Path) -> io::Result<Bytes> {
    // Asked before opening: opening a pipe would wait for its writer.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if metadata.len() == 0 {
        return Ok(Bytes::new());
    }
    let file = File::open(path)?;
    #[expect(unsafe_code, reason = "mapping a file is unsafe because another process may change it")]
    // SAFETY: The map is private and read-only, and this process never writes to a file it has mapped. A process that
    // shortens the file under us breaks the contract of every mapped file: files are replaced by renaming, not in place.
    let map = unsafe { memmap2::Mmap::map(&file) }?;
    Ok(Bytes::from_owner(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_outlives_its_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("weights");
        std::fs::write(&path, b"0123456789").expect("the folder is writable");
        let slice = map(&path).expect("the file is there").slice(3..6);
        std::fs::remove_file(&path).expect("the file is there");
        assert_eq!(&slice[..], b"345");
    }

    #[test]
    fn folders_and_missing_files_are_errors() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(map(folder.path()).is_err());
        assert!(map(&folder.path().join("missing")).is_err());
    }
}
