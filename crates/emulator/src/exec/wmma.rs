//! `wmma.load`, `wmma.mma`, `wmma.store`: products whose fragments are opaque to the program.
//!
//! Which lane holds which element is the hardware's secret, so the layout here is our own: element `e` of a matrix, counted along its
//! rows, is slot `e % u` of lane `e / u`, where `u` elements come to each lane. Registers beyond those repeat them, as f16 factors need.
//! The types are f16, bf16, tf32, s8 and u8; f64, sub-byte integers and bits are refused by name.

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::{Instruction, Operand};

use super::memory::space;
use super::mma::{device, whole_warp};
use super::{At, Decoded, Execute, Flow, is};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Cluster, LANES, LaneBytes, MOST, Space};
use crate::order::Kind;
use crate::program::{Address, Decoder, Destination, LoadError, Source};
use crate::tensor_core::mma_sync::Mma;
use crate::tensor_core::{
    accumulate::{Accumulator, Numerics},
    element::Element,
    multiply,
};

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    if !is(resolved.op, &[Op::WmmaLoad, Op::WmmaStore, Op::WmmaMma]) {
        return Ok(None);
    }
    let (m, n, k) = resolved
        .modifiers
        .iter()
        .find_map(|modifier| match modifier {
            Modifier::Matrix { m, n, k } if *k > 0 => Some((*m as usize, *n as usize, *k as usize)),
            _ => None,
        })
        .ok_or_else(|| d.error(format!("`{}` has no shape", inst.spelling())))?;
    if resolved.op == Op::WmmaMma {
        return product(d, resolved, inst, (m, n, k)).map(Some);
    }
    let stores = resolved.op == Op::WmmaStore;
    let (rows, columns) = match resolved.one_of(&[Modifier::A, Modifier::B]) {
        Some(Modifier::A) => (m, k),
        Some(_) => (k, n),
        None => (m, n),
    };
    let bits = match resolved.types().last() {
        Some(Modifier::F16 | Modifier::Bf16) => 16,
        Some(Modifier::U8 | Modifier::S8) => 8,
        Some(Modifier::Tf32 | Modifier::F32 | Modifier::S32) => 32,
        _ => return Err(d.error(format!("`{}` is not emulated: its type", inst.spelling()))),
    };
    let (address, list) = if stores { (0, 1) } else { (1, 0) };
    let address = d.address(d.operand(inst, address)?)?;
    let list = d.elements(d.operand(inst, list)?)?;
    let stride = inst.operands.get(2).map(|operand| d.value(operand)).transpose()?;
    let matrix =
        Matrix { rows, columns, bits, by_row: resolved.has(Modifier::Row), space: space(resolved), address, stride };
    let fits = (list.len() * 32 / bits as usize).is_multiple_of((rows * columns / LANES).max(1));
    if !fits || rows * columns < LANES {
        return Err(d.error(format!("`{}` with {} registers", inst.spelling(), list.len())));
    }
    if stores {
        let from = list.iter().map(|operand| d.value(operand)).collect::<Result<Vec<Source>, LoadError>>()?;
        return Ok(Some(Decoded::aligned(Store { matrix, from })));
    }
    let to = list.iter().map(|operand| d.destination(operand)).collect::<Result<Vec<Destination>, LoadError>>()?;
    Ok(Some(Decoded::aligned(Load { matrix, to })))
}

/// A matrix in memory.
struct Matrix {
    rows: usize,
    columns: usize,
    bits: u32,
    by_row: bool,
    space: Space,
    address: Address,
    stride: Option<Source>,
}

impl Matrix {
    /// Elements of a lane.
    fn each(&self) -> usize {
        self.rows * self.columns / LANES
    }

    /// Addresses of slot `slot` in all lanes.
    fn addresses(&self, cluster: &Cluster<'_>, at: &At, slot: usize) -> [u64; LANES] {
        let kernel = cluster.grid.kernel;
        let warp = &cluster.warps[at.warp];
        let base = warp.addresses(kernel, self.address)[0];
        let dense = if self.by_row { self.columns } else { self.rows } as u64;
        let stride = self.stride.map_or(dense, |stride| warp.source(kernel, stride)[0] & 0xffff_ffff);
        std::array::from_fn(|lane| {
            let element = lane * self.each() + slot;
            let (row, column) = ((element / self.columns) as u64, (element % self.columns) as u64);
            let index = if self.by_row { row * stride + column } else { column * stride + row };
            base.wrapping_add(index.wrapping_mul(u64::from(self.bits / 8)))
        })
    }
}

