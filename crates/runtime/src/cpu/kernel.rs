//! What a step of a program runs, and how a kernel sees its operands and its result.

use super::data::{Data, Lane};
use super::layout::{Layout, Walk};
use super::parallel;
use gable_ir::OpError;
use std::borrow::Cow;

/// The work of one step. Everything that depends on types and shapes alone is decided when it is made.
pub(super) trait Kernel: Send + Sync {
    /// Computes every element of the result. Operands come in the order that the kernel was made for.
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError>;
}

/// An operand: elements in a buffer, and where they lie.
#[derive(Clone, Copy)]
pub(super) struct Arg<'a> {
    pub data: &'a Data,
    pub layout: &'a Layout,
}

impl<'a> Arg<'a> {
    /// The whole buffer.
    pub fn lanes<T: Lane>(&self) -> &'a [T] {
        T::of(self.data)
    }

    /// The elements in row-major order, copied where they do not lie so.
    pub fn dense<T: Lane>(&self) -> Cow<'a, [T]> {
        let lanes = self.lanes::<T>();
        if let Some(dense) = self.layout.dense(lanes) {
            return Cow::Borrowed(dense);
        }
        let mut copy = vec![T::default(); self.layout.len()];
        copy_into(self.layout, lanes, &mut copy);
        Cow::Owned(copy)
    }
}

/// The result: row-major.
pub(super) struct Out<'a> {
    pub data: &'a mut Data,
    /// Number of elements; the buffer may have more.
    pub len: usize,
}

impl<'a> Out<'a> {
    pub fn lanes<T: Lane>(self) -> &'a mut [T] {
        &mut T::of_mut(self.data)[..self.len]
    }
}

/// Copies the elements of a layout in row-major order.
pub(super) fn copy_into<T: Lane>(layout: &Layout, data: &[T], out: &mut [T]) {
    let walk = Walk::new(layout);
    parallel::for_each_chunk(out, 1, 1, |start, chunk| walk.read(data, start, chunk));
}

/// Lays an operand out in row-major order.
pub(super) struct Copy<T>(pub std::marker::PhantomData<T>);

impl<T: Lane> Kernel for Copy<T> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        copy_into(args[0].layout, args[0].lanes::<T>(), out.lanes());
        Ok(())
    }
}
