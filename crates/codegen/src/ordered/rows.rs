//! Rows of a tensor along one axis, and where a thread stands among them.

use crate::engine::{Engine, GuardId};
use crate::error::Fault;
use crate::index::{IndexId, Indices};
use gable_ptx::{B32, R};

/// The longest row, and the most CTAs of one launch: both are counted in 32 bits with sign.
const MOST: usize = i32::MAX as usize;

/// Rows of a tensor along an axis. Row `r` has outer index `r / inner` and inner index `r % inner`.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    shape: Vec<usize>,
    axis: usize,
    /// How many rows there are.
    pub count: usize,
    /// Elements of one row.
    pub length: usize,
    /// Distance of a row's neighbours in memory.
    pub inner: usize,
}

impl Rows {
    /// The rows of a tensor of `shape` along `axis`; `op` is named where they are too long.
    pub(super) fn along(op: &str, shape: &[usize], axis: usize) -> Result<Rows, Fault> {
        let (outer, inner): (usize, usize) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
        let length = shape[axis];
        if length > MOST {
            return Err(Fault::unsupported(op, format!("a row of {length} elements is longer than {MOST}")));
        }
        Ok(Rows { shape: shape.to_vec(), axis, count: outer * inner, length, inner })
    }

    /// The coordinates of the element at `position` in `row`.
    pub(super) fn coordinates(&self, indices: &mut Indices, row: IndexId, position: IndexId) -> Vec<IndexId> {
        let (outer, inner) = indices.divide(row, self.inner.max(1) as i64);
        let mut coordinates = indices.coordinates(outer, &self.shape[..self.axis]);
        coordinates.push(position);
        coordinates.extend(indices.coordinates(inner, &self.shape[self.axis + 1..]));
        coordinates
    }
}

/// The grid of a launch of `n` CTAs in one dimension.
pub(crate) fn grid(op: &str, n: usize) -> Result<[u32; 3], Fault> {
    if n > MOST {
        return Err(Fault::unsupported(op, format!("{n} CTAs are more than a launch has: split the tensor")));
    }
    Ok([n as u32, 1, 1])
}

/// The numbers of a thread in a one-dimensional launch.
pub(crate) struct Thread {
    /// The thread within its CTA, as an index and in its register.
    pub thread: IndexId,
    pub thread_register: R<B32>,
    /// The CTA.
    pub cta: IndexId,
    /// `cta * threads + thread`.
    pub global: IndexId,
}

impl Thread {
    /// Reads the numbers in a kernel of `grid` CTAs with `threads` threads each.
    pub(crate) fn here(engine: &mut Engine<'_>, grid: [u32; 3], threads: u32) -> Thread {
        let (cta_register, thread_register) = (engine.k.ctaid_x(), engine.k.tid_x());
        let cta = engine.variable(cta_register, 0, i64::from(grid[0]) - 1);
        let thread = engine.variable(thread_register, 0, i64::from(threads) - 1);
        let global = engine.indices.scale_add(cta, i64::from(threads), thread);
        Thread { thread, thread_register, cta, global }
    }
}

/// Ends threads whose `index` is not below `bound`. No barrier may follow.
pub(crate) fn leave_at(engine: &mut Engine<'_>, index: IndexId, bound: usize) -> Result<(), Fault> {
    if let Some(guard) = engine.guard_below(GuardId::ALWAYS, index, bound as i64)
        && let Some(inside) = engine.predicate(guard, 0)?
    {
        engine.k.unless(inside, |k| k.exit());
    }
    Ok(())
}
