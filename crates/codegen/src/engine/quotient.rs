//! Quotients by scales that are powers of two: products by their reciprocals, which are exact, of which each scale has one.

use super::guard::GuardId;
use super::{Engine, Lanes};
use crate::arithmetic;
use crate::error::Fault;
use crate::index::IndexId;
use crate::program::{Value as Node, ValueId};
use gable_ir::{Group, Op, ops};
use gable_tensor::DType;

impl Engine<'_> {
    /// The elements of a quotient in f32 whose divisor is a scale of ue8m0, wherever it was moved from; `None` for others.
    ///
    /// Both ways round the same number once: a power of two's reciprocal is one too, and f32 has that of each.
    pub(super) fn by_power_of_two(
        &mut self,
        node: &Node,
        coordinates: &[IndexId],
        guard: GuardId,
    ) -> Result<Option<Lanes>, Fault> {
        let (Op::Div(_), DType::F32, &[x, y]) = (&node.op, node.ty.dtype, node.operands.as_slice()) else {
            return Ok(None);
        };
        let Some((scale, at)) = self.scale_behind(y, coordinates) else { return Ok(None) };
        let elements = self.emit_guarded(x, coordinates, guard)?;
        let key = (scale, at.as_slice().into(), guard);
        let reciprocal = match self.reciprocals.get(&key) {
            Some(known) => known.clone(),
            None => {
                let scale = self.emit_guarded(scale, &at, guard)?;
                let reciprocal = Op::Recip(ops::Recip {});
                let found = self.per_lane(&[scale], |engine, scale| {
                    arithmetic::map(&mut engine.k, &reciprocal, &[DType::F32], DType::F32, scale)
                })?;
                self.reciprocals.insert(key, found.clone());
                found
            }
        };
        let product = Op::Mul(ops::Mul {});
        self.per_lane(&[elements, reciprocal], |engine, both| {
            arithmetic::map(&mut engine.k, &product, &[DType::F32; 2], DType::F32, both)
        })
        .map(Some)
    }

    /// The value converted from ue8m0 that `value` is an element of, and where.
    fn scale_behind(&mut self, value: ValueId, coordinates: &[IndexId]) -> Option<(ValueId, Vec<IndexId>)> {
        let (mut at, mut place) = (value, coordinates.to_vec());
        loop {
            let node = &self.program.values[at];
            match &node.op {
                Op::Cast(_) => {
                    let from = self.program.ty(node.operands[0]).dtype;
                    return (from == DType::UE8M0 && node.ty.dtype == DType::F32).then_some((at, place));
                }
                op if op.is(Group::Movement) => {
                    place = self.moved(node, &place)?;
                    at = node.operands[0];
                }
                _ => return None,
            }
        }
    }
}
