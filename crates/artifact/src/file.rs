//! The form on disk: one file, the same bytes for the same contents on every machine.
//!
//! ```text
//!  0  magic            8 bytes  "GABLE", CR, LF, 0x1A: a transfer that rewrites line ends breaks it visibly
//!  8  format version   u32
//! 12  alignment        u32      256
//! 16  manifest bytes   u64
//! 24  file bytes       u64
//! 32  manifest         JSON: the artifact without its long parts, and the name, offset and length of each section
//!  …  zeros up to a multiple of 256: the body
//!  …  sections         graph, weights, kernels, in the order of the artifact; each starts on a multiple of 256
//! -32 hash             BLAKE3 of everything before it
//! ```
//!
//! Numbers are little endian. Offsets in the manifest count from the body, so they do not depend on the manifest's
//! length. A reader maps the file, checks everything above against the file's length before it looks further, and
//! allocates in proportion to the manifest only. A writer fills a temporary file beside the target and renames it.

use crate::error::{ArtifactError, FormatError};
use crate::plan::Artifact;
use bytes::Bytes;
use gable_tensor::mapped_file;
use serde::{Deserialize, Serialize};
use std::io::{self, BufWriter, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"GABLE\r\n\x1a";
/// Raised whenever a reader of the version before could misread the file.
pub const FORMAT_VERSION: u32 = 2;
/// Sections start on multiples of this, counted from the start of the file: enough for any vector load.
pub const ALIGNMENT: u64 = 256;
const HEADER_BYTES: u64 = 32;
const HASH_BYTES: u64 = 32;

#[derive(Serialize)]
struct ManifestRef<'a> {
    artifact: &'a Artifact,
    sections: Vec<Section>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    artifact: Artifact,
    sections: Vec<Section>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    name: String,
    offset: u64,
    bytes: u64,
}

impl Artifact {
    /// Maps and checks the file at `path`. Weights and assembled code stay in the mapped file.
    pub fn open(path: &Path) -> Result<Artifact, ArtifactError> {
        let file = mapped_file::map(path).map_err(|source| ArtifactError::Io {
            action: "open",
            path: path.to_path_buf(),
            source,
            consequence: "",
        })?;
        Artifact::from_bytes(file).map_err(|source| ArtifactError::Format { path: path.to_path_buf(), source })
    }

    /// Reads and checks a whole file's bytes; weights and assembled code are slices of them.
    pub fn from_bytes(file: Bytes) -> Result<Artifact, FormatError> {
        let (manifest_bytes, body) = read_header(&file)?;
        verify_hash(&file)?;
        let manifest: Manifest =
            serde_json::from_slice(&manifest_bytes).map_err(|error| FormatError::Manifest(error.to_string()))?;
        let mut sections = SectionReader { body, end: 0, sections: manifest.sections.into_iter() };
        let mut artifact = manifest.artifact;
        artifact.graph = sections.text("graph")?;
        for weight in &mut artifact.weights {
            weight.data = sections.bytes(&weight_section(&weight.key))?;
        }
        for plan in &mut artifact.plans {
            for kernel in &mut plan.kernels {
                kernel.ptx = sections.text(&kernel_section(&plan.target, &kernel.name, "ptx"))?;
                kernel.cubin = sections.bytes_if_next(&kernel_section(&plan.target, &kernel.name, "cubin"))?;
            }
        }
        sections.finish()?;
        artifact.check()?;
        Ok(artifact)
    }

    /// Checks the artifact and writes it to `path`: the whole file, or nothing.
    pub fn save(&self, path: &Path) -> Result<(), ArtifactError> {
        self.check().map_err(|source| ArtifactError::Format { path: path.to_path_buf(), source })?;
        self.save_unchecked(path).map_err(|source| ArtifactError::Io {
            action: "write",
            path: path.to_path_buf(),
            source,
            consequence: "; nothing was left there",
        })
    }

