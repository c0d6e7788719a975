//! `tcgen05.mma`: what the instruction and its descriptors ask for, checked when it is issued.

use gable_ptx::Target;
use gable_ptx::syntax::{Instruction, Operand as Text};

use super::operands::{TensorA, descriptor_fault, lane_runs, target_format, touch_tensor};
use super::pipeline;
use super::product::Product;
use super::{At, Decoded, Fault, HazardKind, cta_group, group_ranks, says, split};
use crate::exec::shared_operand::touch_shared;
use crate::exec::{Execute, Flow};
use crate::machine::{Cluster, lanes};
use crate::order::{Kind as Access, OperationKind};
use crate::program::{Address, Condition, Decoder, LoadError, Source};
use crate::tensor_core::descriptor::{Format, MatrixDescriptor};
use crate::tensor_core::operand::{Major, SharedOperand};
use crate::tensor_core::packing::{CellContainer, Container};
use crate::tensor_core::tcgen05::column_mask::ColumnMask;
use crate::tensor_core::tcgen05::instruction_descriptor::{Form, InstructionDescriptor, Kind, ScaleVector};
use crate::tensor_core::tcgen05::layout::{DataPath, METADATA_COLUMNS};
use crate::tensor_core::tcgen05::scales::{ADDRESS_MASK, ScaleLayout, Spread};

enum A {
    Tensor(Address),
    Shared(Source),
}

struct Multiply {
    form: Form,
    format: Format,
    d: Address,
    a: A,
    b: Source,
    metadata: Option<Address>,
    descriptor: Source,
    scales: Option<(Address, Address)>,
    disabled: Vec<Source>,
    accumulates: Condition,
    scale_d: u32,
    zero_columns: Option<Source>,
    shifted: bool,
}

pub(super) fn multiply(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let cta_group = cta_group(d, inst)?;
    let kinds = [
        ("kind::f16", Kind::F16),
        ("kind::tf32", Kind::Tf32),
        ("kind::f8f6f4", Kind::F8f6f4),
        ("kind::i8", Kind::I8),
        ("kind::mxf8f6f4", Kind::Mxf8f6f4),
        ("kind::mxf4", Kind::Mxf4),
        ("kind::mxf4nvf4", Kind::Mxf4nvf4),
    ];
    let Some((_, kind)) = kinds.into_iter().find(|(word, _)| says(inst, word)) else {
        return Err(d.error(format!("`{}` names no kind", inst.spelling())));
    };
    let vectors = [
        ("scale_vec::1X", ScaleVector::X1),
        ("scale_vec::2X", ScaleVector::X2),
        ("scale_vec::4X", ScaleVector::X4),
        ("block16", ScaleVector::Block16),
        ("block32", ScaleVector::Block32),
    ];
    let scale_vector = vectors.into_iter().find(|(word, _)| says(inst, word)).map(|(_, vector)| vector);
    let form = Form {
        kind,
        cta_group,
        sparse: says(inst, "sp"),
        weight_stationary: says(inst, "ws"),
        scale_vector,
        k96: d.machine() == Target::Sm103a,
    };
    let to = d.address(d.operand(inst, 0)?)?;
    let a = match d.operand(inst, 1)? {
        address @ Text::Address { .. } => A::Tensor(d.address(address)?),
        descriptor => A::Shared(d.value(descriptor)?),
    };
    let b = d.value(d.operand(inst, 2)?)?;
    let mut rest = inst.operands[3..].iter();
    let mut next = |d: &Decoder<'_>| {
        let count = inst.operands.len();
        rest.next().ok_or_else(|| d.error(format!("`{}` has only {count} operands", inst.spelling())))
    };
    let metadata = if form.sparse { Some(d.address(next(d)?)?) } else { None };
    let descriptor = d.value(next(d)?)?;
    let scales = if kind.is_scaled() { Some((d.address(next(d)?)?, d.address(next(d)?)?)) } else { None };
    let mut operand = next(d)?;
    let mut disabled = Vec::new();
    if let Text::Vector(words) = operand {
        disabled = words.iter().map(|word| d.value(word)).collect::<Result<Vec<_>, _>>()?;
        let expected = 4 * cta_group as usize;
        if disabled.len() != expected {
            let found = disabled.len();
            return Err(
                d.error(format!("`{}` disables lanes with {found} words, expected {expected}", inst.spelling()))
            );
        }
        operand = next(d)?;
    }
    let accumulates = d.condition(operand)?;
    let mut zero_columns = None;
    let mut scale_d = 0;
    if let Ok(last) = next(d) {
        if form.weight_stationary {
            zero_columns = Some(d.value(last)?);
        } else {
            scale_d = d.immediate(last)? as u32;
            if scale_d > 15 || !matches!(kind, Kind::F16 | Kind::Tf32) {
                return Err(d.error(format!("`{}` scales D by 2^-{scale_d}", inst.spelling())));
            }
        }
    }
    let shifted = says(inst, "ashift");
    let reuses = says(inst, "collector::a::use") || says(inst, "collector::a::fill");
    if shifted && (reuses || matches!(a, A::Shared(_))) {
        let message =
            format!("`{}`: .ashift needs A in tensor memory and no fill or use of a collector", inst.spelling());
        return Err(d.error(message));
    }
    Ok(Decoded::free(Multiply {
        form,
        format: target_format(d),
        d: to,
        a,
        b,
        metadata,
        descriptor,
        scales,
        disabled,
        accumulates,
        scale_d,
        zero_columns,
        shifted,
    }))
}

