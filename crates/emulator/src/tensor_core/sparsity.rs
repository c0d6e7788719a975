//! Structured sparsity: from stored elements and metadata codes to whole rows of A.
//!
//! A code of four bits belongs to a chunk of a row: two 2-bit indices for the two stored elements of four (2:4), or for the two stored
//! pairs of eight (4:8 in pairs), the lower index first; for tf32 (1:2) one of two codes says which of two elements is stored. Source:
//! PTX ISA `#tcgen05-sparse-matrices` and `#asynchronous-warpgroup-level-sparse-matrix-storage`.

use super::element::Element;

/// How many elements a code speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// One of two elements is stored.
    OneOfTwo,
    /// Two of four elements are stored.
    TwoOfFour,
    /// The same where the manual only asks for two different indices: wgmma.
    TwoOfFourAnyOrder,
    /// Two of four pairs are stored.
    PairsOfEight,
}

/// A code that the manual leaves undefined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sparsity metadata of row {row}, chunk {chunk} is {code:#06b}, expected {expected}")]
pub struct MetadataError {
    /// Row of A.
    pub row: u32,
    /// Chunk of the row.
    pub chunk: u32,
    /// The code.
    pub code: u32,
    /// The codes that there are.
    pub expected: &'static str,
}

/// A with all its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// Rows of k codes; zero where nothing is stored.
    pub codes: Vec<u32>,
    /// Which of them are stored.
    pub present: Vec<bool>,
}

impl Granularity {
    /// The granularity of a type; `packed` for the kinds where both operands are packed e2m1.
    pub const fn of(element: Element, packed: bool) -> Granularity {
        match element {
            Element::Tf32 => Granularity::OneOfTwo,
            _ if packed => Granularity::PairsOfEight,
            _ => Granularity::TwoOfFour,
        }
    }

    /// Elements of a chunk before compression.
    pub const fn chunk(self) -> u32 {
        match self {
            Granularity::OneOfTwo => 2,
            Granularity::TwoOfFour | Granularity::TwoOfFourAnyOrder => 4,
            Granularity::PairsOfEight => 8,
        }
    }

    /// The positions in a chunk of its stored elements or pairs.
    fn positions(self, code: u32) -> Option<[u32; 2]> {
        let (first, second) = (code & 3, code >> 2 & 3);
        let meaningful = match self {
            Granularity::OneOfTwo => {
                return match code {
                    0b0100 => Some([0, 0]),
                    0b1110 => Some([1, 1]),
                    _ => None,
                };
            }
            Granularity::TwoOfFourAnyOrder => first != second,
            // The manual lists the ascending pairs and this one for tcgen05.
            Granularity::TwoOfFour | Granularity::PairsOfEight => first < second || code == 0b0110,
        };
        meaningful.then_some([first, second])
    }

    const fn expected(self) -> &'static str {
        match self {
            Granularity::OneOfTwo => "0b0100 or 0b1110",
            Granularity::TwoOfFourAnyOrder => "two different indices",
            _ => "two different indices: 0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b0110 or 0b1110",
        }
    }

    /// Puts stored elements, `rows` rows of `k / 2`, where `code(row, chunk)` says.
    ///
    /// # Errors
    /// When a code is undefined.
    ///
    /// # Panics
    /// When `stored` has another length.
    pub fn expand(
        self,
        stored: &[u32],
        rows: u32,
        k: u32,
        code: impl Fn(u32, u32) -> u32,
    ) -> Result<Expanded, MetadataError> {
        assert_eq!(stored.len(), (rows * k / 2) as usize, "half of the elements are stored");
        let mut codes = vec![0; (rows * k) as usize];
        let mut present = vec![false; (rows * k) as usize];
        let width = if self == Granularity::PairsOfEight { 2 } else { 1 };
        let count = if self == Granularity::OneOfTwo { 1 } else { 2 };
        let mut stored = stored.iter();
        for row in 0..rows {
            for chunk in 0..k / self.chunk() {
                let code = code(row, chunk);
                let positions =
                    self.positions(code).ok_or(MetadataError { row, chunk, code, expected: self.expected() })?;
                for position in positions.into_iter().take(count) {
                    for element in 0..width {
                        let index = row * k + chunk * self.chunk() + position * width + element;
                        codes[index as usize] = *stored.next().expect("half of the elements are stored");
                        present[index as usize] = true;
                    }
                }
            }
        }
        Ok(Expanded { codes, present })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_four_are_put_where_their_indices_say() {
        let codes = [0b1101, 0b0100];
        let expanded = Granularity::TwoOfFour.expand(&[5, 6, 7, 8], 1, 8, |_, chunk| codes[chunk as usize]).unwrap();
        assert_eq!(expanded.codes, [0, 5, 0, 6, 7, 8, 0, 0]);
        assert_eq!(expanded.present.iter().filter(|&&present| present).count(), 4);
    }

    #[test]
    fn pairs_and_single_elements_expand_too() {
        let expanded = Granularity::PairsOfEight.expand(&[1, 2, 3, 4], 1, 8, |_, _| 0b1100).unwrap();
        assert_eq!(expanded.codes, [1, 2, 0, 0, 0, 0, 3, 4]);
        let codes = [0b1110, 0b0100];
        let expanded = Granularity::OneOfTwo.expand(&[9, 10], 2, 2, |row, _| codes[row as usize]).unwrap();
        assert_eq!(expanded.codes, [0, 9, 10, 0]);
    }

    #[test]
    fn the_meaningful_codes_are_those_of_the_manual() {
        let meaningful = |granularity: Granularity| -> Vec<u32> {
            (0..16).filter(|&code| granularity.positions(code).is_some()).collect()
        };
        assert_eq!(meaningful(Granularity::TwoOfFour), [0b0100, 0b0110, 0b1000, 0b1001, 0b1100, 0b1101, 0b1110]);
        assert_eq!(meaningful(Granularity::OneOfTwo), [0b0100, 0b1110]);
        let refused = Granularity::TwoOfFour.expand(&[1, 2], 1, 4, |_, _| 0b0101).unwrap_err();
        assert_eq!((refused.row, refused.code), (0, 5));
        assert_eq!(meaningful(Granularity::TwoOfFourAnyOrder).len(), 12);
    }
}
