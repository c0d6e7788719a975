//! Operands in shared memory: which 16-byte chunks a matrix instruction reads through a descriptor, and the matrix they hold.
//!
//! A tile is made of rows as wide as the swizzle's span (16 bytes without swizzling). With `T` elements in 16 bytes:
//!
//! | major | swizzle | element (row, k) before the permutation of addresses |
//! |---|---|---|
//! | K | none | `start + (row % 8) * 16 + (row / 8) * stride + (k / T) * leading` + bytes of `k % T` |
//! | K | other | `start + (row % 8) * span + (row / 8) * stride` + bytes of `k`; `leading` is not used |
//! | MN | none | `start + (k % 8) * 16 + (k / 8) * leading + (row / T) * stride` + bytes of `row % T` |
//! | MN | other | `start + (k % 8) * span + (k / 8) * stride + (bytes of row / span) * leading` + bytes of `row % span` |
//!
//! 32-byte atoms have groups of 4 k instead of 8. K-major 128B and none and MN-major 128B were measured on an H200; the others are
//! the canonical layouts of the manual (PTX ISA `#tcgen05-canonical-layouts`). "Row" is a row of A or a column of B.
//!
//! Reading and assembling are apart, so that a machine can check every chunk that is read: `chunk_addresses` first, then `assemble`.

use super::descriptor::{DescriptorError, DescriptorFault, MatrixDescriptor, Swizzle};
use super::packing::Container;

/// Which index is contiguous in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Major {
    /// Elements of one row.
    K,
    /// Elements of one k: the operand is "transposed".
    Mn,
}

/// An operand of `rows` rows and `k` elements a row in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedOperand {
    descriptor: MatrixDescriptor,
    major: Major,
    container: Container,
    rows: u32,
    k: u32,
}

impl SharedOperand {
    /// The operand that a descriptor names.
    ///
    /// # Errors
    /// When the descriptor's swizzle or leading mode does not go with the operand, or its rows run past the swizzle's span.
    ///
    /// # Panics
    /// When the contiguous extent is not a whole number of chunks: the shapes of all instructions are.
    pub fn new(
        descriptor: MatrixDescriptor,
        major: Major,
        container: Container,
        rows: u32,
        k: u32,
    ) -> Result<Self, DescriptorError> {
        let operand = SharedOperand { descriptor, major, container, rows, k };
        let contiguous = if major == Major::K { k } else { rows };
        assert!(contiguous.is_multiple_of(container.per_chunk()), "shapes are whole chunks of 16 bytes");
        match operand.fault() {
            Some(fault) => Err(descriptor.error(fault)),
            None => Ok(operand),
        }
    }

    fn fault(&self) -> Option<DescriptorFault> {
        let MatrixDescriptor { swizzle, absolute_leading, base_offset, start, .. } = self.descriptor;
        let span = swizzle.span();
        if absolute_leading {
            let fits = self.major == Major::K
                && swizzle == Swizzle::Bytes128
                && base_offset == 0
                && self.chunks_per_line() == 3;
            return (!fits).then_some(DescriptorFault::AbsoluteLeadingMisused);
        }
        if self.major == Major::Mn {
            let words = self.container == Container::Words;
            if words && swizzle != Swizzle::Bytes128Atoms32 {
                return Some(DescriptorFault::Atoms32Missing { swizzle: swizzle.name() });
            }
            if !words && swizzle == Swizzle::Bytes128Atoms32 {
                return Some(DescriptorFault::Atoms32Misused { swizzle: swizzle.name() });
            }
            if matches!(self.container, Container::Bits | Container::Nibbles) {
                return Some(DescriptorFault::MnMajorUnavailable { element: "packed" });
            }
        }
        let offset = start % span;
        let line = self.chunks_per_line() * 16;
        let extent = if self.major == Major::K { line } else { line.min(span) };
        let past = swizzle != Swizzle::None && offset + extent > span;
        past.then_some(DescriptorFault::PastSpan { offset, extent, span, swizzle: swizzle.name() })
    }

    /// Rows.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Elements a row.
    pub fn k(&self) -> u32 {
        self.k
    }

