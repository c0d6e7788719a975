//! `ldmatrix`, `stmatrix` and `movmatrix`: tiles between shared memory and the registers of a warp.

use gable_ptx::grammar::Resolved;
use gable_ptx::syntax::Instruction;

use super::mma::whole_warp;
use super::{At, Decoded, Execute, Flow, says, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Cluster, LANES, LaneBytes, MOST, Space, lanes};
use crate::order::Kind;
use crate::program::{Address, Decoder, Destination, LoadError, Source};
use crate::scalar::Register;
use crate::tensor_core::matrix_moves::{MatrixMove, ROW_BYTES, RowFormat, Rows, Tile, transpose};

pub(super) fn decode(
    d: &mut Decoder<'_>,
    _resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    Ok(Some(match &*inst.name {
        "ldmatrix" => {
            let matrix = matrix(d, inst)?;
            let to = d.elements(d.operand(inst, 0)?)?;
            let to =
                to.iter().map(|register| d.destination(register)).collect::<Result<Vec<Destination>, LoadError>>()?;
            count(d, inst, to.len(), matrix)?;
            let address = d.address(d.operand(inst, 1)?)?;
            Decoded::aligned(Load { matrix, to, address, space: space(inst) })
        }
        "stmatrix" => {
            let matrix = matrix(d, inst)?;
            let address = d.address(d.operand(inst, 0)?)?;
            let from = d.elements(d.operand(inst, 1)?)?;
            let from = from.iter().map(|register| d.value(register)).collect::<Result<Vec<Source>, LoadError>>()?;
            count(d, inst, from.len(), matrix)?;
            Decoded::aligned(Store { matrix, from, address, space: space(inst) })
        }
        "movmatrix" => {
            let (to, from) = (d.destination(d.operand(inst, 0)?)?, d.value(d.operand(inst, 1)?)?);
            Decoded::aligned(step(move |c, at| {
                whole_warp(&at)?;
                let kernel = c.grid.kernel;
                let result = transpose(c.warps[at.warp].source(kernel, from));
                c.warps[at.warp].set(to, at.mask, &result);
                Ok(Flow::Next)
            }))
        }
        _ => return Ok(None),
    }))
}

fn matrix(d: &Decoder<'_>, inst: &Instruction) -> Result<MatrixMove, LoadError> {
    let transpose = says(inst, "trans");
    let format = match (says(inst, "b4x16_p64"), says(inst, "b6x16_p32")) {
        (true, _) => RowFormat::Nibbles,
        (_, true) => RowFormat::Sixes,
        _ => RowFormat::Plain,
    };
    let tile = match inst.modifiers.iter().find(|word| word.starts_with('m')).map(|word| &**word) {
        Some("m8n8") => Tile::Words { transpose },
        Some("m8n16") if format != RowFormat::Plain && !transpose => Tile::Spread,
        Some("m16n16") if transpose => Tile::Square,
        Some("m16n8") if transpose => Tile::Tall,
        _ => return Err(d.error(format!("`{}`: there is no such shape", inst.spelling()))),
    };
    let count = ["x1", "x2", "x4"].iter().position(|&word| says(inst, word)).map(|index| 1 << index);
    let count = count.ok_or_else(|| d.error(format!("`{}` says no number of matrices", inst.spelling())))?;
    if count * tile.rows() > LANES {
        return Err(d.error(format!("`{}`: {count} matrices have more rows than lanes", inst.spelling())));
    }
    Ok(MatrixMove { tile, count, format })
}

fn count(d: &Decoder<'_>, inst: &Instruction, found: usize, matrix: MatrixMove) -> Result<(), LoadError> {
    let expected = matrix.registers();
    if found == expected {
        return Ok(());
    }
    Err(d.error(format!("`{}` has {found} registers, expected {expected}", inst.spelling())))
}

fn space(inst: &Instruction) -> Space {
    if says(inst, "shared") || says(inst, "shared::cta") { Space::Shared } else { Space::Generic }
}

/// The lanes whose rows are moved. Their addresses must be multiples of a whole row even where a part of it is read.
fn rows_of(at: At, matrix: MatrixMove, addresses: &Register) -> Result<At, Fault> {
    whole_warp(&at)?;
    let at = At { mask: matrix.address_lanes(), ..at };
    match lanes(at.mask).find(|&lane| !addresses[lane].is_multiple_of(ROW_BYTES as u64)) {
        None => Ok(at),
        Some(lane) => {
            let address = addresses[lane];
            let message = format!("row {lane} at {address:#x}: the address must be a multiple of {ROW_BYTES}");
            Err(Fault::new(HazardKind::Misaligned, message).lane(lane).at(address))
        }
    }
}

struct Load {
    matrix: MatrixMove,
    to: Vec<Destination>,
    address: Address,
    space: Space,
}

impl Execute for Load {
    fn execute(&self, cluster: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let kernel = cluster.grid.kernel;
        let addresses = cluster.warps[at.warp].addresses(kernel, self.address);
        let reading = rows_of(at, self.matrix, &addresses)?;
        let mut rows: Rows = [[0; ROW_BYTES]; LANES];
        let mut bytes: LaneBytes = [[0; MOST]; LANES];
        // 12 bytes are read as 8 and 4: the padding of a row need not have been written.
        let parts: &[(usize, usize)] = match self.matrix.format.bytes() {
            12 => &[(0, 8), (8, 4)],
            8 => &[(0, 8)],
            _ => &[(0, ROW_BYTES)],
        };
        for &(from, length) in parts {
            let addresses = addresses.map(|address| address.wrapping_add(from as u64));
            cluster.read_lanes(&reading, self.space, &addresses, length, Kind::Read, &mut bytes)?;
            for lane in lanes(reading.mask) {
                rows[lane][from..from + length].copy_from_slice(&bytes[lane][..length]);
            }
        }
        let results = self.matrix.load(&rows);
        for (to, result) in self.to.iter().zip(&results) {
            cluster.warps[at.warp].set(*to, at.mask, result);
        }
        Ok(Flow::Next)
    }
}

struct Store {
    matrix: MatrixMove,
    from: Vec<Source>,
    address: Address,
    space: Space,
}

impl Execute for Store {
    fn execute(&self, cluster: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let kernel = cluster.grid.kernel;
        let warp = &cluster.warps[at.warp];
        let addresses = warp.addresses(kernel, self.address);
        let writing = rows_of(at, self.matrix, &addresses)?;
        let registers: Vec<Register> = self.from.iter().map(|source| *warp.source(kernel, *source)).collect();
        let rows = self.matrix.store(&registers);
        let mut bytes: LaneBytes = [[0; MOST]; LANES];
        for lane in lanes(writing.mask) {
            bytes[lane][..ROW_BYTES].copy_from_slice(&rows[lane]);
        }
        cluster.write_lanes(&writing, self.space, &addresses, ROW_BYTES, Kind::Write, &bytes)?;
        Ok(Flow::Next)
    }
}
