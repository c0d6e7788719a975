//! The running of `tcgen05.mma`: operands are gathered, multiplied, and D is put back.

use std::ops::Range;

use super::operands::{TensorA, read_scales};
use super::{Fault, HazardKind};
use crate::exec::shared_operand::read_shared;
use crate::machine::{Asynchronous, Cluster};
use crate::memory::TensorMemory;
use crate::tensor_core::accumulate::{Accumulator, Device, Numerics, Unit};
use crate::tensor_core::multiply::{Codes, MultiplyError, Operand, Scales, Shape, multiply};
use crate::tensor_core::operand::SharedOperand;
use crate::tensor_core::sparsity::{Expanded, Granularity};
use crate::tensor_core::tcgen05::column_mask::ColumnMask;
use crate::tensor_core::tcgen05::instruction_descriptor::InstructionDescriptor;
use crate::tensor_core::tcgen05::layout::{DataPath, metadata_cell};
use crate::tensor_core::tcgen05::scales::ScaleLayout;

/// A multiply that has been issued.
pub(super) struct Product {
    pub instruction: InstructionDescriptor,
    pub data_path: DataPath,
    /// The CTAs that take part.
    pub ranks: Vec<u32>,
    /// Lane and column of D.
    pub d: (u32, u32),
    /// A in tensor memory, or in shared memory.
    pub a: Result<TensorA, SharedOperand>,
    pub b: SharedOperand,
    pub zero_columns: Option<ColumnMask>,
    pub metadata: Option<(u32, u32)>,
    /// Columns and layouts of the scales of A and of B.
    pub scales: Option<[(u32, ScaleLayout); 2]>,
    /// Lanes whose D is not written, a bit each; those of the second CTA follow.
    pub disabled: [u32; 8],
    pub accumulates: bool,
    /// D is taken times 2 to minus this.
    pub scale_d: u32,
}

impl Asynchronous for Product {
    fn finish(self: Box<Self>, c: &mut Cluster<'_>) -> Result<(), Fault> {
        let threads = c.threads_per_cta();
        for rank in &self.ranks {
            if c.ctas[*rank as usize].exited >= threads {
                let message = format!("a multiply works on CTA {rank} of the cluster, which has exited");
                return Err(Fault::new(HazardKind::NotWaitedFor, message));
            }
        }
        let b = self.gather_b(c)?;
        for (index, rank) in self.ranks.iter().enumerate() {
            self.multiply_in(c, index, *rank, &b)?;
        }
        Ok(())
    }
}

impl Product {
    /// Whether any row of B in the range is multiplied by: the others may hold anything.
    pub(super) fn reads_rows(&self, rows: Range<u32>) -> bool {
        match &self.zero_columns {
            None => true,
            Some(mask) => (0..self.instruction.n).filter_map(|n| mask.source(n)).any(|row| rows.contains(&row)),
        }
    }

    /// All of B: rows of k codes, the halves of a pair one after the other.
    fn gather_b(&self, c: &Cluster<'_>) -> Result<Vec<u32>, Fault> {
        let (n, k) = (self.instruction.n as usize, self.instruction.k as usize);
        let mut all = Vec::with_capacity(n * k);
        let used = self.b.used_bytes() as usize;
        for rank in &self.ranks {
            let bytes = read_shared(c, *rank, &self.b, used, |chunk| self.reads_rows(self.b.rows_of_chunk(chunk)))?;
            let mut codes = vec![0; self.b.rows() as usize * k];
            self.b.assemble(&bytes, &mut codes);
            match &self.zero_columns {
                None => all.extend_from_slice(&codes[..n / self.ranks.len() * k]),
                Some(mask) => {
                    for column in 0..n as u32 {
                        match mask.source(column) {
                            Some(row) => all.extend_from_slice(&codes[row as usize * k..(row as usize + 1) * k]),
                            None => all.resize(all.len() + k, 0),
                        }
                    }
                }
            }
        }
        Ok(all)
    }

    /// The part of D in one CTA.
    fn multiply_in(&self, c: &mut Cluster<'_>, index: usize, rank: u32, b: &[u32]) -> Result<(), Fault> {
        let instruction = &self.instruction;
        let (rows, n, k) = (self.data_path.rows() as usize, instruction.n as usize, instruction.k as usize);
        let stored = instruction.stored_k() as usize;
        let tensor = &c.ctas[rank as usize].tensor;
        let mut d = vec![0; rows * n];
        if self.accumulates {
            self.read_d(tensor, index, &mut d)?;
        }
        let scales = match &self.scales {
            Some([(a, a_layout), (b, b_layout)]) => {
                Some((read_scales(tensor, *a, a_layout)?, read_scales(tensor, *b, b_layout)?))
            }
            None => None,
        };
        match &self.a {
            Err(a) => {
                let bytes = read_shared(c, rank, a, a.used_bytes() as usize, |_| true)?;
                let mut codes = vec![0; a.rows() as usize * stored];
                a.assemble(&bytes, &mut codes);
                codes.truncate(rows * stored);
                let a = self.expand(&c.ctas[rank as usize].tensor, codes)?;
                self.multiply(&a, b, scales.as_ref(), n, &mut d)?;
            }
            Ok(a) => {
                // The lanes of each bank have their own copy of A and their own part of N.
                let banks = self.data_path.banks();
                let part = n / banks as usize;
                for bank in 0..banks {
                    let codes = a.read(tensor, self.data_path, bank)?;
                    let a = self.expand(tensor, codes)?;
                    let from = bank as usize * part;
                    let columns = |row: usize| row * n + from..row * n + from + part;
                    let mut d_part: Vec<u32> = (0..rows).flat_map(|row| d[columns(row)].to_vec()).collect();
                    let b_part = &b[from * k..(from + part) * k];
                    let scales_part = scales.as_ref().map(|(a, b)| {
                        let per_row = b.len() / n;
                        (a.clone(), b[from * per_row..(from + part) * per_row].to_vec())
                    });
                    self.multiply(&a, b_part, scales_part.as_ref(), part, &mut d_part)?;
                    for row in 0..rows {
                        d[columns(row)].copy_from_slice(&d_part[row * part..(row + 1) * part]);
                    }
                }
            }
        }
        self.write_d(&mut c.ctas[rank as usize].tensor, index, &d)
    }

