//! The running of `wgmma.mma_async`, for one warp: operands are gathered, multiplied, and the accumulator is put back.

use super::overlaps;
use crate::exec::shared_operand::read_shared;
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Asynchronous, Cluster, LANES};
use crate::program::Destination;
use crate::tensor_core::accumulate::{Accumulator, Device, Numerics, Unit};
use crate::tensor_core::element::Element;
use crate::tensor_core::multiply::{Codes, Operand, Shape, multiply};
use crate::tensor_core::operand::SharedOperand;
use crate::tensor_core::sparsity::Granularity;
use crate::tensor_core::wgmma::{self, Form};
use crate::tensor_core::{BitOperation, multiply_bits};

/// What is left of a multiply when it has been issued.
pub(super) struct Running {
    pub(super) warp: usize,
    pub(super) form: Form,
    pub(super) d: Vec<Destination>,
    /// A as the registers gave it, or where it lies.
    pub(super) a: Result<Vec<u32>, SharedOperand>,
    pub(super) b: SharedOperand,
    pub(super) metadata: Option<(Vec<u32>, u32)>,
    pub(super) accumulates: bool,
}

impl Asynchronous for Running {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        let form = self.form;
        let (rank, number) = (c.cta_of(self.warp).rank, c.warps[self.warp].number % 4);
        let (n, k) = (form.n as usize, self.b.k() as usize);
        let stored = if form.sparse { k / 2 } else { k };
        let mut a = match &self.a {
            Ok(codes) => codes.clone(),
            Err(operand) => {
                let rows = 16 * number..16 * number + 16;
                let bytes = read_shared(c, rank, operand, 16, |chunk| overlaps(&operand.rows_of_chunk(chunk), &rows))?;
                let mut codes = vec![0; wgmma::M as usize * stored];
                operand.assemble(&bytes, &mut codes);
                codes[rows.start as usize * stored..rows.end as usize * stored].to_vec()
            }
        };
        let mut present = None;
        if let Some((words, selector)) = &self.metadata {
            let granularity = match Granularity::of(form.a, false) {
                Granularity::TwoOfFour => Granularity::TwoOfFourAnyOrder,
                other => other,
            };
            let code = |row, chunk| {
                let (lane, nibble) = wgmma::metadata_nibble(row, chunk, *selector);
                words[lane as usize] >> (4 * nibble) & 0xf
            };
            let expanded = granularity
                .expand(&a, 16, form.k, code)
                .map_err(|error| Fault::new(HazardKind::Descriptor, error.to_string()))?;
            a = expanded.codes;
            present = Some(expanded.present);
        }
        let bytes = read_shared(c, rank, &self.b, 16, |_| true)?;
        let mut b = vec![0; n * k];
        self.b.assemble(&bytes, &mut b);

        let warp = &mut c.warps[self.warp];
        let mut accumulator = vec![0; 16 * n];
        if self.accumulates {
            self.read_accumulator(&warp.registers, &mut accumulator);
        }
        let shape = Shape { m: 16, n, k };
        let error =
            |error: crate::tensor_core::multiply::MultiplyError| Fault::new(HazardKind::Unsupported, error.to_string());
        if form.a == Element::B1 {
            multiply_bits(BitOperation::And, 16, n, k, &a, &b, &mut accumulator).map_err(error)?;
        } else {
            let numerics = Numerics::of(Device::Hopper, Unit::Wgmma, form.a, form.d, false);
            let numerics = if form.sparse { numerics.sparse() } else { numerics };
            let a_operand = Operand {
                element: form.a,
                codes: Codes::Words(&a),
                negate: form.negate_a,
                present: present.as_deref(),
            };
            let b_operand = Operand { negate: form.negate_b, ..Operand::new(form.b, Codes::Words(&b)) };
            multiply(&numerics, shape, &a_operand, &b_operand, None, form.d, &mut accumulator).map_err(error)?;
        }
        self.write_accumulator(warp, &accumulator);
        Ok(())
    }
}

impl Running {
    fn read_accumulator(&self, registers: &[[u64; 32]], accumulator: &mut [u32]) {
        let n = self.form.n;
        for (number, to) in self.d.iter().enumerate() {
            let Some(index) = to.register else { continue };
            for lane in 0..LANES {
                let value = registers[index as usize][lane] as u32;
                let (lane, number) = (lane as u32, number as u32);
                if self.form.d == Accumulator::F16 {
                    let (row, column) = wgmma::d_pair(0, lane, number);
                    let first = (row * n + column) as usize;
                    (accumulator[first], accumulator[first + 1]) = (value & 0xffff, value >> 16);
                } else {
                    let (row, column) = wgmma::d_cell(0, lane, number);
                    accumulator[(row * n + column) as usize] = value;
                }
            }
        }
    }

    fn write_accumulator(&self, warp: &mut crate::machine::Warp, accumulator: &[u32]) {
        let n = self.form.n;
        for (number, to) in self.d.iter().enumerate() {
            let number = number as u32;
            let values: [u64; LANES] = std::array::from_fn(|lane| {
                if self.form.d == Accumulator::F16 {
                    let (row, column) = wgmma::d_pair(0, lane as u32, number);
                    let first = (row * n + column) as usize;
                    u64::from(accumulator[first] & 0xffff | accumulator[first + 1] << 16)
                } else {
                    let (row, column) = wgmma::d_cell(0, lane as u32, number);
                    u64::from(accumulator[(row * n + column) as usize])
                }
            });
            warp.set(*to, u32::MAX, &values);
        }
    }
}
