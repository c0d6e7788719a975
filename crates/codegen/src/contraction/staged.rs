//! Results that leave a kernel through staging buffers: packed into shared memory row by row, and copied from there to
//! memory by the copy engine, which leaves out what lies beyond the edges.
//!
//! A buffer is some rows of 128 bytes, swizzled by 128 bytes; of results of which two elements share a byte, rows of as many columns
//! are 64 bytes, swizzled by 64. Each warp has two, which take turns: one is filled while the
//! other is on its way to memory.

use super::MapParameter;
use super::boxes::{Boxes, SPAN, Strided};
use super::columns::Columns;
use super::problem::{ContractionError, Problem};
use super::surround::{ResultRows, Surround};
use gable_ptx::{B32, B64, Class, KernelBuilder, Pred, R, Reg, Value};
use gable_tensor::DType;

/// Staging buffers of a warp.
pub(super) const BUFFERS: u32 = 2;

/// Columns that tiles of staged results are multiples of, whatever the results' type.
const LEAST_COLUMNS: u32 = 64;

/// Numbers of one byte, which are staged byte by byte.
fn is_byte(dtype: DType) -> bool {
    matches!(dtype, DType::E4M3 | DType::E5M2 | DType::I8 | DType::U8 | DType::E2M1)
}

/// One result that leaves through staging buffers.
pub(super) struct Staged {
    /// Which of the region's results.
    pub position: usize,
    /// Its element type.
    pub dtype: DType,
    /// Whether two elements share a byte.
    pub pairs: bool,
    /// The columns that it has.
    pub range: Columns,
    /// A staging buffer as a box of the result.
    pub boxes: Boxes,
    /// Address of the map.
    pub map: R<B64>,
    /// A row of a staging buffer as a box, and the address of that map, where rows are in groups.
    pub row: Option<(Boxes, R<B64>)>,
}

/// Columns of a staging buffer.
fn columns(dtype: DType) -> u32 {
    SPAN / dtype.bytes() as u32
}

impl Staged {
    /// Columns of a staging buffer.
    pub fn columns(&self) -> u32 {
        columns(self.dtype)
    }

    /// Where a column is along the dense dimension of the boxes.
    fn dense(&self, k: &mut KernelBuilder, column: R<B32>) -> R<B32> {
        if self.pairs { k.shr_u32(column, 1) } else { column }
    }

    /// Bytes of a row of a staging buffer.
    pub fn row_bytes(&self) -> u32 {
        if self.pairs { SPAN / 2 } else { SPAN }
    }

    /// The maps, over the result.
    pub fn parameters(&self) -> impl Iterator<Item = MapParameter> {
        let row = self.row.iter().map(|(boxes, _)| boxes);
        [&self.boxes].into_iter().chain(row).map(|boxes| MapParameter::Result(self.position, boxes.map.clone()))
    }
}

/// A matrix as boxes that fill a staging buffer of so many rows, where the copy engine can move them.
pub(super) fn piece_of(problem: &Problem, lies: &ResultRows, rows: u32) -> Option<Boxes> {
    if lies.pairs {
        return piece_of_pairs(problem, lies, rows);
    }
    let matrix = Strided {
        stored: lies.dtype,
        start: lies.start,
        dense: lies.columns.count,
        other: (problem.m, lies.stride),
        batch: &problem.batch,
        batch_strides: &lies.batch_strides,
    };
    let is_stageable = matches!(lies.dtype, DType::BF16 | DType::F16 | DType::F32) || is_byte(lies.dtype);
    Boxes::of(&matrix, lies.dtype, columns(lies.dtype), rows).filter(|_| is_stageable)
}

/// The same for a matrix of e2m1 of which two elements share a byte: boxes of bytes.
fn piece_of_pairs(problem: &Problem, lies: &ResultRows, rows: u32) -> Option<Boxes> {
    let batch_strides: Vec<i64> = lies.batch_strides.iter().map(|stride| stride / 2).collect();
    let matrix = Strided {
        stored: DType::U8,
        start: lies.start / 2,
        dense: lies.columns.count / 2,
        other: (problem.m, lies.stride / 2),
        batch: &problem.batch,
        batch_strides: &batch_strides,
    };
    let places = [lies.start, lies.stride, lies.columns.count as i64];
    let in_bytes = places.iter().chain(&lies.batch_strides).all(|elements| elements % 2 == 0);
    Boxes::of(&matrix, DType::U8, SPAN / 2, rows).filter(|_| in_bytes).map(Boxes::of_half_spans)
}