    fn save_unchecked(&self, path: &Path) -> io::Result<()> {
        if path.file_name().is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
        }
        if path.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "the path is a folder"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".gable-").suffix(".part");
        // Temporary files are private by default; the artifact is an ordinary file under the user's mask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        // Dropped on any error below, which removes it.
        let mut temporary = builder.tempfile_in(folder)?;
        let mut writer = BufWriter::with_capacity(1 << 20, temporary.as_file_mut());
        self.write_to(&mut writer)?;
        writer.flush()?;
        drop(writer);
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Writes the file's bytes. Does not check.
    pub fn write_to(&self, writer: &mut dyn Write) -> io::Result<()> {
        let contents = self.contents();
        let mut end = 0u64;
        let sections: Vec<Section> = contents
            .iter()
            .map(|(name, data)| {
                let offset = end.next_multiple_of(ALIGNMENT);
                end = offset + data.len() as u64;
                Section { name: name.clone(), offset, bytes: data.len() as u64 }
            })
            .collect();
        let manifest = serde_json::to_vec(&ManifestRef { artifact: self, sections: sections.clone() })?;
        let body = (HEADER_BYTES + manifest.len() as u64).next_multiple_of(ALIGNMENT);

        let mut writer = HashingWriter { inner: writer, hasher: blake3::Hasher::new(), written: 0 };
        writer.write_all(MAGIC)?;
        writer.write_all(&FORMAT_VERSION.to_le_bytes())?;
        writer.write_all(&(ALIGNMENT as u32).to_le_bytes())?;
        writer.write_all(&(manifest.len() as u64).to_le_bytes())?;
        writer.write_all(&(body + end + HASH_BYTES).to_le_bytes())?;
        writer.write_all(&manifest)?;
        for (section, (_, data)) in sections.iter().zip(&contents) {
            writer.pad_to(body + section.offset)?;
            writer.write_all(data)?;
        }
        writer.pad_to(body + end)?;
        let hash = writer.hasher.finalize();
        writer.inner.write_all(hash.as_bytes())
    }

    /// The parts that are stored as sections, in file order. [`Artifact::from_bytes`] asks for them in the same order.
    fn contents(&self) -> Vec<(String, &[u8])> {
        let mut contents = vec![("graph".to_string(), self.graph.as_bytes())];
        contents.extend(self.weights.iter().map(|weight| (weight_section(&weight.key), &weight.data[..])));
        for plan in &self.plans {
            for kernel in &plan.kernels {
                contents.push((kernel_section(&plan.target, &kernel.name, "ptx"), kernel.ptx.as_bytes()));
                if let Some(cubin) = &kernel.cubin {
                    contents.push((kernel_section(&plan.target, &kernel.name, "cubin"), cubin));
                }
            }
        }
        contents
    }
}

fn weight_section(key: &str) -> String {
    format!("weight/{key}")
}

fn kernel_section(target: &str, kernel: &str, kind: &str) -> String {
    format!("{target}/{kernel}.{kind}")
}

/// The manifest's bytes and the body, once magic, version and lengths are right.
fn read_header(file: &Bytes) -> Result<(Bytes, Bytes), FormatError> {
    let start = &file[..file.len().min(MAGIC.len())];
    if start != MAGIC {
        return Err(FormatError::Magic {
            found: start.escape_ascii().to_string(),
            expected: MAGIC.escape_ascii().to_string(),
        });
    }
    let file_bytes = file.len() as u64;
    let smallest = HEADER_BYTES + HASH_BYTES;
    if file_bytes < smallest {
        return Err(FormatError::Length { what: "the file", found: file_bytes, expected: smallest });
    }
    let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes were sliced"));
    let u64_at = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("eight bytes were sliced"));
    let version = u32_at(8);
    if version != FORMAT_VERSION {
        return Err(FormatError::Version { found: version, expected: FORMAT_VERSION });
    }
    let (alignment, manifest_bytes, expected) = (u32_at(12), u64_at(16), u64_at(24));
    if u64::from(alignment) != ALIGNMENT {
        return Err(FormatError::Length { what: "the alignment", found: alignment.into(), expected: ALIGNMENT });
    }
    if file_bytes != expected {
        return Err(FormatError::Length { what: "the file", found: file_bytes, expected });
    }
    let hash_at = file_bytes - HASH_BYTES;
    let body = HEADER_BYTES
        .checked_add(manifest_bytes)
        .and_then(|end| end.checked_next_multiple_of(ALIGNMENT))
        .filter(|&body| body <= hash_at)
        .ok_or(FormatError::Length { what: "the file", found: file_bytes, expected: manifest_bytes })?;
    // Both are at most the file's length, which is a `usize`.
    let (body, manifest_end, hash_at) = (body as usize, (HEADER_BYTES + manifest_bytes) as usize, hash_at as usize);
    Ok((file.slice(HEADER_BYTES as usize..manifest_end), file.slice(body..hash_at)))
}