    /// Bytes of each chunk that are elements; the rest of the chunk is not read.
    pub fn used_bytes(&self) -> u32 {
        self.container.used_bytes()
    }

    /// Lines are rows of a K-major operand and single k of an MN-major one.
    fn chunks_per_line(&self) -> u32 {
        let contiguous = if self.major == Major::K { self.k } else { self.rows };
        contiguous / self.container.per_chunk()
    }

    fn lines(&self) -> u32 {
        if self.major == Major::K { self.rows } else { self.k }
    }

    /// How many chunks the operand is.
    pub fn chunk_count(&self) -> usize {
        (self.lines() * self.chunks_per_line()) as usize
    }

    /// Offsets in the shared memory of the CTA of every chunk that is read, in the order that `assemble` takes them. An offset may
    /// lie beyond the memory that the CTA has: whoever reads checks it.
    pub fn chunk_addresses(&self) -> impl Iterator<Item = u32> + '_ {
        let lines = 0..self.lines();
        lines.flat_map(move |line| (0..self.chunks_per_line()).map(move |chunk| self.address(line, chunk)))
    }

    /// The rows that chunk number `index` holds elements of.
    pub fn rows_of_chunk(&self, index: usize) -> std::ops::Range<u32> {
        let (line, chunk) = (index as u32 / self.chunks_per_line(), index as u32 % self.chunks_per_line());
        match self.major {
            Major::K => line..line + 1,
            Major::Mn => chunk * self.container.per_chunk()..(chunk + 1) * self.container.per_chunk(),
        }
    }

    fn address(&self, line: u32, chunk: u32) -> u32 {
        let MatrixDescriptor { start, leading, stride, base_offset, absolute_leading, swizzle, .. } = self.descriptor;
        let span = swizzle.span();
        let bytes = chunk * 16;
        let plain = match (self.major, swizzle) {
            (Major::K, Swizzle::None) => start + line % 8 * 16 + line / 8 * stride + chunk * leading,
            (Major::K, _) => {
                let rows = line % 8 * span + line / 8 * stride;
                match start % span + bytes {
                    // The third chunk of 48 bytes may lie in the next tile, whose address is given.
                    within if absolute_leading && within >= span => leading + (within - span) + rows,
                    _ => start + bytes + rows,
                }
            }
            (Major::Mn, Swizzle::None) => start + line % 8 * 16 + line / 8 * leading + chunk * stride,
            (Major::Mn, _) => {
                let group = if swizzle == Swizzle::Bytes128Atoms32 { 4 } else { 8 };
                start + line % group * span + line / group * stride + bytes / span * leading + bytes % span
            }
        };
        swizzle.apply(plain, base_offset)
    }

    /// The matrix as codes, row by row, from the bytes of the chunks in the order of `chunk_addresses`.
    ///
    /// # Panics
    /// When there are not as many bytes as chunks have, or `codes` is not rows times k long.
    pub fn assemble(&self, bytes: &[u8], codes: &mut [u32]) {
        assert_eq!(bytes.len(), self.chunk_count() * 16, "all chunks of the operand");
        assert_eq!(codes.len(), (self.rows * self.k) as usize, "one code for each element");
        let per_chunk = self.container.per_chunk() as usize;
        let (chunks, _) = bytes.as_chunks::<16>();
        match self.major {
            Major::K => {
                for (chunk, codes) in chunks.iter().zip(codes.chunks_exact_mut(per_chunk)) {
                    self.container.unpack(chunk, codes);
                }
            }
            Major::Mn => {
                let k = self.k as usize;
                let mut unpacked = [0; 128];
                let unpacked = &mut unpacked[..per_chunk];
                for (line, line_chunks) in chunks.chunks_exact(self.chunks_per_line() as usize).enumerate() {
                    for (chunk, bytes) in line_chunks.iter().enumerate() {
                        self.container.unpack(bytes, unpacked);
                        for (index, code) in unpacked.iter().enumerate() {
                            codes[(chunk * per_chunk + index) * k + line] = *code;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
