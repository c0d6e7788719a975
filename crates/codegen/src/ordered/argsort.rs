//! Positions that sort rows.
//!
//! Elements become unsigned keys whose order is the order asked for: floats by their bits with NaN on top and both zeros
//! equal, descending by the complement. Equal keys keep the order of their positions, so every pair (key, position) is
//! different and any way of sorting gives the same result.
//!
//! | row | schedule | cost |
//! |---|---|---|
//! | up to 128 | several rows per CTA, each thread counts the elements before its own | `n^2` comparisons |
//! | up to 4096 | a CTA sorts the row in shared memory, bitonic | `n log^2 n` |
//! | longer | CTAs of 256 elements, each counts over the whole row, tile by tile | `n^2` comparisons, `n^2 / 256` reads |

use super::Region;
use super::rows::{Rows, Thread, grid};
use crate::element::compute_type;
use crate::engine::{Engine, GuardId, Lanes};
use crate::error::Fault;
use crate::index::IndexId;
use crate::work::KernelLaunch;
use gable_ir::ops;
use gable_ptx::meaning::{Access, Binary, Comparison, Unary};
use gable_ptx::{B32, Class, KernelBuilder, Pred, R, Reg, ScalarType, SharedArray, Space, Value};
use gable_tensor::DType;

/// Threads of a CTA that counts.
const THREADS: u32 = 256;

/// Longest row that is sorted by counting within a CTA.
const SHORT_ROW: usize = 128;

/// Longest row whose keys and positions, 12 bytes at most, fit the static shared memory.
const LONGEST_IN_SHARED: usize = 4096;

/// Most threads of a CTA that sorts a row.
const SORT_THREADS: u32 = 512;

pub(super) fn launch(region: &Region<'_>, op: &ops::Argsort) -> Result<KernelLaunch, Fault> {
    let x = region.program.ty(region.operand(0));
    let rows = Rows::along("argsort", &x.shape, op.axis)?;
    let sort = Sort { rows, keys: Keys::of(x.dtype, op.descending)? };
    if sort.rows.length > SHORT_ROW && sort.rows.length <= LONGEST_IN_SHARED {
        bitonic(region, &sort)
    } else {
        counting(region, &sort)
    }
}

struct Sort {
    rows: Rows,
    keys: Keys,
}

impl Sort {
    /// The key of the element at `position`, zero where the guard does not hold.
    fn key(
        &self,
        engine: &mut Engine<'_>,
        region: &Region<'_>,
        row: IndexId,
        position: IndexId,
        guard: GuardId,
    ) -> Result<Reg, Fault> {
        let coordinates = self.rows.coordinates(&mut engine.indices, row, position);
        let element = engine.emit_guarded(region.operand(0), &coordinates, guard)?.at(0);
        self.keys.key(&mut engine.k, element)
    }

    /// Writes that the element at `position` comes at `rank` of its row.
    fn store(
        &self,
        engine: &mut Engine<'_>,
        row: IndexId,
        rank: IndexId,
        position: R<B32>,
        guard: GuardId,
    ) -> Result<(), Fault> {
        let coordinates = self.rows.coordinates(&mut engine.indices, row, rank);
        let position = engine.k.cvt_u64_u32(position);
        engine.store_output(0, &coordinates, &Lanes::uniform(position), guard)
    }
}

