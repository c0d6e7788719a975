//! Movement: where an element of the result comes from.

use super::guard::GuardId;
use super::{Engine, Lanes};
use crate::element;
use crate::error::Fault;
use crate::index::IndexId;
use crate::program::{Value as Node, ValueId};
use gable_ir::{Group, Op, ops};
use gable_ptx::{Reg, ScalarType};
use gable_tensor::DType;
use std::collections::BTreeMap;

impl Engine<'_> {
    /// The operand's coordinates for ops that move every element by a formula; `None` for the others.
    pub(crate) fn moved(&mut self, node: &Node, coordinates: &[IndexId]) -> Option<Vec<IndexId>> {
        let shape = &self.program.ty(*node.operands.first()?).shape;
        match &node.op {
            Op::Reshape(_) => {
                let flat = self.indices.flat(coordinates, &node.ty.shape);
                Some(self.indices.coordinates(flat, shape))
            }
            Op::Transpose(op) => {
                let mut inner = vec![self.indices.constant(0); shape.len()];
                for (&axis, &coordinate) in op.perm.iter().zip(coordinates) {
                    inner[axis] = coordinate;
                }
                Some(inner)
            }
            Op::Broadcast(_) => {
                let zero = self.indices.constant(0);
                let leading = coordinates.len() - shape.len();
                let inner = shape.iter().zip(&coordinates[leading..]);
                Some(inner.map(|(&size, &coordinate)| if size == 1 { zero } else { coordinate }).collect())
            }
            Op::Slice(op) => {
                let mut inner = Vec::with_capacity(coordinates.len());
                for (axis, &coordinate) in coordinates.iter().enumerate() {
                    let start = self.indices.constant(op.starts[axis].value()?);
                    inner.push(self.indices.scale_add(coordinate, op.steps[axis], start));
                }
                Some(inner)
            }
            _ => None,
        }
    }

    /// The coordinates of every value that follows `anchor` by maps, reshapes and transposes alone, where the anchor's
    /// element is at `coordinates`: what a kernel that computes anchors element by element has to store.
    pub fn followers(
        &mut self,
        anchor: ValueId,
        coordinates: &[IndexId],
    ) -> Result<BTreeMap<ValueId, Vec<IndexId>>, Fault> {
        let program = self.program;
        let mut found = BTreeMap::from([(anchor, coordinates.to_vec())]);
        for (id, node) in program.values.iter().enumerate().skip(anchor + 1) {
            let Some(from) = node.operands.iter().copied().find(|operand| found.contains_key(operand)) else {
                continue;
            };
            let at = found[&from].clone();
            let shape = &program.ty(from).shape;
            let next = match &node.op {
                op if op.is(Group::Map) => at,
                Op::Reshape(_) => {
                    let flat = self.indices.flat(&at, shape);
                    self.indices.coordinates(flat, &node.ty.shape)
                }
                Op::Transpose(op) => op.perm.iter().map(|&axis| at[axis]).collect(),
                Op::Broadcast(_) if node.ty.shape == *shape => at,
                other => {
                    return Err(Fault::contract(format!("`{}` comes after the anchor of its region", other.name())));
                }
            };
            found.insert(id, next);
        }
        Ok(found)
    }

    /// Binds the anchor's element and stores every output, all of which follow the anchor.
    pub fn store_followers(
        &mut self,
        anchor: ValueId,
        coordinates: &[IndexId],
        elements: Lanes,
        guard: GuardId,
    ) -> Result<(), Fault> {
        let program = self.program;
        self.bind(anchor, coordinates, elements);
        let followers = self.followers(anchor, coordinates)?;
        for (position, &(output, _)) in program.outputs.iter().enumerate() {
            let at = followers
                .get(&output)
                .ok_or_else(|| Fault::contract(format!("output {position} does not depend on the region's anchor")))?;
            let elements = self.emit_guarded(output, at, guard)?;
            self.store_output(position, at, &elements, guard)?;
        }
        Ok(())
    }

    pub(super) fn movement(&mut self, node: &Node, coordinates: &[IndexId], guard: GuardId) -> Result<Lanes, Fault> {
        if let Some(inner) = self.moved(node, coordinates) {
            return self.emit_guarded(node.operands[0], &inner, guard);
        }
        match &node.op {
            Op::Concat(op) => self.concat(op, node, coordinates, guard),
            Op::Pad(op) => self.pad(op, node, coordinates, guard),
            Op::Gather(op) => {
                let (x, indices) = (node.operands[0], node.operands[1]);
                let n_index = self.program.ty(indices).shape.len();
                let at = &coordinates[op.axis..op.axis + n_index];
                let chosen = self.chosen(indices, at, self.program.ty(x).shape[op.axis], guard)?;
                let mut inner = coordinates.to_vec();
                inner.splice(op.axis..op.axis + n_index, [chosen]);
                self.emit_guarded(x, &inner, guard)
            }
            Op::GatherElements(op) => {
                let (x, indices) = (node.operands[0], node.operands[1]);
                let mut inner = coordinates.to_vec();
                inner[op.axis] = self.chosen(indices, coordinates, self.program.ty(x).shape[op.axis], guard)?;
                self.emit_guarded(x, &inner, guard)
            }
            other => Err(Fault::contract(format!("`{}` with unbound sizes", other.name()))),
        }
    }

    /// The coordinate that an element of an index tensor selects on an axis of `n`, clamped to it.
    fn chosen(&mut self, indices: ValueId, at: &[IndexId], n: usize, guard: GuardId) -> Result<IndexId, Fault> {
        let dtype = self.program.ty(indices).dtype;
        let numbers = self.emit_guarded(indices, at, guard)?;
        let last = n as i64 - 1;
        if last <= 0 {
            return Ok(self.indices.constant(0));
        }
        let narrow = i32::try_from(last).is_ok();
        let lanes = if numbers.is_uniform() { 1 } else { self.lanes() };
        let mut registers: Vec<Reg> = Vec::with_capacity(lanes as usize);
        for lane in 0..lanes {
            let ty = element::compute_type(dtype)?;
            let at_least = self.k.binary(gable_ptx::meaning::Binary::Max, ty, numbers.at(lane), 0)?;
            // An axis longer than the indices can say needs no upper bound.
            let clamped = if ty == ScalarType::S32 && !narrow {
                at_least
            } else {
                self.k.binary(gable_ptx::meaning::Binary::Min, ty, at_least, last)?
            };
            let register = match (ty, narrow) {
                (ScalarType::S64, true) => self.k.convert(ScalarType::U32, ScalarType::U64, clamped)?,
                (ScalarType::S32, false) => self.k.convert(ScalarType::U64, ScalarType::U32, clamped)?,
                _ => clamped,
            };
            registers.push(register);
        }
        Ok(match registers.as_slice() {
            [one] => self.variable(*one, 0, last),
            all => self.variable_per_lane(all, 0, last),
        })
    }

    fn concat(
        &mut self,
        op: &ops::Concat,
        node: &Node,
        coordinates: &[IndexId],
        guard: GuardId,
    ) -> Result<Lanes, Fault> {
        let coordinate = coordinates[op.axis];
        let mut start = 0;
        let mut result: Option<(GuardId, Lanes)> = None;
        for &operand in &node.operands {
            let size = self.program.ty(operand).shape[op.axis] as i64;
            let end = start + size;
            let from_start = self.guard_at_least(guard, coordinate, start);
            let within = from_start.and_then(|guard| self.guard_below(guard, coordinate, end));
            if let (Some(within), true) = (within, size > 0) {
                let mut inner = coordinates.to_vec();
                inner[op.axis] = self.indices.offset(coordinate, -start);
                let part = self.emit_guarded(operand, &inner, within)?;
                let last = self.guard_at_least(GuardId::ALWAYS, coordinate, start);
                result = Some(match (result, last) {
                    (Some((_, before)), Some(last)) if last != GuardId::ALWAYS => {
                        (within, self.select_guarded(node.ty.dtype, last, &part, &before)?)
                    }
                    _ => (within, part),
                });
            }
            start = end;
        }
        result.map(|(_, lanes)| lanes).ok_or_else(|| Fault::contract("an element of an empty `concat` is needed"))
    }

    fn pad(&mut self, op: &ops::Pad, node: &Node, coordinates: &[IndexId], guard: GuardId) -> Result<Lanes, Fault> {
        let (x, value) = (node.operands[0], node.operands[1]);
        let filler = self.emit_guarded(value, &[], guard)?;
        let mut inside = Some((guard, GuardId::ALWAYS));
        let mut inner = Vec::with_capacity(coordinates.len());
        for (axis, &coordinate) in coordinates.iter().enumerate() {
            let mut at = self.indices.offset(coordinate, -op.low[axis]);
            if op.interior[axis] > 0 {
                let (quotient, remainder) = self.indices.divide(at, op.interior[axis] + 1);
                inside = self.both(inside, |engine, guard| engine.guard_equal(guard, remainder, 0));
                at = quotient;
            }
            let size = self.program.ty(x).shape[axis] as i64;
            inside = self.both(inside, |engine, guard| engine.guard_at_least(guard, at, 0));
            inside = self.both(inside, |engine, guard| engine.guard_below(guard, at, size));
            inner.push(at);
        }
        let Some((inside, of_pad)) = inside else { return Ok(filler) };
        let element = self.emit_guarded(x, &inner, inside)?;
        if of_pad == GuardId::ALWAYS {
            return Ok(element);
        }
        self.select_guarded(node.ty.dtype, of_pad, &element, &filler)
    }

    /// Narrows two guards by one condition: the one for memory, and the one that selects.
    fn both(
        &mut self,
        guards: Option<(GuardId, GuardId)>,
        narrow: impl Fn(&mut Self, GuardId) -> Option<GuardId>,
    ) -> Option<(GuardId, GuardId)> {
        let (memory, selecting) = guards?;
        Some((narrow(self, memory)?, narrow(self, selecting)?))
    }

    /// `a` in lanes where `guard` holds, else `b`.
    fn select_guarded(&mut self, dtype: DType, guard: GuardId, a: &Lanes, b: &Lanes) -> Result<Lanes, Fault> {
        let uniform = a.is_uniform() && b.is_uniform() && !self.guard_has_lane(guard);
        let n = if uniform { 1 } else { self.lanes() };
        let mut results = Vec::with_capacity(n as usize);
        for lane in 0..n {
            results.push(match self.predicate(guard, lane)? {
                Some(pred) => element::select(&mut self.k, dtype, pred, a.at(lane), b.at(lane))?,
                None => a.at(lane),
            });
        }
        Ok(Lanes::new(results))
    }
}
