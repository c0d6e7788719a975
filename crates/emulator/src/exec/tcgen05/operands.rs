//! Operands of `tcgen05.mma` out of shared and tensor memory.

use std::ops::Range;

use gable_ptx::Target;

use super::{At, Fault, HazardKind};
use crate::machine::Cluster;
use crate::memory::TensorMemory;
use crate::order::{Kind, Operation};
use crate::program::Decoder;
use crate::tensor_core::descriptor::{DescriptorError, Format};
use crate::tensor_core::packing::CellContainer;
use crate::tensor_core::tcgen05::layout::DataPath;
use crate::tensor_core::tcgen05::scales::ScaleLayout;

/// Which bits a descriptor may have on the target.
pub(super) fn target_format(d: &Decoder<'_>) -> Format {
    Format::Blackwell { absolute_leading: d.machine() == Target::Sm103a }
}

pub(super) fn descriptor_fault(error: DescriptorError) -> Fault {
    Fault::new(HazardKind::Descriptor, error.to_string())
}

/// Records that an operation touches a rectangle of the tensor memory of a CTA.
pub(super) fn touch_tensor(
    c: &mut Cluster<'_>,
    at: &At,
    operation: Option<&Operation>,
    rank: u32,
    lanes: Range<u32>,
    columns: Range<u32>,
    kind: Kind,
) {
    let (Some(order), Some(operation)) = (&mut c.order, operation) else { return };
    if let Err(conflict) = order.operation_tensor(operation, rank, lanes, columns, kind, at.pc) {
        c.report_conflict(at.warp, conflict);
    }
}

/// The runs of lanes that rows of a layout's bank take, from the lane of the address.
pub(super) fn lane_runs(data_path: DataPath, lane: u32, banks: u32) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for bank in 0..banks {
        for row in 0..data_path.rows() {
            let place = lane + data_path.lane(row, bank);
            match runs.last_mut() {
                Some(run) if run.end == place => run.end += 1,
                _ => runs.push(place..place + 1),
            }
        }
    }
    runs
}

/// A in tensor memory.
#[derive(Clone, Copy)]
pub(super) struct TensorA {
    pub lane: u32,
    pub column: u32,
    pub container: CellContainer,
    /// Stored elements of a row.
    pub k: u32,
    /// `.ashift`: a row is that of the next lane, except in the last lane of each quarter. The manual says "down by one row" and
    /// "except for the last row"; that this is what it means is how open code reads it, not measured.
    pub shifted: bool,
}

impl TensorA {
    /// Columns that A takes.
    pub(super) fn columns(&self) -> u32 {
        self.k.div_ceil(self.container.per_cell())
    }

    /// Rows of codes, as the lanes of a bank see them.
    pub(super) fn read(&self, tensor: &TensorMemory, data_path: DataPath, bank: u32) -> Result<Vec<u32>, Fault> {
        let per_cell = self.container.per_cell();
        let mut codes = Vec::with_capacity((data_path.rows() * self.k) as usize);
        for row in 0..data_path.rows() {
            let mut lane = self.lane + data_path.lane(row, bank);
            if self.shifted && lane % 32 != 31 {
                lane += 1;
            }
            let cells = tensor.read(lane, self.column, self.columns())?;
            codes.extend((0..self.k).map(|k| self.container.code(cells[(k / per_cell) as usize], k % per_cell)));
        }
        Ok(codes)
    }
}

/// The scales of an operand, row by row. Every copy of a scale must hold the same.
pub(super) fn read_scales(tensor: &TensorMemory, column: u32, layout: &ScaleLayout) -> Result<Vec<u8>, Fault> {
    let mut scales = Vec::with_capacity((layout.rows * layout.per_row) as usize);
    for row in 0..layout.rows {
        for index in 0..layout.per_row {
            let mut first = None;
            for quarter in layout.quarters(row) {
                let (lane, offset, byte) = layout.cell(row, index, quarter);
                let code = (tensor.read(lane, column + offset, 1)?[0] >> (8 * byte)) as u8;
                match first {
                    None => first = Some((code, lane)),
                    Some((other, place)) if other != code => {
                        let message = format!(
                            "scale {index} of row {row} is {other:#04x} at lane {place} and {code:#04x} at lane {lane}: the quarters of the lanes must hold the same"
                        );
                        return Err(Fault::new(HazardKind::TensorMemory, message));
                    }
                    Some(_) => {}
                }
            }
            scales.extend(first.map(|(code, _)| code));
        }
    }
    Ok(scales)
}