impl Execute for Multiply {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let ranks = group_ranks(c, &at, self.form.cta_group)?;
        // Every thread that runs it begins a multiply of its own.
        for lane in lanes(at.mask) {
            let product = self.product(c, &at, lane, ranks.clone()).map_err(|fault| fault.lane(lane))?;
            self.touch(c, &at, lane, &product);
            let queue = pipeline::queue(&at, lane);
            c.issue(queue, (at.warp, lane as u32), at.pc, Box::new(product)).map_err(|fault| fault.lane(lane))?;
        }
        Ok(Flow::Next)
    }
}

impl Multiply {
    /// The multiply that one thread asks for.
    fn product(&self, c: &Cluster<'_>, at: &At, lane: usize, ranks: Vec<u32>) -> Result<Product, Fault> {
        let kernel = c.grid.kernel;
        let warp = &c.warps[at.warp];
        let value = |source: Source| warp.source(kernel, source)[lane];
        let address = |address: Address| warp.addresses(kernel, address)[lane] as u32;
        let wrong = |message: String| Fault::new(HazardKind::Descriptor, message);
        let instruction = InstructionDescriptor::decode(value(self.descriptor) as u32, self.form)
            .map_err(|error| wrong(error.to_string()))?;
        let data_path = DataPath::of(&instruction);
        let (n, k, stored) = (instruction.n, instruction.k, instruction.stored_k());
        let packed = self.form.kind.is_packed();
        let zero_columns = match self.zero_columns {
            Some(mask) => {
                Some(ColumnMask::decode(value(mask), &instruction).map_err(|error| wrong(error.to_string()))?)
            }
            None => None,
        };
        if self.form.weight_stationary && self.form.sparse && data_path.banks() > 1 {
            let message =
                "a sparse .ws multiply with M below 128 is not modelled: where its metadata lies is not known";
            return Err(Fault::new(HazardKind::Unsupported, message));
        }
        if self.shifted && instruction.rows_per_cta() != 128 {
            return Err(wrong(format!("A cannot be shifted with M = {}", instruction.m)));
        }

        let container = |element| if packed { Container::Nibbles } else { Container::mixed(element) };
        let shared = |bits: u64, major, container: Container, rows: u32, k| {
            let rows = if major == Major::Mn { rows.next_multiple_of(container.per_chunk()) } else { rows };
            MatrixDescriptor::decode(bits, self.format)
                .and_then(|descriptor| SharedOperand::new(descriptor, major, container, rows, k))
                .map_err(descriptor_fault)
        };
        let shift = zero_columns.map_or(0, |mask: ColumnMask| mask.shift());
        let rows = n / self.form.cta_group + shift;
        let b = shared(value(self.b), instruction.b_major, container(instruction.b), rows, k)?;
        let (d_lane, d_column) = split(address(self.d));
        let a = match &self.a {
            A::Shared(bits) => {
                let rows = instruction.rows_per_cta();
                Err(shared(value(*bits), instruction.a_major, container(instruction.a), rows, stored)?)
            }
            A::Tensor(place) => {
                if instruction.a_major == Major::Mn {
                    return Err(wrong("A in tensor memory cannot be transposed (bit 15)".to_owned()));
                }
                let (lane, column) = split(address(*place));
                let container = if packed { CellContainer::Nibbles } else { CellContainer::mixed(instruction.a) };
                Ok(TensorA { lane, column, container, k: stored, shifted: self.shifted })
            }
        };
        let metadata = self.metadata.map(|place| split(address(place)));
        let starts = [Some(d_lane), a.as_ref().ok().map(|a| a.lane), metadata.map(|(lane, _)| lane)];
        for start in starts.into_iter().flatten() {
            if !data_path.starts_at(start) || start != d_lane {
                let message = format!(
                    "D, A or metadata of layout {data_path:?} starts at lane {start}; D starts at {d_lane}, and all must start at lane 0, or at 16 where half of the lanes are used"
                );
                return Err(Fault::new(HazardKind::TensorMemory, message));
            }
        }
        let scales = match (self.scales, instruction.scales) {
            (Some((a, b)), Some(scales)) => {
                let layout = |rows, id, spread| ScaleLayout { rows, per_row: scales.per_row, id, spread };
                let spread = if data_path == DataPath::B { Spread::Halves } else { Spread::Replicated };
                let place = |from: Address| {
                    let (lane, column) = split(address(from) & ADDRESS_MASK);
                    match lane {
                        0 => Ok(column),
                        _ => Err(Fault::new(
                            HazardKind::TensorMemory,
                            format!("scales start at lane {lane}, expected lane 0"),
                        )),
                    }
                };
                Some([
                    (place(a)?, layout(instruction.rows_per_cta(), scales.a_id, Spread::Replicated)),
                    (place(b)?, layout(n, scales.b_id, spread)),
                ])
            }
            _ => None,
        };
        let mut disabled = [0; 8];
        for (word, source) in disabled.iter_mut().zip(&self.disabled) {
            *word = value(*source) as u32;
        }
        let product = Product {
            instruction,
            data_path,
            ranks,
            d: (d_lane, d_column),
            a,
            b,
            zero_columns,
            metadata,
            scales,
            disabled,
            accumulates: warp.condition(self.accumulates) >> lane & 1 == 1,
            scale_d: self.scale_d,
        };
        check_columns(c, &product)?;
        Ok(product)
    }