/// The boxes of all results, if all can leave through staging buffers of `rows` rows: where the tile has whole spans of
/// columns, `lanes` neighbours come together, and every result lies as rows that the copy engine can write.
fn boxes_of(
    problem: &Problem,
    tile_columns: u32,
    (rows, lanes): (u32, usize),
    surround: &mut dyn Surround,
) -> Option<Vec<(ResultRows, Boxes)>> {
    if problem.store.along_m || problem.store.lanes < lanes {
        return None;
    }
    let lie = surround.result_rows()?;
    if lie.iter().any(|lies| !tile_columns.is_multiple_of(columns(lies.dtype).max(LEAST_COLUMNS))) {
        return None;
    }
    let in_parts = lie.iter().any(|rows| rows.columns != Columns::all(problem));
    // Of results that have parts of the columns, rows beyond a group's end are not told apart.
    if in_parts && (problem.ragged || !are_whole_parts(&lie)) {
        return None;
    }
    let boxes_of = |lies: ResultRows| piece_of(problem, &lies, rows).map(|boxes| (lies, boxes));
    let boxes: Vec<(ResultRows, Boxes)> = lie.into_iter().map(boxes_of).collect::<Option<_>>()?;
    (!boxes.is_empty()).then_some(boxes)
}

/// Whether all results can leave through staging buffers, as [`results`] asks for.
pub(super) fn suits(problem: &Problem, tile_columns: u32, shape: (u32, usize), surround: &mut dyn Surround) -> bool {
    boxes_of(problem, tile_columns, shape, surround).is_some()
}

/// All results, if all can leave through staging buffers of `shape`: so many rows, so many neighbours that come together.
/// Declares their maps as parameters.
pub(super) fn results(
    k: &mut KernelBuilder,
    problem: &Problem,
    tile_columns: u32,
    shape: (u32, usize),
    surround: &mut dyn Surround,
) -> Option<Vec<Staged>> {
    let boxes = boxes_of(problem, tile_columns, shape, surround)?;
    let rows: Vec<Option<Boxes>> = match problem.ragged {
        true => {
            let rows = boxes_of(problem, tile_columns, (1, shape.1), surround)?;
            rows.into_iter().map(|(.., boxes)| Some(boxes)).collect()
        }
        false => vec![None; boxes.len()],
    };
    let named = boxes.into_iter().zip(rows).enumerate().map(|(position, ((lies, boxes), row))| {
        let map = k.param_tensor_map(&format!("map_out{position}"));
        let row = row.map(|row| (row, k.param_tensor_map(&format!("map_row{position}"))));
        Staged { position, range: lies.columns, dtype: lies.dtype, pairs: lies.pairs, boxes, map, row }
    });
    Some(named.collect())
}

/// Whether the results have columns of their own each, of which a staging buffer holds one result's alone.
fn are_whole_parts(lie: &[ResultRows]) -> bool {
    let mut parts: Vec<Columns> = lie.iter().map(|rows| rows.columns).collect();
    parts.sort_unstable();
    let dtype = lie[0].dtype;
    let wide = columns(dtype) as usize;
    parts.windows(2).all(|pair| pair[0].first + pair[0].count <= pair[1].first)
        && lie.iter().all(|rows| rows.dtype == dtype)
        && parts.iter().all(|part| part.first.is_multiple_of(wide) && part.count.is_multiple_of(wide))
}

/// Whether results have a part of the columns each.
pub(super) fn are_parts(results: &[Staged], problem: &Problem) -> bool {
    results.iter().any(|result| result.range != Columns::all(problem))
}

/// A warp's staging buffers during one tile.
pub(super) struct Buffers {
    first: R<B32>,
    bytes: u32,
    /// How many there are.
    count: u32,
    /// The one lane that has them copied.
    elected: R<Pred>,
    /// Where a tile fills an odd number of buffers, its first is the one that the last tile filled last.
    is_odd: bool,
    filled: u32,
}

impl Buffers {
    /// The first two of those that begin at `first`, of which every tile fills `fillings`.
    pub fn new(first: R<B32>, rows: u32, elected: R<Pred>, fillings: u32) -> Buffers {
        Buffers { first, bytes: rows * SPAN, count: BUFFERS, elected, is_odd: fillings % BUFFERS == 1, filled: 0 }
    }

    /// All `count` of them, filled in turn by [`Buffers::send_over`] alone.
    pub fn of_count(self, count: u32) -> Buffers {
        Buffers { count, ..self }
    }

