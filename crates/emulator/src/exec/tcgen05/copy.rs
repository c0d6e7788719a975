//! `tcgen05.cp` and `tcgen05.shift`.

use gable_ptx::syntax::Instruction;

use super::operands::{self, target_format};
use super::pipeline;
use super::{Decoded, Fault, HazardKind, cta_group, group_ranks, says, split};
use crate::exec::shared_operand::{read_shared, touch_shared};
use crate::exec::{Flow, step};
use crate::machine::{Asynchronous, Cluster, lanes};
use crate::order::{Kind, OperationKind};
use crate::program::{Decoder, LoadError};
use crate::tensor_core::descriptor::MatrixDescriptor;
use crate::tensor_core::operand::SharedOperand;
use crate::tensor_core::tcgen05::copy::{CopyFormat, CopyShape};
use crate::tensor_core::tcgen05::moves::{SHIFT_COLUMNS, SHIFT_LANES};

pub(super) fn copy(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let cta_group = cta_group(d, inst)?;
    let to = d.address(d.operand(inst, 0)?)?;
    let from = d.value(d.operand(inst, 1)?)?;
    let shape = if says(inst, "128x256b") {
        CopyShape::L128x256b
    } else if says(inst, "4x256b") {
        CopyShape::L4x256b
    } else if says(inst, "128x128b") {
        CopyShape::L128x128b
    } else if says(inst, "64x128b") && says(inst, "warpx2::02_13") {
        CopyShape::L64x128bWarpx2_02_13
    } else if says(inst, "64x128b") && says(inst, "warpx2::01_23") {
        CopyShape::L64x128bWarpx2_01_23
    } else if says(inst, "32x128b") && says(inst, "warpx4") {
        CopyShape::L32x128bWarpx4
    } else {
        return Err(d.error(format!("`{}` has no such shape", inst.spelling())));
    };
    let format = if says(inst, "b4x16_p64") {
        CopyFormat::FourBits
    } else if says(inst, "b6x16_p32") {
        CopyFormat::SixBits
    } else {
        CopyFormat::Plain
    };
    let target = target_format(d);
    Ok(Decoded::free(step(move |c, at| {
        let ranks = group_ranks(c, &at, cta_group)?;
        let kernel = c.grid.kernel;
        let addresses = c.warps[at.warp].addresses(kernel, to);
        let descriptors = *c.warps[at.warp].source(kernel, from);
        for lane in lanes(at.mask) {
            let place = |fault: Fault| fault.lane(lane);
            let descriptor = MatrixDescriptor::decode(descriptors[lane], target)
                .and_then(|descriptor| shape.source(descriptor))
                .map_err(operands::descriptor_fault)
                .map_err(place)?;
            let address = addresses[lane] as u32;
            let copying = Copying { ranks: ranks.clone(), shape, format, source: descriptor, to: split(address) };
            copying.check(c).map_err(|fault| fault.lane(lane).at(address.into()))?;
            let operation = pipeline::start(c, &at, lane, OperationKind::TensorCopy);
            for rank in &ranks {
                touch_shared(c, &at, operation.as_ref(), u64::from(*rank) << 24, &descriptor, |_| true);
                for (first, last) in copying.lane_runs() {
                    let columns = copying.to.1..copying.to.1 + shape.columns();
                    operands::touch_tensor(c, &at, operation.as_ref(), *rank, first..last, columns, Kind::Write);
                }
            }
            let queue = pipeline::queue(&at, lane);
            c.issue(queue, (at.warp, lane as u32), at.pc, Box::new(copying)).map_err(place)?;
        }
        Ok(Flow::Next)
    })))
}

struct Copying {
    ranks: Vec<u32>,
    shape: CopyShape,
    format: CopyFormat,
    source: SharedOperand,
    to: (u32, u32),
}

impl Copying {
    fn check(&self, c: &Cluster<'_>) -> Result<(), Fault> {
        let column = self.to.1;
        for rank in &self.ranks {
            for (first, last) in self.lane_runs() {
                let tensor = &c.ctas[*rank as usize].tensor;
                tensor.check(first, last - first, column, self.shape.columns())?;
            }
        }
        Ok(())
    }

    /// Lanes that are written, in runs.
    fn lane_runs(&self) -> Vec<(u32, u32)> {
        let mut lanes: Vec<u32> = (0..self.shape.rows()).flat_map(|row| self.shape.lanes(row)).collect();
        lanes.sort_unstable();
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for lane in lanes.into_iter().map(|lane| lane + self.to.0) {
            match runs.last_mut() {
                Some((_, end)) if *end == lane => *end += 1,
                _ => runs.push((lane, lane + 1)),
            }
        }
        runs
    }
}

impl Asynchronous for Copying {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        let (lane, column) = self.to;
        for rank in &self.ranks {
            let bytes = read_shared(c, *rank, &self.source, self.format.used_bytes() as usize, |_| true)?;
            let (chunks, _) = bytes.as_chunks::<16>();
            let per_row = self.shape.columns() as usize / 4;
            let tensor = &mut c.ctas[*rank as usize].tensor;
            for (row, chunks) in chunks.chunks_exact(per_row).enumerate() {
                let cells: Vec<u32> = chunks.iter().flat_map(|chunk| self.format.cells(chunk)).collect();
                for to in self.shape.lanes(row as u32) {
                    tensor.write(lane + to, column, &cells)?;
                }
            }
        }
        Ok(())
    }
}

pub(super) fn shift(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let cta_group = cta_group(d, inst)?;
    let address = d.address(d.operand(inst, 0)?)?;
    Ok(Decoded::free(step(move |c, at| {
        let ranks = group_ranks(c, &at, cta_group)?;
        let addresses = c.warps[at.warp].addresses(c.grid.kernel, address);
        for lane in lanes(at.mask) {
            let address = addresses[lane] as u32;
            let (first, column) = split(address);
            if !first.is_multiple_of(SHIFT_LANES) {
                let message = format!("shifts from lane {first}: the lane must be a multiple of {SHIFT_LANES}");
                return Err(Fault::new(HazardKind::TensorMemory, message).lane(lane).at(address.into()));
            }
            let operation = pipeline::start(c, &at, lane, OperationKind::TensorShift);
            for rank in &ranks {
                let tensor = &c.ctas[*rank as usize].tensor;
                tensor
                    .check(first, SHIFT_LANES, column, SHIFT_COLUMNS)
                    .map_err(|fault| fault.lane(lane).at(address.into()))?;
                let columns = column..column + SHIFT_COLUMNS;
                let lanes = first..first + SHIFT_LANES;
                operands::touch_tensor(c, &at, operation.as_ref(), *rank, lanes, columns, Kind::Write);
            }
            let shifting = Shifting { ranks: ranks.clone(), lane: first, column };
            let queue = pipeline::queue(&at, lane);
            c.issue(queue, (at.warp, lane as u32), at.pc, Box::new(shifting)).map_err(|fault| fault.lane(lane))?;
        }
        Ok(Flow::Next)
    })))
}

struct Shifting {
    ranks: Vec<u32>,
    lane: u32,
    column: u32,
}

impl Asynchronous for Shifting {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        for rank in self.ranks {
            let tensor = &mut c.ctas[rank as usize].tensor;
            for lane in self.lane..self.lane + SHIFT_LANES - 1 {
                let cells = tensor.read(lane + 1, self.column, SHIFT_COLUMNS)?.to_vec();
                tensor.write(lane, self.column, &cells)?;
            }
        }
        Ok(())
    }
}