struct Load {
    matrix: Matrix,
    to: Vec<Destination>,
}

impl Execute for Load {
    fn execute(&self, cluster: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        whole_warp(&at)?;
        let (bits, each) = (self.matrix.bits, self.matrix.each());
        let mut codes = vec![[0u64; LANES]; each];
        for (slot, codes) in codes.iter_mut().enumerate() {
            let addresses = self.matrix.addresses(cluster, &at, slot);
            let mut data: LaneBytes = [[0; MOST]; LANES];
            cluster.read_lanes(&at, self.matrix.space, &addresses, bits as usize / 8, Kind::Read, &mut data)?;
            for lane in 0..LANES {
                codes[lane] =
                    u64::from(u32::from_le_bytes([data[lane][0], data[lane][1], data[lane][2], data[lane][3]]));
            }
        }
        let in_register = (32 / bits) as usize;
        for (index, to) in self.to.iter().enumerate() {
            let part = |lane: usize, i: usize| codes[(index * in_register + i) % each][lane] << (i as u32 * bits);
            let values = std::array::from_fn(|lane| (0..in_register).fold(0, |word, i| word | part(lane, i)));
            cluster.warps[at.warp].set(*to, at.mask, &values);
        }
        Ok(Flow::Next)
    }
}

/// The matrix that the registers of a fragment hold, along its rows.
fn matrix(cluster: &Cluster<'_>, at: &At, from: &[Source], bits: u32, elements: usize) -> Vec<u32> {
    let kernel = cluster.grid.kernel;
    let warp = &cluster.warps[at.warp];
    let (each, in_register) = (elements / LANES, (32 / bits) as usize);
    let keep = if bits == 32 { u32::MAX } else { (1 << bits) - 1 };
    let code = |element: usize| {
        let (lane, slot) = (element / each, element % each);
        let word = warp.source(kernel, from[slot / in_register])[lane] as u32;
        word >> ((slot % in_register) as u32 * bits) & keep
    };
    (0..elements).map(code).collect()
}

struct Store {
    matrix: Matrix,
    from: Vec<Source>,
}

impl Execute for Store {
    fn execute(&self, cluster: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        whole_warp(&at)?;
        let Matrix { rows, columns, bits, space, .. } = self.matrix;
        let values = matrix(cluster, &at, &self.from, bits, rows * columns);
        for slot in 0..self.matrix.each() {
            let addresses = self.matrix.addresses(cluster, &at, slot);
            let mut data: LaneBytes = [[0; MOST]; LANES];
            for lane in 0..LANES {
                data[lane][..4].copy_from_slice(&values[lane * self.matrix.each() + slot].to_le_bytes());
            }
            cluster.write_lanes(&at, space, &addresses, bits as usize / 8, Kind::Write, &data)?;
        }
        Ok(Flow::Next)
    }
}

struct Product {
    shape: multiply::Shape,
    numerics: Numerics,
    factors: [Element; 2],
    results: [Modifier; 2],
    a: Vec<Source>,
    b: Vec<Source>,
    c: Vec<Source>,
    to: Vec<Destination>,
    saturate: bool,
}