    fn touch(&self, c: &mut Cluster<'_>, at: &At, lane: usize, product: &Product) {
        let operation = pipeline::start(c, at, lane, OperationKind::TensorMma);
        let operation = operation.as_ref();
        for rank in &product.ranks {
            let shared = u64::from(*rank) << 24;
            if let Err(a) = &product.a {
                touch_shared(c, at, operation, shared, a, |_| true);
            }
            touch_shared(c, at, operation, shared, &product.b, |chunk| {
                product.reads_rows(product.b.rows_of_chunk(chunk))
            });
            for (lanes, columns, access) in product.rectangles(product.data_path) {
                touch_tensor(c, at, operation, *rank, lanes, columns, access);
            }
        }
    }
}

/// All that a product touches in tensor memory must be allocated.
fn check_columns(c: &Cluster<'_>, product: &Product) -> Result<(), Fault> {
    for rank in &product.ranks {
        for (lanes, columns, _) in product.rectangles(product.data_path) {
            let count = lanes.end - lanes.start;
            let tensor = &c.ctas[*rank as usize].tensor;
            tensor.check(lanes.start, count, columns.start, columns.end - columns.start)?;
        }
    }
    Ok(())
}

impl Product {
    /// Rectangles of tensor memory that the product touches: lanes, columns, and how.
    fn rectangles(&self, data_path: DataPath) -> Vec<(std::ops::Range<u32>, std::ops::Range<u32>, Access)> {
        let (lane, column) = self.d;
        let banks = data_path.banks();
        let mut all = Vec::new();
        let mut push = |runs: Vec<std::ops::Range<u32>>, first: u32, columns: u32, access: Access| {
            all.extend(runs.into_iter().map(|run| (run, first..first + columns, access)));
        };
        if let Ok(a) = &self.a {
            push(lane_runs(data_path, a.lane, banks), a.column, a.columns(), Access::Read);
        }
        if let Some((lane, column)) = self.metadata {
            push(lane_runs(data_path, lane, 1), column, METADATA_COLUMNS, Access::Read);
        }
        for (column, layout) in self.scales.iter().flatten() {
            push(lane_runs(DataPath::D, 0, 1), *column, layout.columns(), Access::Read);
        }
        push(lane_runs(data_path, lane, banks), column, data_path.d_columns(self.instruction.n), Access::Write);
        all
    }
}