fn verify_hash(file: &Bytes) -> Result<(), FormatError> {
    let (contents, stored) = file.split_at(file.len() - HASH_BYTES as usize);
    let found = blake3::hash(contents);
    // Compared as bytes: the hash guards against accidents, and there is no secret to leak through timing.
    if found.as_bytes() == stored {
        return Ok(());
    }
    let expected = stored.iter().map(|byte| format!("{byte:02x}")).collect();
    Err(FormatError::Hash { found: found.to_hex().to_string(), expected })
}

/// Hands out sections in file order. Each must start where the one before leaves off, so that no bytes are read twice
/// and what is copied out of the body is never longer than the body.
struct SectionReader {
    body: Bytes,
    end: u64,
    sections: std::vec::IntoIter<Section>,
}

impl SectionReader {
    fn bytes(&mut self, name: &str) -> Result<Bytes, FormatError> {
        let fault = |message: String| FormatError::Section { name: name.to_string(), message };
        let section = self.sections.next().ok_or_else(|| fault("is missing".into()))?;
        if section.name != name {
            return Err(fault(format!("expected here, found `{}`", section.name)));
        }
        let Section { offset, bytes, .. } = section;
        let expected = self.end.next_multiple_of(ALIGNMENT);
        if offset != expected {
            return Err(fault(format!("starts at {offset}, expected {expected}")));
        }
        let end = offset.checked_add(bytes).filter(|&end| end <= self.body.len() as u64);
        let end = end.ok_or_else(|| {
            fault(format!("covers bytes {offset} to {offset} + {bytes}, the body has {}", self.body.len()))
        })?;
        self.end = end;
        Ok(self.body.slice(offset as usize..end as usize))
    }

    fn bytes_if_next(&mut self, name: &str) -> Result<Option<Bytes>, FormatError> {
        match self.sections.as_slice().first() {
            Some(section) if section.name == name => self.bytes(name).map(Some),
            _ => Ok(None),
        }
    }

    fn text(&mut self, name: &str) -> Result<String, FormatError> {
        let bytes = self.bytes(name)?;
        std::str::from_utf8(&bytes)
            .map(str::to_string)
            .map_err(|error| FormatError::Section { name: name.to_string(), message: format!("is not text: {error}") })
    }

    fn finish(mut self) -> Result<(), FormatError> {
        if let Some(section) = self.sections.next() {
            return Err(FormatError::Section { name: section.name, message: "is not expected here".into() });
        }
        if self.end != self.body.len() as u64 {
            return Err(FormatError::Length { what: "the body", found: self.body.len() as u64, expected: self.end });
        }
        Ok(())
    }
}

/// Hashes what passes through.
struct HashingWriter<'a> {
    inner: &'a mut dyn Write,
    hasher: blake3::Hasher,
    written: u64,
}

impl HashingWriter<'_> {
    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        self.hasher.update(data);
        self.written += data.len() as u64;
        self.inner.write_all(data)
    }

    fn pad_to(&mut self, position: u64) -> io::Result<()> {
        let zeros = [0u8; ALIGNMENT as usize];
        // Sections follow one another with less than one alignment between them.
        self.write_all(&zeros[..(position - self.written) as usize])
    }
}
