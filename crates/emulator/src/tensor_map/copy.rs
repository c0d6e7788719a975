//! One tensor copy as runs of bytes: tensor map and coordinates in, places in shared and global memory out.
//!
//! The tile in shared memory has dimension 0 fastest. Without swizzle its rows are dense; with one, a row takes as many bytes as the
//! swizzle spans, even where the box has fewer, and the swizzle permutes the whole. A load fills what lies outside the tensor, a
//! store or reduction leaves it out. The byte count that a load signals is that of the box, filled elements included and the gaps
//! between narrow rows not. All this was measured on an H200.

use super::{
    Invalid, cluster,
    convert::{self, Conversion},
    im2col::{self, Bounds, Pixel},
    map::{DataType, Interleave, MAX_RANK, Mode, Swizzle, TensorMap},
    swizzle,
};

/// Alignment of the shared address of a tensor copy.
pub const SHARED_ALIGNMENT: u32 = 128;
/// More than any CTA's shared memory; a larger box cannot be copied.
const SHARED_LIMIT: u64 = 1 << 18;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From global to shared memory.
    Load,
    /// From shared to global memory.
    Store,
    /// From shared to global memory, combined with what is there.
    Reduce,
    /// From global memory to the second-level cache: the runs say what would be read.
    Prefetch,
}

/// The load mode of the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `.tile`.
    Tile,
    /// `.tile::gather4` and `.tile::scatter4`: one column coordinate and four rows.
    FourRows,
    /// `.im2col` with its offsets along W, H, D, and `.im2col_no_offs` with none.
    Im2col {
        /// Offsets; those beyond the spatial dimensions are zero.
        offsets: [u16; 3],
    },
    /// `.im2col::w`.
    Im2colWide {
        /// Pixels after the last one.
        halo: u16,
        /// Added to the coordinate and to both corners along W.
        offset: u16,
    },
    /// `.im2col::w::128`: always 128 pixels, the halo after every 32.
    Im2colWide128 {
        /// Pixels after every 32.
        halo: u16,
        /// Added to the coordinate and to both corners along W.
        offset: u16,
    },
}

/// One tensor instruction.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which way.
    pub direction: Direction,
    /// Load mode.
    pub access: Access,
    /// Coordinates, innermost first; five for [`Access::FourRows`].
    pub coordinates: &'a [i32],
    /// Shared address of the tile; its rank bits are kept in the runs.
    pub shared: u32,
    /// Target: 90, 100, 103, 110, 120 or 121.
    pub capability: u32,
}

/// Where the bytes of a run lie or come from on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this global address.
    Global(u64),
    /// At this global address, past the end of a row of the tensor: stores and reductions write whole chunks of 16 bytes where the
    /// tensor ends inside one (measured on an H200). The bytes may belong to another tensor, or to nobody.
    Beyond(u64),
    /// Outside the tensor: [`Copy::filling`].
    Fill,
    /// Padding of packed elements: what shared memory holds there afterwards is not defined.
    Padding,
}

/// Bytes that lie together on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First shared address, swizzled.
    pub shared: u32,
    /// Bytes in shared memory; three quarters of it in global memory for [`Conversion::PackSixBits`].
    pub length: u32,
    /// The other side.
    pub place: Place,
}

/// A planned copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// What is moved; in a store or reduction what lies in the tensor, and the rest of its last chunks.
    pub runs: Vec<Run>,
    /// What happens on the way.
    pub conversion: Conversion,
    /// Sixteen bytes of filling; the byte at shared address `a` is entry `a % 16`.
    pub filling: [u8; 16],
    /// Bytes of shared memory that the tile spans, from the request's address on.
    pub shared_bytes: u32,
    /// Bytes that a load signals to its barrier. For padded types these are the packed bytes, as published kernels expect them;
    /// not measured.
    pub transaction_bytes: u32,
}

