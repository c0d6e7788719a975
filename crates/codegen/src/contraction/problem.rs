//! One description of every contraction: `out[batch, m, n] = sum over k of a[batch, m, k] * b[batch, k, n]`.
//!
//! A matrix product, a batched one, and a convolution (its columns of the image never written) are all this. An operand
//! is either memory, addressed by two mixed-radix indices (its outer index, `m` of A or `n` of B, and `k`), or an
//! expression that the region computes on the way. Several products of one left factor and of equal sizes are one
//! problem with several right factors. What surrounds the sums (bias, activation, where results go) is not
//! here: see `surround`.

use gable_ir::region::MAX_PRODUCTS;
use gable_tensor::DType;
use std::fmt;

/// The factors: the left one, and the right one of each product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The left factor: rows of the result.
    A,
    /// The right factor: columns of the result.
    B,
    /// The right factor of a second product of the same left factor.
    B1,
    /// Of a third product.
    B2,
    /// Of a fourth product.
    B3,
}

impl Side {
    /// The right factors, in the order of the products.
    pub const RIGHT: [Side; MAX_PRODUCTS] = [Side::B, Side::B1, Side::B2, Side::B3];

    /// Which product the right factor belongs to; 0 for the left factor, which belongs to all.
    pub fn product(self) -> usize {
        (self as usize).saturating_sub(1)
    }
}

/// Along which of its two indices an operand's neighbouring elements lie next to each other in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Major {
    /// Along the summed index.
    K,
    /// Along the index that stays: `m` for A, `n` for B.
    Outer,
}

/// One digit of a mixed-radix index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// How many values it takes.
    pub size: usize,
    /// Elements in memory between one value and the next.
    pub stride: i64,
    /// The window axis that it moves along, and by how much.
    pub window: Option<(usize, i64)>,
}

impl Digit {
    /// A digit without a window.
    pub fn plain(size: usize, stride: i64) -> Digit {
        Digit { size, stride, window: None }
    }
}

/// An axis of an image with padding: an element lies in memory where `0 <= sum of steps - low < size`, else it is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Padding before the first element.
    pub low: i64,
    /// Elements of the axis.
    pub size: usize,
}

/// Where an operand's elements lie: in a batch entry at
/// `offset + digits of the outer index + digits of k`. Where an entry starts is the surround's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Element type in memory; where it is not the problem's, elements are converted on the way.
    pub stored: DType,
    /// Alignment in bytes of where each batch entry starts, a power of two.
    pub alignment: usize,
    /// Where batch entries start, if that is a sum over batch coordinates.
    pub entries: Option<Entries>,
    /// Elements between the start of a batch entry and the element of all indices 0. Negative where padding comes first.
    pub offset: i64,
    /// The outer index, slowest digit first.
    pub outer: Vec<Digit>,
    /// The summed index, slowest digit first.
    pub k: Vec<Digit>,
    /// Padded axes, which digits name by position.
    pub windows: Vec<Window>,
}

/// Where the batch entries of an operand start, in elements of its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    /// Entry 0.
    pub start: i64,
    /// From one value of each batch coordinate to the next.
    pub strides: Vec<i64>,
}

/// How an operand comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// From memory.
    Memory(Memory),
    /// Computed by the region, `lanes` elements at a time along `major`; `lanes` divides the extent there.
    Expression {
        /// Along which index neighbours are computed together.
        major: Major,
        /// How many.
        lanes: usize,
    },
}

/// A factor that memory holds in a narrow type: each element is the stored one, converted exactly to the problem's type,
/// times its scale, converted to that type too and the product rounded to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantised {
    /// Where the stored elements lie, counted in elements, of whatever bits they are.
    pub stored: Memory,
    /// What the stored bits mean.
    pub codes: Codes,
    /// Where the scales lie, over the same indices: several indices share one where a digit's stride is 0.
    pub scales: Option<Memory>,
}