    /// Has `put` fill the next buffer, which is so many bytes after the first, and begins to copy it to `(column, row)` of the
    /// result.
    pub fn send(
        &mut self,
        k: &mut KernelBuilder,
        result: &Staged,
        place: (R<B32>, R<B32>),
        (batch, end): (&[R<B32>], Option<R<B32>>),
        put: impl FnOnce(&mut KernelBuilder, i32) -> Result<(), ContractionError>,
    ) -> Result<(), ContractionError> {
        // The copy that last used the buffer has read it.
        k.bulk_wait_group_read(if self.filled == 0 && self.is_odd { 0 } else { BUFFERS - 1 });
        self.send_over(k, result, place, (batch, end), put)
    }

    /// The same for a buffer that no copy reads.
    pub fn send_over(
        &mut self,
        k: &mut KernelBuilder,
        result: &Staged,
        place: (R<B32>, R<B32>),
        (batch, end): (&[R<B32>], Option<R<B32>>),
        put: impl FnOnce(&mut KernelBuilder, i32) -> Result<(), ContractionError>,
    ) -> Result<(), ContractionError> {
        let offset = self.filled % self.count * self.bytes;
        self.filled += 1;
        k.bar_warp_sync(-1);
        put(k, offset as i32)?;
        k.fence_proxy_async_shared_cta();
        k.bar_warp_sync(-1);
        let from = k.add_u32(self.first, offset);
        let (column, row) = (result.dense(k, place.0), place.1);
        let place = (column, row);
        match (&result.row, end) {
            (Some((row_boxes, map)), Some(end)) => {
                let rows = self.bytes / SPAN;
                let past = k.add_u32(row, rows);
                let is_whole = k.setp_le_u32(past, end);
                let last = k.min_u32(past, end);
                k.if_(self.elected, |k| {
                    let (whole, single) = k.if_else(
                        is_whole,
                        |k| result.boxes.store(k, result.map, place, batch, from),
                        // Rows beyond the group's end are others'.
                        |k| {
                            k.for_u32(row, last, 1, |k, at| {
                                let down = k.sub_u32(at, row);
                                let from = k.mad_lo_u32(down, result.row_bytes(), from);
                                row_boxes.store(k, *map, (column, at), batch, from)
                            })
                        },
                    );
                    k.bulk_commit_group();
                    whole.and(single)
                })
            }
            _ => k.when(self.elected, |k| {
                result.boxes.store(k, result.map, place, batch, from)?;
                k.bulk_commit_group();
                Ok(())
            }),
        }
    }

    /// The same for results that have a part of the columns each: `put` is told which result has the columns from
    /// `place.0` on. A group of copies is closed even where none has, so that the count of groups says what has been read.
    pub fn send_part(
        &mut self,
        k: &mut KernelBuilder,
        results: &[Staged],
        place: (R<B32>, R<B32>),
        batch: &[R<B32>],
        mut put: impl FnMut(&mut KernelBuilder, usize, i32) -> Result<(), ContractionError>,
    ) -> Result<(), ContractionError> {
        let offset = self.filled % BUFFERS * self.bytes;
        k.bulk_wait_group_read(if self.filled == 0 && self.is_odd { 0 } else { BUFFERS - 1 });
        self.filled += 1;
        k.bar_warp_sync(-1);
        let from = k.add_u32(self.first, offset);
        for (number, result) in results.iter().enumerate() {
            // What lies before the first column is, as an unsigned number, far above the last.
            let within = k.sub_u32(place.0, result.range.first as u32);
            let inside = k.setp_lt_u32(within, result.range.count as u32);
            let within = result.dense(k, within);
            k.if_(inside, |k| {
                put(k, number, offset as i32)?;
                k.fence_proxy_async_shared_cta();
                k.bar_warp_sync(-1);
                k.when(self.elected, |k| result.boxes.store(k, result.map, (within, place.1), batch, from))
            })?;
        }
        k.when(self.elected, |k| k.bulk_commit_group());
        Ok(())
    }
}

/// What the region gave, in registers.
pub(super) fn registers(k: &mut KernelBuilder, dtype: DType, words: &[Value]) -> Result<Vec<Reg>, ContractionError> {
    let class = if dtype.bytes() == 4 { Class::F32 } else { Class::B32 };
    let mut found = Vec::with_capacity(words.len());
    for &word in words {
        found.push(match word {
            Value::Reg(register) => register,
            constant => {
                let register = k.fresh_reg(class);
                k.copy_into(register, constant)?;
                register
            }
        });
    }
    Ok(found)
}
