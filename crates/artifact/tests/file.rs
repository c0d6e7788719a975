//! The file form: what is written comes back, and nothing else is taken for it.

mod sample;

use gable_artifact::{Artifact, ArtifactError, FormatError};
use proptest::prelude::*;
use std::io::{self, Write};

fn encoded(artifact: &Artifact) -> Vec<u8> {
    let mut file = Vec::new();
    artifact.write_to(&mut file).expect("writing to memory works");
    file
}

fn read(file: impl Into<Vec<u8>>) -> Result<Artifact, FormatError> {
    Artifact::from_bytes(file.into().into())
}

/// The file with a hash that fits its contents, as a forger would leave it.
fn rehashed(mut file: Vec<u8>) -> Vec<u8> {
    let hash_at = file.len() - 32;
    let hash = blake3::hash(&file[..hash_at]);
    file[hash_at..].copy_from_slice(hash.as_bytes());
    file
}

/// The sample with one piece of its manifest replaced by text of the same length, hash made to fit.
fn forged(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "lengths in the header stay right");
    let mut file = encoded(&sample::artifact());
    let at = file.windows(from.len()).position(|window| window == from.as_bytes()).expect("the manifest holds it");
    file[at..at + to.len()].copy_from_slice(to.as_bytes());
    rehashed(file)
}

#[test]
fn a_saved_artifact_opens_unchanged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sample.gable");
    let artifact = sample::artifact();
    artifact.save(&path).expect("the folder is writable");
    let opened = Artifact::open(&path).expect("the file is whole");
    assert_eq!(opened, artifact);
    assert_eq!(opened.weights[0].data.as_ptr().align_offset(256), 0, "weights are aligned in the mapped file");
    opened.save(&path).expect("an opened artifact may replace its own file");
    assert_eq!(Artifact::open(&path).expect("the file is whole"), artifact);
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1, "no temporary file is left");
}