/// Why an instruction cannot run: an illegal instruction on hardware, or undefined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The map breaks a limit.
    #[error(transparent)]
    Map(#[from] Invalid),
    /// Coordinates of another rank than the map's.
    #[error("tensor copy with {coordinates} coordinates, but the tensor map has rank {rank}")]
    Rank {
        /// Coordinates of the instruction.
        coordinates: usize,
        /// Rank of the map.
        rank: usize,
    },
    /// A tiled instruction with an im2col map or the reverse.
    #[error("tensor copy in mode {instruction}, but the tensor map is {map}")]
    Mode {
        /// Load mode of the instruction.
        instruction: &'static str,
        /// Mode of the map.
        map: &'static str,
    },
    /// Measured on an H200: an illegal instruction.
    #[error("innermost coordinate {coordinate} is {bytes} bytes, expected a multiple of {multiple} bytes")]
    CoordinateAlignment {
        /// The coordinate, in elements.
        coordinate: i32,
        /// The same in bytes.
        bytes: i64,
        /// What it must be a multiple of.
        multiple: i64,
    },
    /// The tile's address.
    #[error("shared address {address:#x} of a tensor copy, expected a multiple of {SHARED_ALIGNMENT}")]
    SharedAlignment {
        /// The address.
        address: u32,
    },
    /// Measured on an H200: an illegal instruction.
    #[error(
        "im2col base {base} along dimension {axis} is outside the bounding box, expected {low} up to {end} exclusive"
    )]
    OutsideBoundingBox {
        /// Dimension of the tensor.
        axis: usize,
        /// The coordinate.
        base: i64,
        /// First base.
        low: i64,
        /// End of bases.
        end: i64,
    },
    /// An im2col offset or halo.
    #[error("{name} is {found}, expected 0 up to {end} exclusive")]
    Offset {
        /// Which.
        name: &'static str,
        /// What it is.
        found: u16,
        /// End of its range.
        end: u32,
    },
    /// PTX ISA, restrictions on tensor copies to global memory; measured on an H200: an illegal instruction.
    #[error("coordinate {coordinate} along dimension {axis} of a tensor store is negative")]
    NegativeStore {
        /// Dimension.
        axis: usize,
        /// The coordinate.
        coordinate: i32,
    },
    /// Something that the instruction or target does not have.
    #[error("tensor copy: {what}")]
    Unsupported {
        /// What.
        what: String,
    },
    /// The tile does not fit shared memory.
    #[error("tensor copy of {bytes} bytes, more than shared memory has")]
    Size {
        /// Bytes of the tile.
        bytes: u64,
    },
    /// The tensor reaches past the end of the address space.
    #[error("tensor copy: an element lies past the end of the address space")]
    Address,
}

/// The copy that `request` makes with `map`, or why it makes none.
pub fn plan(map: &TensorMap, request: &Request) -> Result<Copy, Fault> {
    map.check()?;
    map.check_for(request.capability)?;
    check_direction(map, request)?;
    if !request.shared.is_multiple_of(SHARED_ALIGNMENT) && request.direction != Direction::Prefetch {
        return Err(Fault::SharedAlignment { address: request.shared });
    }
    let expected = if request.access == Access::FourRows { MAX_RANK } else { map.rank };
    if request.coordinates.len() != expected {
        return Err(Fault::Rank { coordinates: request.coordinates.len(), rank: map.rank });
    }
    check_coordinates(map, request)?;
    let mut tile = Tile::new(map, request);
    match (request.access, map.mode) {
        (Access::Tile, Mode::Tiled { box_dims }) => tile.boxes(request.coordinates, &box_dims)?,
        (Access::FourRows, Mode::Tiled { box_dims }) => {
            if map.rank != 2 || box_dims[1] != 1 {
                let what =
                    format!("four rows need rank 2 and boxDim[1] 1, found rank {} and {}", map.rank, box_dims[1]);
                return Err(Fault::Unsupported { what });
            }
            tile.reserve(4)?;
            for &row in &request.coordinates[1..] {
                tile.row(request.coordinates[0], &[i64::from(row), 0, 0, 0])?;
            }
        }
        (Access::Im2col { offsets }, Mode::Im2col { lower, upper, pixels_per_column, .. }) => {
            let spatial = map.rank - 2;
            let end: u32 = [1 << 16, 1 << 8, 1 << 5][spatial - 1];
            let far = offsets.iter().find(|&&offset| u32::from(offset) >= end);
            far.map_or(Ok(()), |&found| Err(Fault::Offset { name: "im2col offset", found, end }))?;
            let bounds = bounds(map, spatial, lower, upper, 0);
            tile.reserve(u64::from(pixels_per_column))?;
            let base = pixel(request.coordinates);
            let pixels = im2col::walk(&bounds, base, offsets.map(i64::from), pixels_per_column)?;
            tile.pixels(request.coordinates[0], &pixels)?;
        }
        (
            Access::Im2colWide { halo, offset } | Access::Im2colWide128 { halo, offset },
            Mode::Im2colWide { lower, upper, pixels_per_column, .. },
        ) => {
            let (count, group, end) = match request.access {
                Access::Im2colWide { .. } => (pixels_per_column, pixels_per_column, 512),
                _ => (128, 32, 32),
            };
            for (name, found, end) in [("wHalo", halo, end), ("wOffset", offset, 32)] {
                if u32::from(found) >= end {
                    return Err(Fault::Offset { name, found, end });
                }
            }
            let bounds = bounds(map, 1, [lower, 0, 0], [upper, 0, 0], i64::from(offset));
            let mut base = pixel(request.coordinates);
            base[0] += i64::from(offset);
            tile.reserve(u64::from(count + count.div_ceil(group) * u32::from(halo)))?;
            let pixels = im2col::walk_wide(&bounds, base, map.rank - 2, count, group, halo.into())?;
            tile.pixels(request.coordinates[0], &pixels)?;
        }
        (access, mode) => return Err(Fault::Mode { instruction: access_name(access), map: mode_name(mode) }),
    }
    Ok(tile.copy)
}

