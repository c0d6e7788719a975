//! What inputs, outputs and the arena hold between steps, and which of their bytes anybody wrote.

use crate::error::RuntimeError;
use crate::host_memory::check_fits;
use gable_artifact::{Artifact, BufferRef, Signature, Space, TargetPlan};
use gable_tensor::tensor::byte_count;

/// All memory of a plan but its weights.
pub(super) struct Images {
    inputs: Vec<Image>,
    outputs: Vec<Image>,
    arena: Image,
}

struct Image {
    bytes: Vec<u8>,
    /// One for each byte.
    written: Vec<bool>,
}

impl Image {
    fn new(bytes: usize) -> Image {
        Image { bytes: vec![0; bytes], written: vec![false; bytes] }
    }
}

impl Images {
    /// Memory that nobody wrote, of the sizes that the artifact and the plan say.
    pub fn new(artifact: &Artifact, plan: &TargetPlan) -> Result<Images, RuntimeError> {
        let size = |signature: &Signature| {
            byte_count(signature.dtype, &signature.shape).expect("the artifact's check refuses overflow")
        };
        let ports = artifact.inputs.iter().chain(&artifact.outputs).map(|signature| size(signature) as u64);
        let bytes = ports.fold(plan.arena_bytes, u64::saturating_add);
        // Twice: a byte and its mark.
        check_fits(format!("the plan for {} in the emulator", plan.target), bytes.saturating_mul(2))?;
        let of_signature = |signature: &Signature| Image::new(size(signature));
        Ok(Images {
            inputs: artifact.inputs.iter().map(of_signature).collect(),
            outputs: artifact.outputs.iter().map(of_signature).collect(),
            arena: Image::new(plan.arena_bytes as usize),
        })
    }

    /// Back to memory that nobody wrote.
    pub fn forget(&mut self) {
        for image in self.inputs.iter_mut().chain(&mut self.outputs).chain([&mut self.arena]) {
            image.written.fill(false);
        }
    }

    /// Gives an input its value.
    pub fn set_input(&mut self, index: usize, bytes: &[u8]) {
        self.inputs[index].bytes.copy_from_slice(bytes);
        self.inputs[index].written.fill(true);
    }

    /// An output's bytes, or the first of them that nobody wrote.
    pub fn output(&self, index: usize) -> Result<Vec<u8>, u64> {
        let image = &self.outputs[index];
        match image.written.iter().position(|written| !written) {
            Some(first) => Err(first as u64),
            None => Ok(image.bytes.clone()),
        }
    }

    /// The bytes of a range, zero where nobody wrote yet.
    pub fn bytes(&self, range: &BufferRef) -> &[u8] {
        &self.image(range.space).bytes[span(range)]
    }

    /// Runs of bytes of a range that somebody wrote, each with its offset from the range's start.
    pub fn written(&self, range: &BufferRef) -> impl Iterator<Item = (usize, &[u8])> {
        let (bytes, marks) = (self.bytes(range), &self.image(range.space).written[span(range)]);
        let mut end = 0;
        marks.chunk_by(|one, next| one == next).filter_map(move |run| {
            let start = end;
            end += run.len();
            run[0].then(|| (start, &bytes[start..end]))
        })
    }

    /// The bytes of a range and their marks, to be changed.
    pub fn range_mut(&mut self, range: &BufferRef) -> (&mut [u8], &mut [bool]) {
        let image = match range.space {
            Space::Input(index) => &mut self.inputs[index],
            Space::Output(index) => &mut self.outputs[index],
            Space::Arena => &mut self.arena,
            Space::Weight(_) => unreachable!("no step writes a weight: the artifact was checked"),
        };
        (&mut image.bytes[span(range)], &mut image.written[span(range)])
    }

    /// Sets whole words.
    pub fn fill(&mut self, range: &BufferRef, word: u32) {
        let (bytes, written) = self.range_mut(range);
        bytes.chunks_exact_mut(4).for_each(|chunk| chunk.copy_from_slice(&word.to_le_bytes()));
        written.fill(true);
    }

    /// Copies a range, what is written and what is not.
    pub fn copy(&mut self, source: &BufferRef, target: &BufferRef) {
        let bytes = self.bytes(source).to_vec();
        let marks = self.image(source.space).written[span(source)].to_vec();
        let (target_bytes, target_marks) = self.range_mut(target);
        target_bytes.copy_from_slice(&bytes);
        target_marks.copy_from_slice(&marks);
    }

    fn image(&self, space: Space) -> &Image {
        match space {
            Space::Input(index) => &self.inputs[index],
            Space::Output(index) => &self.outputs[index],
            Space::Arena => &self.arena,
            Space::Weight(_) => unreachable!("weights have no image"),
        }
    }
}

fn span(range: &BufferRef) -> std::ops::Range<usize> {
    range.offset as usize..(range.offset + range.bytes) as usize
}