/// What the bits of a stored element mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// A number of this type of eight bits.
    Bytes(DType),
    /// Two to a byte, the first in the low bits: values of e2m1.
    E2m1Pairs,
    /// Two to a byte, the first in the low bits: whole numbers, stored with 8 added.
    Int4Pairs,
}

impl Codes {
    /// Bits of an element.
    pub fn bits(self) -> u32 {
        match self {
            Codes::Bytes(_) => 8,
            Codes::E2m1Pairs | Codes::Int4Pairs => 4,
        }
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Codes::Bytes(dtype) => dtype.fmt(f),
            Codes::E2m1Pairs => f.write_str("e2m1 pairs"),
            Codes::Int4Pairs => f.write_str("int4 pairs"),
        }
    }
}

/// A factor that is its operand, as memory holds it, times scales: an element of the factor is the stored element times
/// one scale of each kind, exactly or, where the factor is of f32, with the roundings of f32. So the sum of products that
/// share their scales may be scaled instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scaled {
    /// What the stored bits mean; the operand counts elements of as many bits.
    pub codes: Codes,
    /// Where the scales of each kind lie, over the operand's own indices: several indices share one where a digit's stride
    /// is 0. None for a factor without scales.
    pub scales: Vec<Memory>,
}

/// The two things that a quantised factor is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The stored elements.
    Stored,
    /// The scales.
    Scales,
}

impl Quantised {
    /// Neighbouring values of k that share a scale; `None` where all do, or where there is none.
    pub fn group(&self) -> Option<usize> {
        self.scales.as_ref()?.group_along_k()
    }
}

/// A contraction with every size known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Sizes of the batch dimensions, slowest first; none for one product.
    pub batch: Vec<usize>,
    /// Whether each entry of the one batch dimension has consecutive rows of its own among the `m`, and no others: what the
    /// surround says the ends of. The left factor and the result are then the same for all entries.
    pub ragged: bool,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Products per element of the result.
    pub k: usize,
    /// Type of the factors.
    pub element: DType,
    /// Type that sums are rounded to before anything else is done with them.
    pub out: DType,
    /// The left factor.
    pub a: Operand,
    /// The right factor.
    pub b: Operand,
    /// The right factor as memory holds it, where `b` is an expression that does nothing but convert and scale it.
    pub quantised: Option<Quantised>,
    /// Right factors of further products of the same left factor, whose results meet those of the first in the region.
    pub further: Vec<Right>,
    /// Whether the region reads one matrix of 16-bit elements at its one result's own row and column, such as a residual.
    pub addend: bool,
    /// Neighbouring columns that a tile must have whole multiples of for the region to follow in the same kernel: blocks that it
    /// reduces, in the lines that it writes; 1 where it reduces none.
    pub columns_together: usize,
    /// What both factors are times scales, where `a` and `b` are what memory holds of them.
    pub scaled: Option<[Scaled; 2]>,
    /// Whether factors lie in copies of their inputs, whose rows begin at whole 16 bytes: only the copy engine reads those.
    pub realigned: bool,
    /// Whether sums may be as short as the tensor cores have them, where that is less than f32: the graph sums in a narrower
    /// type.
    pub short_sums: bool,
    /// Along which index results are handed on together (`K` reads as `n` here), and at most how many.
    pub store: Store,
}

/// The right factor of a further product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// How it comes.
    pub operand: Operand,
    /// As memory holds it, as for the first product.
    pub quantised: Option<Quantised>,
}

/// How results leave: neighbours along one index of the result together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Store {
    /// Whether neighbours lie along `m` instead of `n`.
    pub along_m: bool,
    /// At most how many together; a power of two that divides the extent.
    pub lanes: usize,
}