fn product(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
    (m, n, k): (usize, usize, usize),
) -> Result<Decoded, LoadError> {
    use Modifier as M;
    let types: Vec<M> = resolved.types().collect();
    // f16 factors are not named: `.f32.f16` are the types of D and C.
    let (to_type, [a, b], c_type) = match types[..] {
        [to, c] => (to, [M::F16, M::F16], c),
        [to, a, b, c] => (to, [a, b], c),
        _ => return Err(d.error(format!("`{}` is not emulated: its types", inst.spelling()))),
    };
    let element = |ty: M| match ty {
        M::F16 => Some((Element::F16, "f16", "k16")),
        M::Bf16 => Some((Element::Bf16, "bf16", "k16")),
        M::Tf32 => Some((Element::Tf32, "tf32", "k8")),
        M::S8 => Some((Element::S8, "s8", "k16")),
        M::U8 => Some((Element::U8, "u8", "k16")),
        _ => None,
    };
    let (Some((first, a_name, depth)), Some((second, b_name, _))) = (element(a), element(b)) else {
        return Err(d.error(format!("`{}` is not emulated: its types", inst.spelling())));
    };
    // The same tensor cores as `mma.sync`, and the same sums.
    let shape = format!("m16n8{depth}");
    let (to_name, c_name) = (to_type.text().to_string(), c_type.text().to_string());
    let words = ["sync", "aligned", &shape, "row", "col", &to_name, a_name, b_name, &c_name];
    let like = Mma::from_modifiers(&words).map_err(|error| d.error(error.to_string()))?;
    let numerics = like.numerics(device(d));
    let mut sources = |index: usize| -> Result<Vec<Source>, LoadError> {
        let list: Vec<Operand> = d.elements(d.operand(inst, index)?)?;
        list.iter().map(|operand| d.value(operand)).collect()
    };
    let (a, b, c) = (sources(1)?, sources(2)?, sources(3)?);
    let list = d.elements(d.operand(inst, 0)?)?;
    let to = list.iter().map(|operand| d.destination(operand)).collect::<Result<Vec<Destination>, LoadError>>()?;
    let per_word = |bits: u32| (32 / bits) as usize;
    let bits = |ty: M| if ty == M::F16 { 16 } else { 32 };
    let enough = a.len() * per_word(first.bits()) * LANES >= m * k
        && b.len() * per_word(second.bits()) * LANES >= k * n
        && c.len() * per_word(bits(c_type)) * LANES == m * n
        && to.len() * per_word(bits(to_type)) * LANES == m * n;
    if !enough {
        return Err(d.error(format!("`{}`: the fragments have too few registers", inst.spelling())));
    }
    let shape = multiply::Shape { m, n, k };
    let run = Product {
        shape,
        numerics,
        factors: [first, second],
        results: [to_type, c_type],
        a,
        b,
        c,
        to,
        saturate: resolved.has(M::Satfinite),
    };
    Ok(Decoded::aligned(run))
}

impl Execute for Product {
    fn execute(&self, cluster: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        whole_warp(&at)?;
        let multiply::Shape { m, n, k } = self.shape;
        let [first, second] = self.factors;
        let a = matrix(cluster, &at, &self.a, first.bits(), m * k);
        let across = matrix(cluster, &at, &self.b, second.bits(), k * n);
        // `multiply` takes B by its columns.
        let b: Vec<u32> = (0..n * k).map(|i| across[i % k * n + i / k]).collect();
        let half = |ty: Modifier| ty == Modifier::F16;
        let c_bits = if half(self.results[1]) { 16 } else { 32 };
        let mut sums = matrix(cluster, &at, &self.c, c_bits, m * n);
        let [to_type, c_type] = self.results;
        let widen = |bits: u32| half::f16::from_bits(bits as u16).to_f32().to_bits();
        let narrow = |bits: u32| u32::from(half::f16::from_f32(f32::from_bits(bits)).to_bits());
        if half(c_type) && !half(to_type) {
            sums.iter_mut().for_each(|sum| *sum = widen(*sum));
        } else if !half(c_type) && half(to_type) {
            sums.iter_mut().for_each(|sum| *sum = narrow(*sum));
        }
        let operand = |element, codes| multiply::Operand::new(element, multiply::Codes::Words(codes));
        let kind = match to_type {
            Modifier::F16 => Accumulator::F16,
            Modifier::S32 => Accumulator::S32 { saturate: self.saturate },
            _ => Accumulator::F32,
        };
        let (a, b) = (operand(first, &a[..]), operand(second, &b[..]));
        multiply::multiply(&self.numerics, self.shape, &a, &b, None, kind, &mut sums)
            .map_err(|error| Fault::new(HazardKind::Descriptor, error.to_string()))?;
        let to_bits = if half(to_type) { 16 } else { 32 };
        let (each, in_register) = (m * n / LANES, (32 / to_bits) as usize);
        for (index, to) in self.to.iter().enumerate() {
            let part =
                |lane: usize, i: usize| u64::from(sums[lane * each + index * in_register + i]) << (i as u32 * to_bits);
            let values = std::array::from_fn(|lane| (0..in_register).fold(0, |word, i| word | part(lane, i)));
            cluster.warps[at.warp].set(*to, at.mask, &values);
        }
        Ok(Flow::Next)
    }
}