/// Threads that share a row each take one element, or CTAs take 256 elements of it each.
fn counting(region: &Region<'_>, sort: &Sort) -> Result<KernelLaunch, Fault> {
    let rows = &sort.rows;
    let part = rows.length.next_power_of_two().min(THREADS as usize);
    let (rows_per_cta, parts) = (THREADS as usize / part, rows.length.div_ceil(part));
    let n_ctas = rows.count.div_ceil(rows_per_cta).checked_mul(parts);
    let grid = grid("argsort", n_ctas.unwrap_or(usize::MAX))?;
    let mut engine = region.engine("argsort", THREADS);
    let staged = engine.k.shared_array("keys", THREADS * sort.keys.bytes(), sort.keys.bytes());
    let thread = Thread::here(&mut engine, grid, THREADS);
    let (rows_before, part_of_row) = engine.indices.divide(thread.cta, parts as i64);
    let (row_in_cta, place) = engine.indices.divide(thread.thread, part as i64);
    let row = engine.indices.scale_add(rows_before, rows_per_cta as i64, row_in_cta);
    let position = engine.indices.scale_add(part_of_row, part as i64, place);
    let beyond = || Fault::contract("a sort has no element at all");
    let in_rows = engine.guard_below(GuardId::ALWAYS, row, rows.count as i64).ok_or_else(beyond)?;
    let own_guard = engine.guard_below(in_rows, position, rows.length as i64).ok_or_else(beyond)?;
    let own = sort.key(&mut engine, region, row, position, own_guard)?;
    let position_register = narrow(engine.index_register(position, false)?);
    let slot = sort.keys.address(&mut engine.k, &staged, thread.thread_register);
    let first_of_row = engine.indices.scale(row_in_cta, part as i64);
    let first_of_row = narrow(engine.index_register(first_of_row, false)?);
    let first_slot = sort.keys.address(&mut engine.k, &staged, first_of_row);

    let rank = engine.k.mov_b32(0);
    engine.for_u32(0, parts as u32, 1, |engine, tile| {
        let tile_index = engine.variable(tile, 0, parts as i64 - 1);
        let staged_position = engine.indices.scale_add(tile_index, part as i64, place);
        let guard = engine.guard_below(in_rows, staged_position, rows.length as i64).ok_or_else(beyond)?;
        let key = sort.key(engine, region, row, staged_position, guard)?;
        let access = sort.keys.access();
        engine.k.store(access, slot, &[key.into()])?;
        // Keys of the tile are written.
        engine.k.bar_sync(0);
        let first = engine.k.mul_lo_u32(tile, part as u32);
        let left = engine.k.sub_u32(rows.length as u32, first);
        let staged_here = engine.k.min_u32(left, part as u32);
        let at = engine.k.mov_b32(first_slot);
        engine.for_u32(0, staged_here, 1, |engine, i| {
            let k = &mut engine.k;
            let key = k.load(access, at)?[0];
            k.set(at).add_u32(at, sort.keys.bytes());
            let other = k.add_u32(first, i);
            let is_before = sort.keys.before(k, (key, other), (own, position_register))?;
            let one = k.selp_b32(1, 0, is_before);
            k.set(rank).add_u32(rank, one);
            Ok::<(), Fault>(())
        })?;
        // Keys of the tile are read, and the next tile's may be written.
        engine.k.bar_sync(0);
        Ok::<(), Fault>(())
    })?;
    let rank = engine.variable(rank, 0, rows.length as i64 - 1);
    sort.store(&mut engine, row, rank, position_register, own_guard)?;
    engine.k.exit();
    Ok(region.launch(engine, grid, 1, THREADS))
}