/// A contraction that no kernel here can do, or a schedule that does not fit it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractionError {
    /// A size of zero, or one that 32-bit indices cannot reach.
    #[error("contraction {problem}: {what} is {found}, expected {expected}")]
    Size {
        /// The problem in one line.
        problem: String,
        /// Which size.
        what: &'static str,
        /// Its value.
        found: String,
        /// What would do.
        expected: String,
    },
    /// No kernel multiplies this type.
    #[error("contraction of `{0}`: no kernel multiplies this type")]
    Type(DType),
    /// A schedule asks for more than the target has, or does not fit the problem.
    #[error("schedule {schedule}: {what} is {found}, expected {expected}")]
    Schedule {
        /// The schedule in one line.
        schedule: String,
        /// Which resource or property.
        what: &'static str,
        /// What it would take.
        found: u64,
        /// What there is.
        expected: String,
    },
    /// A schedule was asked for that is none of this compiler's for the problem.
    #[error("schedule `{schedule}` is none that this version writes for {problem}")]
    NotACandidate {
        /// The schedule in one line.
        schedule: String,
        /// The problem in one line.
        problem: String,
    },
    /// Reductions of the result's rows, or of blocks of its columns, were asked of a schedule that leaves them to a kernel of their own.
    #[error("schedule {0} does not reduce rows of its result: the region's `reduce` needs a kernel of its own")]
    FoldsApart(String),
    /// The main loops write tiles only.
    #[error("schedule {0} is written around a region's own elements, not as tiles")]
    NotTiled(String),
    /// The instruction table lacks something; a fault of ours.
    #[error(transparent)]
    Emit(#[from] gable_ptx::EmitError),
    /// The region around the sums could not be written.
    #[error("{0}")]
    Surround(String),
}

impl Memory {
    /// A matrix: element (outer, k) at `outer * outer_stride + k * k_stride`.
    pub fn matrix(stored: DType, outer: (usize, i64), k: (usize, i64)) -> Memory {
        Memory {
            stored,
            alignment: 256,
            entries: None,
            offset: 0,
            outer: vec![Digit::plain(outer.0, outer.1)],
            k: vec![Digit::plain(k.0, k.1)],
            windows: Vec::new(),
        }
    }

    /// The direction of neighbours, and the largest power of two of them that always lie together in memory, whole
    /// inside or outside it, at an address aligned to them; at most 16 bytes of `stored`.
    pub fn vector(&self) -> (Major, usize) {
        let along = |digits: &[Digit]| digits.last().is_none_or(|d| d.stride == 1 && d.window.is_none());
        let major = if along(&self.k) || !along(&self.outer) { Major::K } else { Major::Outer };
        let (inner, other) = match major {
            Major::K => (&self.k, &self.outer),
            Major::Outer => (&self.outer, &self.k),
        };
        let Some((last, rest)) = inner.split_last() else { return (major, 1) };
        if last.stride != 1 || last.window.is_some() {
            return (major, 1);
        }
        let bytes = self.stored.bytes();
        let mut lanes = 16 / bytes.clamp(1, 16);
        let steps = [self.offset, last.size as i64];
        // A digit with one value never moves.
        let moving = rest.iter().chain(other).filter(|d| d.size > 1);
        let strides = moving.map(|d| d.stride);
        let together = |lanes: usize| {
            let n = lanes as i64;
            self.alignment.is_multiple_of(lanes * bytes)
                && steps.iter().copied().chain(strides.clone()).all(|stride| stride % n == 0)
        };
        while lanes > 1 && !together(lanes) {
            lanes /= 2;
        }
        (major, lanes)
    }

    /// Neighbouring values of k that share an element; `None` where all do.
    pub fn group_along_k(&self) -> Option<usize> {
        shared(&self.k)
    }

    /// Neighbouring outer indices that share an element; `None` where all do.
    pub fn group_along_outer(&self) -> Option<usize> {
        shared(&self.outer)
    }

    /// Whether both indices are one digit without a window: a strided matrix, whose addresses move by constants.
    pub fn is_matrix(&self) -> bool {
        self.windows.is_empty() && self.outer.len() <= 1 && self.k.len() <= 1
    }