fn access_name(access: Access) -> &'static str {
    match access {
        Access::Tile => "tile",
        Access::FourRows => "tile::gather4 or tile::scatter4",
        Access::Im2col { .. } => "im2col",
        Access::Im2colWide { .. } => "im2col::w",
        Access::Im2colWide128 { .. } => "im2col::w::128",
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Tiled { .. } => "tiled",
        Mode::Im2col { .. } => "im2col",
        Mode::Im2colWide { .. } => "im2col along W",
    }
}

fn pixel(coordinates: &[i32]) -> Pixel {
    std::array::from_fn(|axis| i64::from(*coordinates.get(axis + 1).unwrap_or(&0)))
}

fn bounds(map: &TensorMap, spatial: usize, lower: [i32; 3], upper: [i32; 3], offset: i64) -> Bounds {
    let dim = |axis: usize| if axis < spatial { map.dims[axis + 1] as i64 } else { 0 };
    Bounds {
        spatial,
        low: std::array::from_fn(|axis| i64::from(lower[axis]) + offset),
        end: std::array::from_fn(|axis| dim(axis) + i64::from(upper[axis]) + offset),
        step: std::array::from_fn(|axis| i64::from(map.element_strides[axis + 1])),
    }
}

fn check_direction(map: &TensorMap, request: &Request) -> Result<(), Fault> {
    let unsupported = |what: String| Err(Fault::Unsupported { what });
    let name = map.data_type.name();
    if map.interleave != Interleave::None {
        // The layout of slices is not documented enough to move bytes by it. An H200 showed that dimension 0 then runs over slices of
        // 16 or 32 bytes, as many as the box has elements, and that the second dimension from the end counts channels.
        return unsupported(format!("interleave {:?} is not modelled", map.interleave));
    }
    let to_global = matches!(request.direction, Direction::Store | Direction::Reduce);
    if request.direction == Direction::Reduce && map.data_type.is_packed() {
        return unsupported(format!("a reduction of {name}"));
    }
    if request.direction == Direction::Store && map.data_type == DataType::B4x16P64 {
        return unsupported(format!("a store of {name}"));
    }
    if to_global && map.swizzle == Swizzle::Span128Atom32Flip8 {
        return unsupported("a store with the 8-byte flip".into());
    }
    if !to_global && map.data_type.is_padded() && map.swizzle == Swizzle::Span128Atom64 {
        return unsupported(format!("a load of {name} with 64-byte atoms"));
    }
    // sm_120 and sm_121 load neither packed types nor other atoms than 16 bytes.
    if request.direction == Direction::Load && request.capability >= 120 {
        if map.data_type.is_packed() {
            return unsupported(format!("a load of {name} on sm_{}", request.capability));
        }
        if map.swizzle.needs_blackwell() {
            return unsupported(format!("a load with swizzle {:?} on sm_{}", map.swizzle, request.capability));
        }
    }
    if to_global && matches!(request.access, Access::Im2colWide { .. } | Access::Im2colWide128 { .. }) {
        return unsupported("a store in im2col::w".into());
    }
    Ok(())
}

fn check_coordinates(map: &TensorMap, request: &Request) -> Result<(), Fault> {
    let coordinate = request.coordinates[0];
    let (bits, multiple) = if map.data_type.is_padded() {
        (i64::from(map.data_type.bits()), i64::from(map.data_type.bits()) * 16)
    } else {
        (i64::from(map.data_type.bits()), 16)
    };
    if (i64::from(coordinate) * bits) % (multiple * 8) != 0 {
        let bytes = i64::from(coordinate) * bits / 8;
        return Err(Fault::CoordinateAlignment { coordinate, bytes, multiple });
    }
    if matches!(request.direction, Direction::Store | Direction::Reduce) {
        // A base of im2col lies in its bounding box, which is checked by itself; rows of `scatter4` all lie along dimension 1.
        if let Some(axis) = request.coordinates.iter().position(|&coordinate| coordinate < 0) {
            return Err(Fault::NegativeStore { axis, coordinate: request.coordinates[axis] });
        }
    }
    Ok(())
}