/// A CTA sorts one row, padded to a power of two by pairs that come after all others.
fn bitonic(region: &Region<'_>, sort: &Sort) -> Result<KernelLaunch, Fault> {
    let (rows, keys) = (&sort.rows, sort.keys);
    let padded = rows.length.next_power_of_two() as u32;
    let threads = (padded / 2).min(SORT_THREADS);
    let grid = grid("argsort", rows.count)?;
    let mut engine = region.engine("argsort", threads);
    let staged = engine.k.shared_array("keys", padded * keys.bytes(), keys.bytes());
    let positions = engine.k.shared_array("positions", padded * 4, 4);
    let thread = Thread::here(&mut engine, grid, threads);
    let row = thread.cta;
    let word = Access::new(Space::Shared, ScalarType::B32, 1);

    let last_step = i64::from(padded / threads) - 1;
    engine.for_u32(0, padded / threads, 1, |engine, step| {
        let step = engine.variable(step, 0, last_step);
        let position = engine.indices.scale_add(step, i64::from(threads), thread.thread);
        let mut key = Value::Reg(keys.last(&mut engine.k)?);
        if let Some(guard) = engine.guard_below(GuardId::ALWAYS, position, rows.length as i64) {
            let own = sort.key(engine, region, row, position, guard)?;
            key = match engine.predicate(guard, 0)? {
                None => own.into(),
                Some(inside) => engine.k.select(keys.ty, own, key, inside)?.into(),
            };
        }
        let register = narrow(engine.index_register(position, false)?);
        let at = keys.address(&mut engine.k, &staged, register);
        engine.k.store(keys.access(), at, &[key])?;
        let at = address(&mut engine.k, &positions, register, 4);
        engine.k.store(word, at, &[register.into()])?;
        Ok::<(), Fault>(())
    })?;
    // The row is in shared memory.
    engine.k.bar_sync(0);

    let k = &mut engine.k;
    let size = k.mov_b32(2);
    let sizes_done = k.label("sorted");
    let (next_size, next_stride) = (k.label("size"), k.label("stride"));
    k.place(&next_size);
    let stride = k.shr_u32(size, 1);
    k.place(&next_stride);
    let below_stride = k.sub_u32(stride, 1);
    k.for_u32(thread.thread_register, padded / 2, threads, |k, pair| {
        // Pair `p` is elements `i` and `i + stride`, where bit `stride` of `i` is zero.
        let low_bits = k.and_b32(pair, below_stride);
        let twice = k.shl_b32(pair, 1);
        let i = k.sub_u32(twice, low_bits);
        let j = k.add_u32(i, stride);
        let (key_i, key_j) = (keys.address(k, &staged, i), keys.address(k, &staged, j));
        let (position_i, position_j) = (address(k, &positions, i, 4), address(k, &positions, j, 4));
        let (a, b) = (k.load(keys.access(), key_i)?[0], k.load(keys.access(), key_j)?[0]);
        let (at_a, at_b) = (k.ld_shared_b32(position_i), k.ld_shared_b32(position_j));
        let is_swapped = keys.before(k, (b, at_b), (a, at_a))?;
        let direction = k.and_b32(i, size);
        let descends = k.setp_ne_u32(direction, 0);
        let swap = k.xor_pred(is_swapped, descends);
        k.when(swap, |k| {
            k.store(keys.access(), key_i, &[b.into()])?;
            k.store(keys.access(), key_j, &[a.into()])?;
            k.st_shared_b32(position_i, at_b);
            k.st_shared_b32(position_j, at_a);
            Ok::<(), Fault>(())
        })
    })?;
    // The next stride pairs elements of other threads.
    k.bar_sync(0);
    k.set(stride).shr_u32(stride, 1);
    let more_strides = k.setp_ne_u32(stride, 0);
    k.bra_if(more_strides, &next_stride);
    k.set(size).shl_b32(size, 1);
    let is_sorted = k.setp_gt_u32(size, padded);
    k.bra_if(is_sorted, &sizes_done);
    k.bra(next_size);
    k.place(&sizes_done);

    engine.for_u32(0, padded / threads, 1, |engine, step| {
        let step = engine.variable(step, 0, last_step);
        let rank = engine.indices.scale_add(step, i64::from(threads), thread.thread);
        let Some(guard) = engine.guard_below(GuardId::ALWAYS, rank, rows.length as i64) else { return Ok(()) };
        let register = narrow(engine.index_register(rank, false)?);
        let at = address(&mut engine.k, &positions, register, 4);
        let position = engine.k.ld_shared_b32(at);
        sort.store(engine, row, rank, position, guard)
    })?;
    engine.k.exit();
    Ok(region.launch(engine, grid, 1, threads))
}

/// How elements of a type become unsigned keys.
#[derive(Clone, Copy)]
struct Keys {
    /// The elements' compute type.
    element: ScalarType,
    /// Type of the keys: u32 or u64.
    ty: ScalarType,
    descending: bool,
}