    /// Whether offsets within a batch entry fit the kernels' 32 bits. Rows of a matrix are reached with 64.
    pub fn within_reach(&self) -> bool {
        let (low, high) = self.reach();
        let limit = if self.is_matrix() { i64::from(u32::MAX) << 16 } else { 1 << 30 };
        let strides = self.outer.iter().chain(&self.k).map(|digit| digit.stride);
        let short = strides.max().unwrap_or(0).saturating_mul(self.stored.bytes() as i64) <= i64::from(i32::MAX);
        low > -(1 << 30) && high < limit && short
    }

    /// Smallest and largest element offset within one batch entry.
    fn reach(&self) -> (i64, i64) {
        let mut reach = (self.offset, self.offset);
        for digit in self.outer.iter().chain(&self.k) {
            let far = digit.stride.saturating_mul(digit.size.saturating_sub(1) as i64);
            let end = if far < 0 { &mut reach.0 } else { &mut reach.1 };
            *end = end.saturating_add(far);
        }
        reach
    }
}

/// Neighbouring values of an index that do not move; `None` where none does.
fn shared(digits: &[Digit]) -> Option<usize> {
    let moves = digits.iter().any(|digit| digit.stride != 0);
    moves.then(|| digits.iter().rev().take_while(|digit| digit.stride == 0).map(|digit| digit.size).product())
}

impl Operand {
    /// The direction of neighbours and how many come together.
    pub fn vector(&self) -> (Major, usize) {
        match self {
            Operand::Memory(memory) => memory.vector(),
            Operand::Expression { major, lanes } => (*major, *lanes),
        }
    }
}

impl Problem {
    /// Products of one batch entry after another: the number of entries.
    pub fn batches(&self) -> usize {
        self.batch.iter().product()
    }

    /// Tiles of `extent` rows and columns in all batch entries; at most so many where entries have rows of their own.
    pub fn tiles(&self, extent: (u32, u32)) -> u64 {
        let columns = self.n.div_ceil(extent.1 as usize) as u64;
        if self.ragged {
            // Each entry's last tile may have one row.
            let spare = self.batches() as u64 * u64::from(extent.0 - 1);
            return (self.m as u64 + spare) / u64::from(extent.0) * columns;
        }
        self.m.div_ceil(extent.0 as usize) as u64 * columns * self.batches() as u64
    }

    /// Tiles to be expected: where entries have rows of their own, the last tile of each is half full.
    pub fn expected_tiles(&self, extent: (u32, u32)) -> f64 {
        if !self.ragged {
            return self.tiles(extent) as f64;
        }
        let rows = self.m as f64 / f64::from(extent.0) + 0.5 * self.batches() as f64;
        rows * self.n.div_ceil(extent.1 as usize) as f64
    }

    /// Rounds of `k` summed elements that cover the sum.
    pub fn rounds(&self, k: u32) -> u32 {
        self.k.div_ceil(k as usize) as u32
    }

