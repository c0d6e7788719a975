//! Sixteen neighbouring bytes of a factor, from memory into the four words that a fragment is made of.

use super::super::problem::{ContractionError, Memory, Side};
use super::super::values::load_into;
use gable_ptx::meaning::{Access, Cache};
use gable_ptx::{B32, B64, KernelBuilder, Pred, R, Reg, ScalarType, Space};

/// Bytes that a lane brings at once.
pub(in super::super) const CHUNK_BYTES: u32 = 16;

/// A chunk's registers: four words, or eight halves of them where elements are aligned to no more than 16 bits.
pub(in super::super) type Chunk = Vec<R<B32>>;

/// How a factor's chunks are loaded.
pub(in super::super) struct Source {
    /// Bytes from one outer index to the next.
    pub row_bytes: u32,
    /// Bytes of one load.
    vector: u32,
    cache: Cache,
}

/// Bytes of a matrix of elements of `bits` bits along k that lie together at an address aligned to them, at most
/// [`CHUNK_BYTES`].
pub(in super::super) fn vector_bytes(memory: &Memory, bits: u32) -> u32 {
    if bits >= 8 {
        return (memory.vector().1 * memory.stored.bytes()) as u32;
    }
    let k: u64 = memory.k.iter().map(|digit| digit.size as u64).product();
    let rows =
        memory.outer.iter().map(|digit| digit.stride as u64).chain([k]).map(|elements| elements * u64::from(bits));
    let together = rows.chain([memory.alignment as u64 * 8]).map(|bits| 1u32 << bits.trailing_zeros().min(7)).min();
    together.map_or(0, |bits| bits / 8)
}

impl Source {
    /// Of a factor that is a matrix along k, of elements of `bits` bits.
    pub fn new(memory: &Memory, bits: u32, side: Side) -> Source {
        Source {
            row_bytes: (memory.outer.first().map_or(0, |digit| digit.stride as u64) * u64::from(bits) / 8) as u32,
            vector: vector_bytes(memory, bits),
            // B is read once: a copy in L1 would only push out A, which every group of columns reads again.
            cache: if side == Side::A { Cache::ReadOnly } else { Cache::ReadOnlyStream },
        }
    }

    /// Registers for a chunk, which nothing has written yet.
    pub fn chunk(&self, k: &mut KernelBuilder) -> Chunk {
        let count = if self.vector < 4 { CHUNK_BYTES / self.vector } else { CHUNK_BYTES / 4 };
        (0..count).map(|_| k.fresh()).collect()
    }

    /// Loads the chunk at `base + offset` bytes. `inside` gives, for bytes of the chunk, the predicate under which they
    /// are loaded; where `zeroed`, they are zero else.
    pub fn load(
        &self,
        k: &mut KernelBuilder,
        (base, offset): (R<B64>, u64),
        chunk: &Chunk,
        zeroed: bool,
        mut inside: impl FnMut(&mut KernelBuilder, u32) -> Option<R<Pred>>,
    ) -> Result<(), ContractionError> {
        // The offset of an address has 31 bits.
        let (base, offset) = match i32::try_from(offset + u64::from(CHUNK_BYTES)) {
            Ok(_) => (base, offset as i32),
            Err(_) => (k.add_u64(base, offset), 0),
        };
        let pieces = CHUNK_BYTES / self.vector;
        for (piece, registers) in (0..).zip(chunk.chunks(chunk.len() / pieces as usize)) {
            let predicate = inside(k, piece * self.vector);
            if zeroed {
                for &register in registers {
                    k.set(register).mov_b32(0);
                }
            }
            let registers: Vec<Reg> = registers.iter().map(|register| register.reg()).collect();
            let ty = if self.vector < 4 { ScalarType::U16 } else { ScalarType::B32 };
            let access = Access { space: Space::Global, ty, count: registers.len() as u8, cache: self.cache };
            let address = base.at(offset + (piece * self.vector) as i32);
            match predicate {
                None => load_into(k, access, address.into(), &registers)?,
                Some(predicate) => k.when(predicate, |k| load_into(k, access, address.into(), &registers))?,
            }
        }
        Ok(())
    }

    /// The chunk as four words.
    pub fn words(&self, k: &mut KernelBuilder, chunk: &Chunk) -> [R<B32>; 4] {
        match chunk[..] {
            [a, b, c, d] => [a, b, c, d],
            // The lower halves of two registers.
            _ => std::array::from_fn(|i| k.prmt_b32(chunk[2 * i], chunk[2 * i + 1], 0x5410)),
        }
    }
}