/// A tile that is being filled row by row.
struct Tile<'a> {
    map: &'a TensorMap,
    /// Whether what lies outside is filled.
    fills: bool,
    /// Shared bytes of a row.
    dense: u32,
    /// Shared bytes from one row to the next.
    pitch: u32,
    /// Shared offset of the next row, unswizzled.
    next: u32,
    shared: u32,
    copy: Copy,
}

impl<'a> Tile<'a> {
    fn new(map: &'a TensorMap, request: &Request) -> Self {
        let inner = map.inner();
        let dense = if map.data_type.is_padded() { inner } else { map.data_type.bytes(u64::from(inner)) as u32 };
        let pitch = map.swizzle.span().unwrap_or(dense);
        let conversion = match (map.data_type, request.direction) {
            (DataType::Tf32 | DataType::Tf32Ftz, Direction::Load) => Conversion::RoundToTf32,
            (DataType::B6x16P32, Direction::Store) => Conversion::PackSixBits,
            _ => Conversion::None,
        };
        let copy = Copy {
            runs: Vec::new(),
            conversion,
            filling: convert::filling(map.data_type, map.fill),
            shared_bytes: 0,
            transaction_bytes: 0,
        };
        let fills = matches!(request.direction, Direction::Load | Direction::Prefetch);
        Self { map, fills, dense, pitch, next: 0, shared: request.shared, copy }
    }

    /// Accounts for `rows` rows, an error when they do not fit shared memory.
    fn reserve(&mut self, rows: u64) -> Result<(), Fault> {
        let gap = u64::from(self.pitch - self.dense);
        let bytes = (rows * u64::from(self.pitch)).saturating_sub(gap);
        if bytes + u64::from(cluster::offset(self.shared)) > SHARED_LIMIT {
            return Err(Fault::Size { bytes });
        }
        self.copy.shared_bytes = bytes as u32;
        self.copy.transaction_bytes = (rows * self.map.data_type.bytes(u64::from(self.map.inner()))) as u32;
        Ok(())
    }

    /// Every row of a box at `coordinates`.
    fn boxes(&mut self, coordinates: &[i32], box_dims: &[u32; MAX_RANK]) -> Result<(), Fault> {
        let rank = self.map.rank;
        let mut counts = [1u32; MAX_RANK - 1];
        for axis in 1..rank {
            counts[axis - 1] = box_dims[axis].div_ceil(self.map.element_strides[axis]);
        }
        self.reserve(counts.iter().map(|&count| u64::from(count)).product())?;
        let first = pixel(coordinates);
        let mut steps = [0u32; MAX_RANK - 1];
        loop {
            let at = std::array::from_fn(|axis| {
                first[axis] + i64::from(steps[axis]) * i64::from(self.map.element_strides[axis + 1])
            });
            self.row(coordinates[0], &at)?;
            let Some(axis) = (0..rank - 1).find(|&axis| steps[axis] + 1 < counts[axis]) else { return Ok(()) };
            steps[axis] += 1;
            steps[..axis].fill(0);
        }
    }

    fn pixels(&mut self, channel: i32, pixels: &[Pixel]) -> Result<(), Fault> {
        pixels.iter().try_for_each(|pixel| self.row(channel, pixel))
    }