    /// The operand of a side.
    pub fn operand(&self, side: Side) -> &Operand {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
            further => &self.further[further.product() - 1].operand,
        }
    }

    /// Products over the same left factor.
    pub fn products(&self) -> u32 {
        1 + self.further.len() as u32
    }

    /// Columns of each product where all together have at most `columns`: a power of two of them if that is one.
    pub fn columns_of_each(&self, columns: u32) -> u32 {
        columns / self.products().next_power_of_two()
    }

    /// The right factors.
    pub fn rights(&self) -> &'static [Side] {
        &Side::RIGHT[..=self.further.len().min(MAX_PRODUCTS - 1)]
    }

    /// All factors, the left one first.
    pub fn sides(&self) -> impl Iterator<Item = Side> + use<> {
        [Side::A].into_iter().chain(self.rights().iter().copied())
    }

    /// A right factor as memory holds it, where it is stored narrow.
    pub fn quantised_of(&self, side: Side) -> Option<&Quantised> {
        match side {
            Side::A | Side::B => self.quantised.as_ref(),
            further => self.further[further.product() - 1].quantised.as_ref(),
        }
    }

    /// What a factor is times scales, where it is its operand times scales.
    pub fn scaled_of(&self, side: Side) -> Option<&Scaled> {
        self.scaled.as_ref()?.get(side as usize)
    }

    /// Bits of a factor's elements where it is multiplied as it is stored.
    pub fn factor_bits(&self, side: Side) -> usize {
        self.scaled_of(side).map_or(8 * self.element.bytes(), |scaled| scaled.codes.bits() as usize)
    }

    /// Extent of a side's outer index.
    pub fn outer(&self, side: Side) -> usize {
        match side {
            Side::A => self.m,
            _ => self.n,
        }
    }

    /// Checks what every kernel relies on: a result with elements, indices and offsets within 31 bits, indices as long as
    /// the sizes say.
    pub fn check(&self) -> Result<(), ContractionError> {
        let size = |what, found: String, expected: String| {
            Err(ContractionError::Size { problem: self.to_string(), what, found, expected })
        };
        let limit = 1usize << 30;
        for (what, value) in [("m", self.m), ("n", self.n), ("k", self.k), ("batch", self.batches())] {
            // A sum of nothing is zero; a result without elements needs no kernel.
            let least = usize::from(what != "k");
            if value < least || value > limit {
                return size(what, value.to_string(), format!("{least} to {limit}"));
            }
        }
        if self.further.len() >= MAX_PRODUCTS {
            return size("products", self.products().to_string(), format!("1 to {MAX_PRODUCTS}"));
        }
        for side in self.sides() {
            let Operand::Memory(memory) = self.operand(side) else { continue };
            let digits = |digits: &[Digit]| digits.iter().map(|d| d.size).product::<usize>();
            if digits(&memory.outer) != self.outer(side) {
                return size("outer index", digits(&memory.outer).to_string(), self.outer(side).to_string());
            }
            if digits(&memory.k) != self.k && self.k > 0 {
                return size("k index", digits(&memory.k).to_string(), self.k.to_string());
            }
            if !memory.within_reach() {
                let (low, high) = memory.reach();
                return size("reach of an operand", format!("{low}..{high}"), "less than 2^30 elements".into());
            }
        }
        Ok(())
    }
}

impl fmt::Display for Major {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Major::K => "k-major",
            Major::Outer => "outer-major",
        })
    }
}

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.codes.bits() < 8 {
            write!(f, " of {}", self.codes)?;
        }
        for scale in &self.scales {
            let group = |size: Option<usize>| size.map_or("all".to_string(), |size| size.to_string());
            let (outer, k) = (group(scale.group_along_outer()), group(scale.group_along_k()));
            write!(f, " scaled by {} for {outer} by {k}", scale.stored)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch: String = match (&self.batch[..], self.ragged) {
            (groups, true) => format!("{} groups of ", groups.iter().product::<usize>()),
            (batch, false) => batch.iter().map(|n| format!("{n}x")).collect(),
        };
        write!(f, "{batch}{}x{}x{} {} to {}", self.m, self.n, self.k, self.element, self.out)?;
        if self.short_sums {
            f.write_str(" by short sums")?;
        }
        for side in self.sides() {
            let operand = self.operand(side);
            let (major, lanes) = operand.vector();
            let kind = match operand {
                Operand::Memory(memory) if memory.is_matrix() => format!("matrix of {}", memory.stored),
                Operand::Memory(memory) => format!("image of {}", memory.stored),
                Operand::Expression { .. } => "expression".to_string(),
            };
            write!(f, ", {side:?} {kind} {major} by {lanes}")?;
            if let Some(scaled) = self.scaled_of(side) {
                scaled.fmt(f)?;
            }
            let Some(quantised) = self.quantised_of(side).filter(|_| side != Side::A) else { continue };
            write!(f, " of {}", quantised.codes)?;
            if let Some(scales) = &quantised.scales {
                write!(f, " scaled by {}", scales.stored)?;
            }
            if let Some(group) = quantised.group() {
                write!(f, " in groups of {group}")?;
            }
        }
        if self.columns_together > 1 {
            write!(f, ", {} columns together", self.columns_together)?;
        }
        Ok(())
    }
}