#[test]
fn the_same_contents_give_the_same_bytes() {
    let file = encoded(&sample::artifact());
    assert_eq!(encoded(&read(file.clone()).expect("valid")), file);
    // Pins the format: when this changes on purpose, raise `FORMAT_VERSION` and renew the hash.
    assert_eq!(
        blake3::hash(&file).to_hex().as_str(),
        "bdf5982570d43dfd058f4870633aef41bb0edbd8aad0cba630088adcb35bfff2"
    );
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let file = encoded(&sample::artifact());
    for length in 0..file.len() {
        let error = read(&file[..length]).expect_err("a part is no artifact");
        let expected = if length < 8 { "not a gable artifact" } else { "truncated" };
        assert!(error.to_string().contains(expected), "{length}: {error}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let file = encoded(&sample::artifact());
    for at in 0..file.len() {
        let mut file = file.clone();
        file[at] ^= 1 << (at % 8);
        read(file).expect_err("an altered file is no artifact");
    }
}

#[test]
fn a_long_tail_is_refused() {
    let mut file = encoded(&sample::artifact());
    file.push(0);
    assert!(matches!(read(file), Err(FormatError::Length { what: "the file", .. })));
}

#[test]
fn other_files_and_versions_are_named() {
    let error = read(*b"PK\x03\x04 a zip file, in fact").expect_err("not ours");
    assert_eq!(error.to_string(), r"not a gable artifact: it begins with PK\x03\x04 a z, expected GABLE\r\n\x1a");
    let mut file = encoded(&sample::artifact());
    file[8] = 9;
    assert_eq!(read(file), Err(FormatError::Version { found: 9, expected: 2 }));
}

#[test]
fn a_huge_manifest_length_asks_for_no_memory() {
    for length in [u64::MAX, u64::MAX - 32, 1 << 40] {
        let mut file = encoded(&sample::artifact());
        file[16..24].copy_from_slice(&length.to_le_bytes());
        assert!(matches!(read(rehashed(file)), Err(FormatError::Length { .. })), "{length}");
    }
}

#[test]
fn forged_sections_are_refused() {
    let overlap = read(forged(r#""offset":256,"#, r#""offset":000,"#)).expect_err("leading zeros are no JSON");
    assert!(matches!(overlap, FormatError::Manifest(_)), "{overlap}");
    for (from, to, message) in [
        (r#""offset":256,"#, r#""offset":512,"#, "starts at 512, expected 256"),
        (r#""offset":256,"bytes":64}"#, r#""offset":256,"bytes":65}"#, "holds 65 bytes, its shape needs 64"),
        (r#""bytes":29}]}"#, r#""bytes":99}]}"#, "section `sm_120a/spare.ptx`: covers bytes"),
        (r#""bytes":29}]}"#, r#""bytes":28}]}"#, "the body is"),
        (r#""name":"graph""#, r#""name":"grape""#, "expected here, found `grape`"),
        (r#""target":"sm_90a""#, r#""target":"sm_90b""#, "expected here"),
    ] {
        let error = read(forged(from, to)).expect_err("the sections contradict the manifest");
        assert!(error.to_string().contains(message), "{from} -> {to}: {error}");
    }
}

#[test]
fn forged_plans_are_refused() {
    for (from, to, message) in [
        (r#""kernel":0"#, r#""kernel":9"#, "plan sm_90a, step 0 (scale): kernel 9 of 2"),
        (r#""arena_bytes":96"#, r#""arena_bytes":95"#, "arena[64, +32] reaches past its 95 bytes"),
        (r#"{"input":0}"#, r#"{"input":3}"#, "input 3[0, +64] does not exist: there are 1"),
        (r#""shape":[8,2]"#, r#""shape":[7,2]"#, "reaches past its 56 bytes"),
        (r#""dtype":"f32""#, r#""dtype":"f31""#, "unknown element type `f31`"),
    ] {
        let error = read(forged(from, to)).expect_err("the plan is broken");
        assert!(error.to_string().contains(message), "{from} -> {to}: {error}");
    }
}

/// A disk with room for so many bytes.
struct SmallDisk(usize);

impl Write for SmallDisk {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = data.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_at_every_byte() {
    let artifact = sample::artifact();
    let length = encoded(&artifact).len();
    for room in (0..length).step_by(7) {
        let error = artifact.write_to(&mut SmallDisk(room)).expect_err("there is too little room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
    artifact.write_to(&mut SmallDisk(length)).expect("it fits exactly");
}

#[test]
fn a_failed_save_leaves_nothing_and_keeps_what_was_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = folder.path().join("missing/sample.gable");
    let error = sample::artifact().save(&missing).expect_err("the folder does not exist");
    assert!(error.to_string().contains("missing/sample.gable"), "{error}");
    assert!(error.to_string().contains("nothing was left there"), "{error}");

    let error = sample::artifact().save(folder.path()).expect_err("the path is a folder");
    assert!(matches!(error, ArtifactError::Io { .. }), "{error}");

    let path = folder.path().join("sample.gable");
    std::fs::write(&path, "precious").expect("the folder is writable");
    let mut broken = sample::artifact();
    broken.plans[0].arena_bytes = 0;
    let error = broken.save(&path).expect_err("the arena is too small");
    assert!(error.to_string().contains("reaches past its 0 bytes"), "{error}");
    assert_eq!(std::fs::read(&path).expect("it is still there"), b"precious");
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1, "no temporary file is left");
}

#[test]
fn an_unreadable_path_is_named() {
    let error = Artifact::open("no/such/file.gable".as_ref()).expect_err("there is no such file");
    assert!(error.to_string().starts_with("cannot open `no/such/file.gable`: "), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(read(bytes.clone()).is_err());
        let mut file = b"GABLE\r\n\x1a\x01\0\0\0\0\x01\0\0".to_vec();
        file.extend(bytes);
        prop_assert!(read(file).is_err());
    }

    /// Damage that the hash does not catch, because the forger fixed it.
    #[test]
    fn forged_bytes_never_panic(edits in proptest::collection::vec((0usize..1 << 16, any::<u8>()), 1..4)) {
        let mut file = encoded(&sample::artifact());
        for (at, byte) in edits {
            let at = at % (file.len() - 32);
            file[at] = byte;
        }
        if let Ok(artifact) = read(rehashed(file)) {
            prop_assert_eq!(artifact.check(), Ok(()));
        }
    }

    /// As above, but the edits are numbers in the manifest, which survive parsing more often.
    #[test]
    fn forged_numbers_never_panic(edits in proptest::collection::vec((any::<prop::sample::Index>(), b'0'..=b'9'), 1..4)) {
        let mut file = encoded(&sample::artifact());
        let digits: Vec<usize> = (32..file.len() - 32).filter(|&at| file[at].is_ascii_digit()).collect();
        for (index, digit) in edits {
            file[*index.get(&digits)] = digit;
        }
        if let Ok(artifact) = read(rehashed(file)) {
            prop_assert_eq!(artifact.check(), Ok(()));
        }
    }
}