    /// One row: the elements from `first` along dimension 0 at `at` along the others.
    fn row(&mut self, first: i32, at: &Pixel) -> Result<(), Fault> {
        let map = self.map;
        let start = self.next;
        self.next += self.pitch;
        let mut inside = true;
        let mut offset = 0u64;
        for axis in 1..map.rank {
            let coordinate = at[axis - 1];
            inside &= (0..map.dims[axis] as i64).contains(&coordinate);
            if inside {
                let bytes = (coordinate as u64).checked_mul(map.strides[axis - 1]).ok_or(Fault::Address)?;
                offset = offset.checked_add(bytes).ok_or(Fault::Address)?;
            }
        }
        let inner = i64::from(map.inner());
        let (first, dim) = (i64::from(first), map.dims[0] as i64);
        // Elements of the row that lie in the tensor: `low` up to `high` exclusive.
        let (low, high) = match inside {
            true => ((-first).clamp(0, inner), (dim - first).clamp(0, inner)),
            false => (inner, inner),
        };
        let address = if low < high {
            let bytes = map.data_type.bytes((first + low) as u64);
            let last = offset.checked_add(bytes).and_then(|sum| sum.checked_add(1 << 16));
            last.and_then(|sum| sum.checked_add(map.address)).ok_or(Fault::Address)?;
            map.address + offset + bytes
        } else {
            0
        };
        if map.data_type.is_padded() {
            self.padded_row(start, (low < high).then_some(address));
            return Ok(());
        }
        let bytes = |elements: i64| map.data_type.bytes(elements as u64) as u32;
        self.segment(start, bytes(low), Place::Fill);
        let length = bytes(high) - bytes(low).min(bytes(high));
        self.segment(start + bytes(low), length, Place::Global(address));
        if !self.fills && length > 0 {
            let beyond = (bytes(high).next_multiple_of(16) - bytes(high)).min(bytes(inner) - bytes(high));
            self.segment(start + bytes(high), beyond, Place::Beyond(address + u64::from(length)));
        }
        self.segment(start + bytes(high.max(low)), bytes(inner) - bytes(high.max(low)), Place::Fill);
        Ok(())
    }

    /// A row of packed elements: units of 16 bytes in shared memory. Such rows lie inside the tensor or outside it whole.
    fn padded_row(&mut self, start: u32, address: Option<u64>) {
        let packs = self.copy.conversion == Conversion::PackSixBits;
        let data = 2 * self.map.data_type.bits();
        for unit in 0..self.dense / 16 {
            let at = start + 16 * unit;
            let place = address.map_or(Place::Fill, |address| Place::Global(address + u64::from(unit * data)));
            if packs {
                self.segment(at, 16, place);
            } else {
                self.segment(at, data, place);
                self.segment(at + data, 16 - data, Place::Padding);
            }
        }
    }

    /// Appends `length` bytes at offset `start` of the unswizzled tile, cut at the atoms of the swizzle.
    fn segment(&mut self, start: u32, length: u32, place: Place) {
        if !self.fills && place == Place::Fill {
            return;
        }
        let (mut from, end) = (self.shared + start, self.shared + start + length);
        let mut place = place;
        while from < end {
            let cut = match swizzle::atom(self.map.swizzle) {
                Some(atom) => (from / atom * atom + atom).min(end),
                None => end,
            };
            self.push(Run { shared: swizzle::apply(self.map.swizzle, from), length: cut - from, place });
            if let Place::Global(address) | Place::Beyond(address) = &mut place {
                *address += u64::from(cut - from);
            }
            from = cut;
        }
    }

    /// Appends a run, joined with the one before when both sides continue it.
    fn push(&mut self, run: Run) {
        if let Some(last) = self.copy.runs.last_mut()
            && last.shared + last.length == run.shared
            && self.copy.conversion != Conversion::PackSixBits
        {
            let continues = match (last.place, run.place) {
                (Place::Global(before), Place::Global(address)) | (Place::Beyond(before), Place::Beyond(address)) => {
                    before + u64::from(last.length) == address
                }
                (before, after) => before == after,
            };
            if continues {
                last.length += run.length;
                return;
            }
        }
        self.copy.runs.push(run);
    }
}

impl Copy {
    /// The bytes of global memory that the runs name: address and length, neighbours joined.
    pub fn global_ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut runs = self.runs.iter().filter_map(|run| match run.place {
            Place::Global(address) => Some((address, self.global_length(run))),
            Place::Beyond(_) | Place::Fill | Place::Padding => None,
        });
        let mut next = runs.next();
        std::iter::from_fn(move || {
            let (address, mut length) = next?;
            next = runs.next();
            while let Some((following, more)) = next
                && following == address.wrapping_add(length)
            {
                length += more;
                next = runs.next();
            }
            Some((address, length))
        })
    }

    /// The bytes past the end of rows that a store or reduction also writes.
    pub fn beyond_ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.runs.iter().filter_map(|run| match run.place {
            Place::Beyond(address) => Some((address, u64::from(run.length))),
            _ => None,
        })
    }

    fn global_length(&self, run: &Run) -> u64 {
        let length = u64::from(run.length);
        if self.conversion == Conversion::PackSixBits { length / 4 * 3 } else { length }
    }

    /// The bytes of shared memory that the runs name: address and length, neighbours in the tile joined.
    pub fn shared_ranges(&self) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = self.runs.iter().map(|run| (run.shared, run.length)).collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, last| {
            let joins = last.0 + last.1 == next.0;
            if joins {
                last.1 += next.1;
            }
            joins
        });
        ranges
    }
}