    /// A with all its columns.
    fn expand(&self, tensor: &TensorMemory, stored: Vec<u32>) -> Result<(Vec<u32>, Option<Vec<bool>>), Fault> {
        let Some((lane, column)) = self.metadata else { return Ok((stored, None)) };
        let instruction = &self.instruction;
        let rows = self.data_path.rows();
        let granularity = Granularity::of(instruction.a, instruction.form.kind.is_packed());
        let chunks = instruction.k / granularity.chunk();
        let mut codes = Vec::with_capacity((rows * chunks) as usize);
        for row in 0..rows {
            for chunk in 0..chunks {
                let (l, c, nibble) = metadata_cell(instruction, self.data_path, row, chunk);
                codes.push(tensor.read(lane + l, column + c, 1)?[0] >> (4 * nibble) & 0xf);
            }
        }
        let code = |row, chunk| codes[(row * chunks + chunk) as usize];
        let Expanded { codes, present } = granularity
            .expand(&stored, rows, instruction.k, code)
            .map_err(|error| Fault::new(HazardKind::Descriptor, error.to_string()))?;
        Ok((codes, Some(present)))
    }

    fn multiply(
        &self,
        (a, present): &(Vec<u32>, Option<Vec<bool>>),
        b: &[u32],
        scales: Option<&(Vec<u8>, Vec<u8>)>,
        n: usize,
        d: &mut [u32],
    ) -> Result<(), Fault> {
        let instruction = &self.instruction;
        let (m, k) = (self.data_path.rows() as usize, instruction.k as usize);
        let packed = instruction.form.kind.is_packed();
        let mut numerics = Numerics::of(Device::Blackwell, Unit::Tcgen05, instruction.a, instruction.d, packed);
        if instruction.form.sparse {
            numerics = numerics.sparse();
        }
        if k == 96 {
            // One instruction, one group, as with K = 64; not measured.
            numerics.group = 96;
        }
        let a = Operand {
            element: instruction.a,
            codes: Codes::Words(a),
            negate: instruction.negate_a,
            present: present.as_deref(),
        };
        let b = Operand { negate: instruction.negate_b, ..Operand::new(instruction.b, Codes::Words(b)) };
        let scales = match (scales, instruction.scales) {
            (Some((a, b)), Some(of)) => Some(Scales { format: of.format, block: k / of.per_row as usize, a, b }),
            _ => None,
        };
        multiply(&numerics, Shape { m, n, k }, &a, &b, scales.as_ref(), instruction.d, d)
            .map_err(|error: MultiplyError| Fault::new(HazardKind::Unsupported, error.to_string()))
    }

    fn is_disabled(&self, index: usize, lane: u32) -> bool {
        self.disabled[index * 4 + lane as usize / 32] >> (lane % 32) & 1 == 1
    }

    /// The rows of D with their banks: lane, and where the columns lie in a row of `n`.
    fn pieces(&self) -> impl Iterator<Item = (u32, Range<usize>)> + '_ {
        let n = self.instruction.n;
        let width = self.data_path.d_columns(n);
        (0..self.data_path.rows()).flat_map(move |row| {
            (0..self.data_path.banks()).map(move |bank| {
                let first = (row * n + bank * width) as usize;
                (self.d.0 + self.data_path.lane(row, bank), first..first + width as usize)
            })
        })
    }

    fn read_d(&self, tensor: &TensorMemory, index: usize, d: &mut [u32]) -> Result<(), Fault> {
        let width = self.data_path.d_columns(self.instruction.n);
        for (lane, piece) in self.pieces() {
            if !self.is_disabled(index, lane) {
                d[piece].copy_from_slice(tensor.read(lane, self.d.1, width)?);
            }
        }
        if self.scale_d > 0 {
            let factor = 0.5f32.powi(self.scale_d as i32);
            // How the scaled value is rounded where it becomes subnormal is not documented: to nearest here.
            d.iter_mut().for_each(|value| {
                *value = match self.instruction.d {
                    Accumulator::F16 => {
                        let scaled = half::f16::from_bits(*value as u16).to_f32() * factor;
                        u32::from(half::f16::from_f32(scaled).to_bits())
                    }
                    _ => (f32::from_bits(*value) * factor).to_bits(),
                }
            });
        }
        Ok(())
    }

    fn write_d(&self, tensor: &mut TensorMemory, index: usize, d: &[u32]) -> Result<(), Fault> {
        for (lane, piece) in self.pieces() {
            if !self.is_disabled(index, lane) {
                tensor.write(lane, self.d.1, &d[piece])?;
            }
        }
        Ok(())
    }
}
