//! Every layout, written by the formula of a tensor copy and read back through a descriptor.

use super::*;
use crate::tensor_core::descriptor::Format;

const BLACKWELL: Format = Format::Blackwell { absolute_leading: true };

fn encode(start: u32, leading: u32, stride: u32, swizzle: Swizzle) -> u64 {
    let mode = match swizzle {
        Swizzle::None => 0u64,
        Swizzle::Bytes128Atoms32 => 1,
        Swizzle::Bytes128 => 2,
        Swizzle::Bytes64 => 4,
        Swizzle::Bytes32 => 6,
    };
    u64::from(start >> 4) | u64::from(leading >> 4) << 16 | u64::from(stride >> 4) << 32 | 1 << 46 | mode << 61
}

fn descriptor(start: u32, leading: u32, stride: u32, swizzle: Swizzle) -> MatrixDescriptor {
    MatrixDescriptor::decode(encode(start, leading, stride, swizzle), BLACKWELL).unwrap()
}

fn read(operand: &SharedOperand, memory: &[u8]) -> Vec<u32> {
    let mut bytes = Vec::new();
    for address in operand.chunk_addresses() {
        bytes.extend_from_slice(&memory[address as usize..address as usize + 16]);
    }
    let mut codes = vec![0; (operand.rows() * operand.k()) as usize];
    operand.assemble(&bytes, &mut codes);
    codes
}

/// Bits of the value at (row, k): all different for as long as the width allows, never zero by accident of layout.
fn value(row: u32, k: u32, width: u32) -> u32 {
    let mixed = (row * 611 + k * 37 + 5).wrapping_mul(0x9e37_79b1) >> 7;
    if width == 32 { mixed } else { mixed & ((1 << width) - 1) }
}

/// Where a tensor copy puts byte `byte` of line `line` of a box of lines `span` bytes wide: rows one after the other, and in a
/// table of 8 rows the chunk moved by the row, computed from the row number and not from the address.
fn copied(base: u32, line: u32, byte: u32, swizzle: Swizzle) -> u32 {
    let (atom, lines_per_step) = match swizzle {
        Swizzle::None => (16, 1),
        Swizzle::Bytes32 => (16, 4),
        Swizzle::Bytes64 => (16, 2),
        Swizzle::Bytes128 => (16, 1),
        Swizzle::Bytes128Atoms32 => (32, 1),
    };
    let span = swizzle.span();
    let chunks = span / atom;
    let moved = if swizzle == Swizzle::None { 0 } else { line / lines_per_step % chunks };
    base + line * span + ((byte / atom) ^ moved) * atom + byte % atom
}

/// Writes `width`-bit elements of bytes, halves or words.
fn write(memory: &mut [u8], address: u32, width: u32, value: u32) {
    let bytes = value.to_le_bytes();
    memory[address as usize..(address + width / 8) as usize].copy_from_slice(&bytes[..(width / 8) as usize]);
}

const WIDTHS: [(Container, u32); 3] = [(Container::Bytes, 8), (Container::Halves, 16), (Container::Words, 32)];

#[test]
fn k_major_tiles_read_back_in_every_swizzle_and_width() {
    for swizzle in Swizzle::ALL {
        for (container, width) in WIDTHS {
            let (rows, k) = (24, 32 * 8 / width);
            // A tile of one span along K; the instruction takes 32 bytes of it at each step.
            let span = swizzle.span();
            let boxes = if swizzle == Swizzle::None { 2 } else { 1 };
            let box_bytes = rows * span;
            let mut memory = vec![0u8; 1024 + (boxes * box_bytes) as usize];
            let per_span = span * 8 / width;
            for row in 0..rows {
                for element in 0..per_span * boxes {
                    let base = 1024 + element / per_span * box_bytes;
                    let address = copied(base, row, element % per_span * width / 8, swizzle);
                    write(&mut memory, address, width, value(row, element, width));
                }
            }
            let steps = if swizzle == Swizzle::None { 1 } else { span / 32 };
            for step in 0..steps {
                let descriptor = descriptor(1024 + step * 32, box_bytes, 8 * span, swizzle);
                let operand = SharedOperand::new(descriptor, Major::K, container, rows, k).unwrap();
                let codes = read(&operand, &memory);
                for row in 0..rows {
                    for column in 0..k {
                        let expected = value(row, step * k + column, width);
                        assert_eq!(codes[(row * k + column) as usize], expected, "{swizzle:?} {width} {row} {column}");
                    }
                }
            }
        }
    }
}

#[test]
fn mn_major_tiles_read_back_in_every_swizzle_and_width() {
    for swizzle in Swizzle::ALL {
        for (container, width) in WIDTHS {
            if (width == 32) != (swizzle == Swizzle::Bytes128Atoms32) {
                continue;
            }
            // Boxes of one span of rows by all of k, one after the other along the rows.
            let (rows, k) = (256, 32 * 8 / width);
            let span = swizzle.span();
            let per_span = span * 8 / width;
            let box_bytes = k * span;
            let mut memory = vec![0u8; 1024 + (rows / per_span * box_bytes) as usize];
            for row in 0..rows {
                for column in 0..k {
                    let base = 1024 + row / per_span * box_bytes;
                    let address = copied(base, column, row % per_span * width / 8, swizzle);
                    write(&mut memory, address, width, value(row, column, width));
                }
            }
            let group = if swizzle == Swizzle::Bytes128Atoms32 { 4 } else { 8 };
            let (leading, stride) = match swizzle {
                Swizzle::None => (group * span, box_bytes),
                _ => (box_bytes, group * span),
            };
            let descriptor = descriptor(1024, leading, stride, swizzle);
            let operand = SharedOperand::new(descriptor, Major::Mn, container, rows, k).unwrap();
            let codes = read(&operand, &memory);
            for row in 0..rows {
                for column in 0..k {
                    let expected = value(row, column, width);
                    assert_eq!(codes[(row * k + column) as usize], expected, "{swizzle:?} {width} {row} {column}");
                }
            }
        }
    }
}

