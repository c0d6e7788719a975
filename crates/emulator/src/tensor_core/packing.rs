//! How elements lie in 16-byte chunks of shared memory and in the 32-bit cells of tensor memory.
//!
//! Operands of 4 and 6 bits are padded to one byte an element in the kinds that mix types, and packed where both operands are
//! e2m1 (PTX ISA `#tcgen05-packing-formats`).

use super::element::Element;

/// How elements fill 16 bytes of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// 128 elements of one bit.
    Bits,
    /// 32 elements of 4 bits, the even one in the low half of its byte.
    Nibbles,
    /// 16 elements of 4 bits in 8 bytes, then 8 bytes that are not read as elements.
    PaddedNibbles,
    /// 16 elements of 6 bits in 12 bytes, then 4 bytes that are not read as elements.
    PaddedSixes,
    /// 16 elements of a byte.
    Bytes,
    /// 8 elements of two bytes.
    Halves,
    /// 4 elements of four bytes.
    Words,
}

impl Container {
    /// Where wgmma, and the tcgen05 kinds that mix types, keep an element.
    pub const fn mixed(element: Element) -> Container {
        match element.bits() {
            1 => Container::Bits,
            4 => Container::PaddedNibbles,
            6 => Container::PaddedSixes,
            8 => Container::Bytes,
            16 => Container::Halves,
            _ => Container::Words,
        }
    }

    /// Elements of a chunk of 16 bytes.
    pub const fn per_chunk(self) -> u32 {
        match self {
            Container::Bits => 128,
            Container::Nibbles => 32,
            Container::PaddedNibbles | Container::PaddedSixes | Container::Bytes => 16,
            Container::Halves => 8,
            Container::Words => 4,
        }
    }

    /// Bytes of a chunk that hold elements, from its first.
    pub const fn used_bytes(self) -> u32 {
        match self {
            Container::PaddedNibbles => 8,
            Container::PaddedSixes => 12,
            _ => 16,
        }
    }

    /// The codes of a chunk, in order.
    ///
    /// # Panics
    /// When `codes` is not `per_chunk` long: the caller cuts it so.
    pub fn unpack(self, chunk: &[u8; 16], codes: &mut [u32]) {
        assert_eq!(codes.len(), self.per_chunk() as usize, "one code for each element of the chunk");
        match self {
            Container::Halves => {
                for (code, bytes) in codes.iter_mut().zip(chunk.chunks_exact(2)) {
                    *code = u32::from(u16::from_le_bytes([bytes[0], bytes[1]]));
                }
            }
            Container::Words => {
                for (code, bytes) in codes.iter_mut().zip(chunk.chunks_exact(4)) {
                    *code = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                }
            }
            Container::Bytes => codes.iter_mut().zip(chunk).for_each(|(code, byte)| *code = u32::from(*byte)),
            Container::Bits => unpack_bits(chunk, 1, codes),
            Container::Nibbles | Container::PaddedNibbles => unpack_bits(chunk, 4, codes),
            Container::PaddedSixes => unpack_bits(chunk, 6, codes),
        }
    }
}

/// Fields of `width` bits from the lowest on.
fn unpack_bits(chunk: &[u8; 16], width: usize, codes: &mut [u32]) {
    let bits = u128::from_le_bytes(*chunk);
    for (index, code) in codes.iter_mut().enumerate() {
        *code = (bits >> (width * index)) as u32 & ((1 << width) - 1);
    }
}

/// How elements of A fill the 32-bit cells of a lane of tensor memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CellContainer {
    /// Eight elements of 4 bits, the even one in the low half of its byte: the kinds where both operands are e2m1.
    Nibbles,
    /// Four bytes with an e2m1 code in bits 2-5 each.
    NibbleBytes,
    /// Four bytes with a 6-bit code in bits 0-5 each.
    SixBytes,
    /// Four elements of a byte.
    Bytes,
    /// Two elements of two bytes.
    Halves,
    /// One element.
    Word,
}

impl CellContainer {
    /// Where the tcgen05 kinds that mix types keep an element of A.
    pub const fn mixed(element: Element) -> CellContainer {
        match element.bits() {
            4 => CellContainer::NibbleBytes,
            6 => CellContainer::SixBytes,
            8 => CellContainer::Bytes,
            16 => CellContainer::Halves,
            _ => CellContainer::Word,
        }
    }

    /// Elements of a cell.
    pub const fn per_cell(self) -> u32 {
        match self {
            CellContainer::Nibbles => 8,
            CellContainer::NibbleBytes | CellContainer::SixBytes | CellContainer::Bytes => 4,
            CellContainer::Halves => 2,
            CellContainer::Word => 1,
        }
    }

    /// The code of element `index` of a cell.
    pub const fn code(self, cell: u32, index: u32) -> u32 {
        match self {
            CellContainer::Nibbles => cell >> (4 * index) & 0xf,
            CellContainer::NibbleBytes => cell >> (8 * index + 2) & 0xf,
            CellContainer::SixBytes => cell >> (8 * index) & 0x3f,
            CellContainer::Bytes => cell >> (8 * index) & 0xff,
            CellContainer::Halves => cell >> (16 * index) & 0xffff,
            CellContainer::Word => cell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(container: Container, chunk: [u8; 16]) -> Vec<u32> {
        let mut codes = vec![0; container.per_chunk() as usize];
        container.unpack(&chunk, &mut codes);
        codes
    }

    #[test]
    fn padded_elements_ignore_the_gap() {
        let mut chunk = [0xff; 16];
        chunk[..8].copy_from_slice(&[0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe]);
        assert_eq!(unpacked(Container::PaddedNibbles, chunk), (0..16).collect::<Vec<u32>>());
        let sixes: u128 = (0..16u128).map(|code| (code * 4 + 1) << (6 * code)).sum();
        let chunk = (sixes | 0xdead_beef << 96).to_le_bytes();
        assert_eq!(unpacked(Container::PaddedSixes, chunk), (0..16).map(|code| code * 4 + 1).collect::<Vec<u32>>());
    }

    #[test]
    fn packed_nibbles_put_the_even_element_low() {
        let codes = unpacked(Container::Nibbles, [0x21; 16]);
        assert_eq!((codes.len(), codes[0], codes[1], codes[31]), (32, 1, 2, 2));
        assert_eq!(unpacked(Container::Halves, [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4])[7], 0x0403);
    }

    #[test]
    fn cells_hold_four_bit_codes_in_the_middle_of_a_byte() {
        assert_eq!(CellContainer::NibbleBytes.code(0x3c_00_04_00, 1), 1);
        assert_eq!(CellContainer::NibbleBytes.code(0x3c_00_04_00, 3), 15);
        assert_eq!(CellContainer::Nibbles.code(0x8000_0021, 7), 8);
        assert_eq!(CellContainer::Halves.code(0x1234_5678, 1), 0x1234);
    }
}