impl Keys {
    fn of(dtype: DType, descending: bool) -> Result<Keys, Fault> {
        let element = compute_type(dtype)?;
        let ty = if element.bytes() == 8 { ScalarType::U64 } else { ScalarType::U32 };
        Ok(Keys { element, ty, descending })
    }

    fn bytes(self) -> u32 {
        self.ty.bytes()
    }

    fn access(self) -> Access {
        Access::new(Space::Shared, self.ty, 1)
    }

    /// The address of key `index` of `array`.
    fn address(self, k: &mut KernelBuilder, array: &SharedArray, index: R<B32>) -> R<B32> {
        address(k, array, index, self.bytes())
    }

    /// A key that none comes after.
    fn last(self, k: &mut KernelBuilder) -> Result<Reg, Fault> {
        Ok(k.copy(self.ty, if self.ty == ScalarType::U64 { Value::Int(-1) } else { u32::MAX.into() })?)
    }

    /// The key of an element.
    fn key(self, k: &mut KernelBuilder, element: Value) -> Result<Reg, Fault> {
        let key: Reg = match self.element {
            ScalarType::Pred => {
                let truth = crate::element::predicate(k, element)?;
                k.selp_b32(1, 0, truth).reg()
            }
            ScalarType::U32 | ScalarType::U64 => crate::element::register(k, self.ty, element)?,
            ScalarType::S32 => k.binary(Binary::Xor, ScalarType::B32, element, i32::MIN)?,
            ScalarType::S64 => k.binary(Binary::Xor, ScalarType::B64, element, i64::MIN)?,
            ScalarType::F32 => {
                // Adding zero makes the negative zero the positive one.
                let sum = k.binary(Binary::Add, ScalarType::F32, element, 0.0f32)?;
                let bits = k.b32_of_f32(sum.typed().expect("a sum of f32 is in an f32 register"));
                let sign = k.shr_s32(bits, 31);
                let flipped = k.or_b32(sign, i32::MIN);
                let key = k.xor_b32(bits, flipped);
                let is_nan = k.compare(Comparison::Nan, ScalarType::F32, sum, sum)?;
                k.selp_b32(u32::MAX, key, is_nan).reg()
            }
            ScalarType::F64 => {
                let sum = k.binary(Binary::Add, ScalarType::F64, element, 0.0f64)?;
                let bits = k.b64_of_f64(sum.typed().expect("a sum of f64 is in an f64 register"));
                let sign = k.shr_s64(bits, 63);
                let flipped = k.or_b64(sign, i64::MIN);
                let key = k.xor_b64(bits, flipped);
                let is_nan = k.compare(Comparison::Nan, ScalarType::F64, sum, sum)?;
                k.selp_b64(-1i64, key, is_nan).reg()
            }
            other => return Err(Fault::contract(format!("elements of type {other} have no sort key"))),
        };
        if !self.descending {
            return Ok(key);
        }
        let bits = if self.ty == ScalarType::U64 { ScalarType::B64 } else { ScalarType::B32 };
        Ok(k.unary(Unary::Not, bits, key)?)
    }

    /// Whether pair `a` of key and position comes before pair `b`.
    fn before(self, k: &mut KernelBuilder, a: (Reg, R<B32>), b: (Reg, R<B32>)) -> Result<R<Pred>, Fault> {
        let is_less = k.compare(Comparison::Lt, self.ty, a.0, b.0)?;
        let is_equal = k.compare(Comparison::Eq, self.ty, a.0, b.0)?;
        let is_earlier = k.setp_lt_u32(a.1, b.1);
        let decides = k.and_pred(is_equal, is_earlier);
        Ok(k.or_pred(is_less, decides))
    }
}

fn address(k: &mut KernelBuilder, array: &SharedArray, index: R<B32>, bytes: u32) -> R<B32> {
    let base = k.address_of_shared(array);
    k.mad_lo_u32(index, bytes, base)
}

fn narrow(register: Reg) -> R<B32> {
    debug_assert_eq!(register.class, Class::B32);
    register.typed().expect("the index was asked for in 32 bits")
}