#[test]
fn two_steps_along_k_of_an_mn_major_tile_are_two_groups_apart() {
    // A box of 64 halves by 64 k with 128-byte swizzling: the second K = 16 starts 2048 bytes later (measured on an H200).
    let mut memory = vec![0u8; 1024 + 64 * 128];
    for row in 0..64 {
        for column in 0..64 {
            let address = copied(1024, column, row * 2, Swizzle::Bytes128);
            write(&mut memory, address, 16, value(row, column, 16));
        }
    }
    let operand =
        SharedOperand::new(descriptor(3072, 8192, 1024, Swizzle::Bytes128), Major::Mn, Container::Halves, 64, 16)
            .unwrap();
    let codes = read(&operand, &memory);
    assert!((0..64 * 16).all(|index| codes[index as usize] == value(index / 16, 16 + index % 16, 16)));
}

#[test]
fn a_tile_off_its_natural_boundary_needs_the_base_offset() {
    // The pattern starts 256 bytes after a boundary of 1024: base offset (1280 >> 7) & 7 = 2.
    let mut memory = vec![0u8; 4096];
    for row in 0..16 {
        for column in 0..64 {
            let address = copied(1280, row, column * 2, Swizzle::Bytes128);
            write(&mut memory, address, 16, value(row, column, 16));
        }
    }
    let bits = encode(1280, 16, 1024, Swizzle::Bytes128) | 2 << 49;
    let based = MatrixDescriptor::decode(bits, BLACKWELL).unwrap();
    let operand = SharedOperand::new(based, Major::K, Container::Halves, 16, 16).unwrap();
    let codes = read(&operand, &memory);
    assert!((0..256).all(|index| codes[index as usize] == value(index / 16, index % 16, 16)));
}

#[test]
fn k_of_96_four_bit_elements_takes_its_last_bytes_from_the_next_tile() {
    // Two tiles of 128-byte rows: 256 elements a row in the first. The third instruction starts at byte 96 and needs 16 more.
    let mut memory = vec![0u8; 1024 + 2 * 16 * 128];
    for row in 0..16u32 {
        for byte in 0..256u32 {
            let address = copied(1024 + byte / 128 * 2048, row, byte % 128, Swizzle::Bytes128);
            memory[address as usize] = value(row, byte, 8) as u8;
        }
    }
    let bits = encode(1024 + 96, 1024 + 2048, 1024, Swizzle::Bytes128) | 1 << 52;
    let descriptor = MatrixDescriptor::decode(bits, BLACKWELL).unwrap();
    let operand = SharedOperand::new(descriptor, Major::K, Container::Nibbles, 16, 96).unwrap();
    let codes = read(&operand, &memory);
    for row in 0..16 {
        for column in 0..96 {
            let expected = value(row, 96 + column / 2, 8) >> (4 * (column % 2)) & 0xf;
            assert_eq!(codes[(row * 96 + column) as usize], expected, "{row} {column}");
        }
    }
}

#[test]
fn addresses_in_the_middle_of_a_row_are_refused() {
    let fault = |start, swizzle, major, container, rows, k| {
        SharedOperand::new(descriptor(start, 1024, 1024, swizzle), major, container, rows, k).unwrap_err().fault
    };
    let past = fault(1024 + 112, Swizzle::Bytes128, Major::K, Container::Halves, 64, 16);
    assert!(matches!(past, DescriptorFault::PastSpan { offset: 112, extent: 32, span: 128, .. }), "{past:?}");
    let past = fault(1024 + 16, Swizzle::Bytes32, Major::K, Container::Halves, 64, 16);
    assert!(matches!(past, DescriptorFault::PastSpan { offset: 16, .. }), "{past:?}");
    let past = fault(1024 + 64, Swizzle::Bytes128, Major::Mn, Container::Halves, 64, 16);
    assert!(matches!(past, DescriptorFault::PastSpan { offset: 64, extent: 128, .. }), "{past:?}");
    let misused = fault(1024, Swizzle::Bytes128Atoms32, Major::Mn, Container::Halves, 64, 16);
    assert!(matches!(misused, DescriptorFault::Atoms32Misused { .. }), "{misused:?}");
    let missing = fault(1024, Swizzle::Bytes128, Major::Mn, Container::Words, 64, 8);
    assert!(matches!(missing, DescriptorFault::Atoms32Missing { .. }), "{missing:?}");
    let bits = encode(1024, 1024, 1024, Swizzle::Bytes128) | 1 << 52;
    let absolute = MatrixDescriptor::decode(bits, BLACKWELL).unwrap();
    let misused = SharedOperand::new(absolute, Major::K, Container::Halves, 64, 16).unwrap_err();
    assert_eq!(misused.fault, DescriptorFault::AbsoluteLeadingMisused);
}

#[test]
fn chunks_know_their_rows() {
    let k_major =
        SharedOperand::new(descriptor(0, 16, 1024, Swizzle::Bytes128), Major::K, Container::Halves, 8, 16).unwrap();
    assert_eq!((k_major.chunk_count(), k_major.rows_of_chunk(5)), (16, 2..3));
    let mn_major =
        SharedOperand::new(descriptor(0, 1024, 1024, Swizzle::Bytes128), Major::Mn, Container::Halves, 64, 16).unwrap();
    assert_eq!((mn_major.chunk_count(), mn_major.rows_of_chunk(9)), (128, 8..16));
}
