//! `mma.sync` and `mma.sp.sync`: a product by all lanes of a warp.

use gable_ptx::grammar::Resolved;
use gable_ptx::syntax::{Instruction, Operand};

use super::{At, Decoded, Execute, Flow};
use crate::hazard::{Fault, HazardKind};
use crate::machine::Cluster;
use crate::program::{Decoder, Destination, LoadError, Source};
use crate::scalar::Register;
use crate::tensor_core::accumulate::{Device, Numerics};
use crate::tensor_core::mma_sync::{AccumulatorType, Inputs, Mma, ScaleOperand, Sparsity};

pub(super) fn decode(
    d: &mut Decoder<'_>,
    _resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    if &*inst.name != "mma" {
        return Ok(None);
    }
    let modifiers: Vec<&str> = inst.modifiers.iter().map(|modifier| &**modifier).collect();
    let mma = Mma::from_modifiers(&modifiers).map_err(|error| d.error(error.to_string()))?;
    let counts = mma.registers();
    let to = fragment(d, inst, 0, "D", counts[3])?;
    let to = to.iter().map(|register| d.destination(register)).collect::<Result<Vec<Destination>, LoadError>>()?;
    let mut sources = |index: usize, name: &str, count: usize| -> Result<Vec<Source>, LoadError> {
        let registers = fragment(d, inst, index, name, count)?;
        // A constant with a point is an f32 where C is; A and B have none.
        let float = mma.c == AccumulatorType::F32;
        registers.iter().map(|register| if float { d.value_f32(register) } else { d.value(register) }).collect()
    };
    let (a, b, c) = (sources(1, "A", counts[0])?, sources(2, "B", counts[1])?, sources(3, "C", counts[2])?);
    let mut next = 4;
    let metadata = match mma.sparsity {
        Sparsity::Dense => None,
        _ => {
            let metadata = d.value(d.operand(inst, next)?)?;
            let selector = d.immediate(d.operand(inst, next + 1)?)?;
            next += 2;
            Some((metadata, selector as u32))
        }
    };
    let scales = match mma.scales {
        None => None,
        Some(_) => {
            let mut scale = || -> Result<Scale, LoadError> {
                let register = d.value(d.operand(inst, next)?)?;
                let ids = d.elements(d.operand(inst, next + 1)?)?;
                next += 2;
                let [byte, thread] = &ids[..] else {
                    return Err(d.error("scales are selected by a byte id and a thread id, `{0, 0}`"));
                };
                Ok(Scale { register, byte: d.immediate(byte)? as u32, thread: d.immediate(thread)? as u32 })
            };
            Some([scale()?, scale()?])
        }
    };
    if inst.operands.len() != next {
        let (spelling, count) = (inst.spelling(), inst.operands.len());
        return Err(d.error(format!("`{spelling}` has {count} operands, expected {next}")));
    }
    let numerics = mma.numerics(device(d));
    Ok(Some(Decoded::aligned(Multiply { mma, numerics, to, a, b, c, metadata, scales })))
}

/// The tensor cores of the machine that code is decoded for.
pub(super) fn device(d: &Decoder<'_>) -> Device {
    match d.machine().row().sm {
        ..90 => Device::Ada,
        90..100 => Device::Hopper,
        _ => Device::Blackwell,
    }
}

/// The registers of an operand.
fn fragment(
    d: &mut Decoder<'_>,
    inst: &Instruction,
    index: usize,
    name: &str,
    expected: usize,
) -> Result<Vec<Operand>, LoadError> {
    let registers = d.elements(d.operand(inst, index)?)?;
    if registers.len() != expected {
        let spelling = inst.spelling();
        let found = registers.len();
        return Err(d.error(format!("`{spelling}`: {name} has {found} registers, expected {expected}")));
    }
    Ok(registers)
}

struct Scale {
    register: Source,
    byte: u32,
    thread: u32,
}

struct Multiply {
    mma: Mma,
    numerics: Numerics,
    to: Vec<Destination>,
    a: Vec<Source>,
    b: Vec<Source>,
    c: Vec<Source>,
    metadata: Option<(Source, u32)>,
    scales: Option<[Scale; 2]>,
}

/// All 32 lanes must be there: fragments are spread over them.
pub(super) fn whole_warp(at: &At) -> Result<(), Fault> {
    if at.mask == u32::MAX {
        return Ok(());
    }
    let message = format!("lanes {:#010x} of the warp run it, expected all 32: it works on registers of each", at.mask);
    Err(Fault::new(HazardKind::Divergence, message))
}

impl Execute for Multiply {
    fn execute(&self, cluster: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        whole_warp(&at)?;
        let kernel = cluster.grid.kernel;
        let warp = &mut cluster.warps[at.warp];
        let read = |sources: &[Source]| -> Vec<Register> {
            sources.iter().map(|source| *warp.source(kernel, *source)).collect()
        };
        let (a, b, c) = (read(&self.a), read(&self.b), read(&self.c));
        let scale = |scale: &Scale| (*warp.source(kernel, scale.register), scale.byte, scale.thread);
        let metadata = self.metadata.map(|(source, selector)| (*warp.source(kernel, source), selector));
        let scales = self.scales.as_ref().map(|scales| scales.each_ref().map(scale));
        let inputs = Inputs {
            a: &a,
            b: &b,
            c: &c,
            metadata: metadata.as_ref().map(|(register, selector)| (register, *selector)),
            scales: scales.as_ref().map(|scales| {
                scales.each_ref().map(|(register, byte, thread)| ScaleOperand {
                    register,
                    byte: *byte,
                    thread: *thread,
                })
            }),
        };
        let results = self.mma.run(&self.numerics, &inputs);
        let results = results.map_err(|error| Fault::new(HazardKind::Descriptor, error.to_string()))?;
        for (to, result) in self.to.iter().zip(&results) {
            warp.set(*to, at.mask, result);
        }
        Ok(Flow::Next)
    }
}
