//! Branches, calls, returns, exits.

use std::sync::Arc;

use gable_ptx::grammar::{Modifier, Op, Resolved};
use gable_ptx::syntax::{Instruction, Operand};

use super::{Decoded, Execute, Flow, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Cluster, LANES, lanes};
use crate::program::{Converge, Decoder, Label, LoadError, Passed};
use crate::scalar::Register;

/// Addresses of functions: a label above what any memory has.
const FUNCTIONS: u64 = 0x7000_0000_0000;

/// The address of a function.
pub(crate) fn function_address(label: Label) -> u64 {
    FUNCTIONS + u64::from(label.0) * 16
}

pub(super) fn decode(
    d: &mut Decoder<'_>,
    resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    Ok(Some(match resolved.op {
        Op::Bra => {
            let target = d.label(d.operand(inst, 0)?)?;
            Decoded::free(step(move |_, _| Ok(Flow::Jump(target))))
        }
        Op::Brx => branch_table(d, inst)?,
        Op::Call => call(d, resolved, inst)?,
        Op::Ret => Decoded::free(Return),
        Op::Exit => Decoded::free(step(|_, _| Ok(Flow::Exit))),
        Op::Trap => Decoded::free(step(|_, at| {
            let lane = at.mask.trailing_zeros() as usize;
            Err(Fault::new(HazardKind::Trap, "the kernel stopped itself").lane(lane))
        })),
        Op::Brkpt => super::moves::nothing(),
        Op::Nanosleep => Decoded::free(step(|_, _| {
            // Sleeping threads let the others run; how long is not modelled.
            Ok(Flow::Yield)
        })),
        _ => return Ok(None),
    }))
}

fn branch_table(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Decoded, LoadError> {
    let index = d.value(d.operand(inst, 0)?)?;
    let Operand::Name { name, .. } = d.operand(inst, 1)? else {
        return Err(d.error("`brx.idx` takes the name of a `.branchtargets` list"));
    };
    let names = d.targets(name).ok_or_else(|| d.error(format!("there is no list `{name}`")))?;
    let mut targets = Vec::new();
    for name in &names {
        targets.push(d.label_named(name)?);
    }
    Ok(Decoded::free(step(move |c, at| {
        let kernel = c.grid.kernel;
        let indices = c.warps[at.warp].source(kernel, index);
        let mut places = [0; LANES];
        for lane in lanes(at.mask) {
            let number = indices[lane] as u32 as usize;
            let Some(target) = targets.get(number) else {
                let message = format!("branch {number} of a list of {}", targets.len());
                return Err(Fault::new(HazardKind::OutOfBounds, message).lane(lane));
            };
            places[lane] = kernel.labels[target.0 as usize];
        }
        Ok(Flow::Scatter(Box::new(places)))
    })))
}

/// Copies between places of one thread: local memory to local memory, register to register.
#[derive(Clone)]
enum Copy {
    Memory { from: u32, to: u32, bytes: u32 },
    Register { from: crate::program::Source, to: crate::program::Destination },
}

fn run_copies(c: &mut Cluster<'_>, warp: usize, mask: u32, copies: &[Copy]) -> Result<(), Fault> {
    let kernel = c.grid.kernel;
    let state = &mut c.warps[warp];
    for copy in copies {
        match copy {
            Copy::Memory { from, to, bytes } => {
                for lane in lanes(mask) {
                    let local = &mut state.local[lane];
                    let data = local.read_any(*from, *bytes as usize)?.to_vec();
                    local.write(*to, &data)?;
                }
            }
            Copy::Register { from, to } => {
                let values: Register = *state.source(kernel, *from);
                state.set(*to, mask, &values);
            }
        }
    }
    Ok(())
}

fn call(d: &mut Decoder<'_>, resolved: &Resolved, inst: &Instruction) -> Result<Decoded, LoadError> {
    let (results, rest) = match inst.operands.first() {
        Some(Operand::List(results)) => (results.as_slice(), &inst.operands[1..]),
        _ => (&[][..], inst.operands.as_slice()),
    };
    let Some((callee, rest)) = rest.split_first() else { return Err(d.error("`call` names no function")) };
    let (arguments, rest) = match rest.first() {
        Some(Operand::List(arguments)) => (arguments.as_slice(), &rest[1..]),
        _ => (&[][..], rest),
    };
    let Operand::Name { name, .. } = callee else { return Err(d.error("`call` names no function")) };
    if let Some(builtin) = super::print::builtin(d, name, results, arguments)? {
        return Ok(builtin);
    }
    let _ = resolved.has(Modifier::Uni);
    let names: Vec<Arc<str>> = if d.is_function(name) {
        vec![name.clone()]
    } else {
        let listed = match rest.first() {
            Some(Operand::Name { name, .. }) => d.targets(name).unwrap_or_default(),
            _ => Vec::new(),
        };
        if listed.is_empty() { d.functions_by_address() } else { listed }
    };
    let indirect = if d.is_function(name) { None } else { Some(d.value(callee)?) };
    let mut ways = Vec::new();
    for name in &names {
        let (label, interface) = d.callee(name)?;
        if interface.params.len() != arguments.len() || interface.results.len() != results.len() {
            if indirect.is_some() {
                continue;
            }
            let (wanted, found) = (interface.params.len(), arguments.len());
            return Err(d.error(format!("`{name}` takes {wanted} arguments, the call has {found}")));
        }
        let mut before = Vec::new();
        for (argument, passed) in arguments.iter().zip(&interface.params) {
            before.push(match passed {
                Passed::Memory { offset, bytes } => {
                    Copy::Memory { from: local_name(d, argument)?, to: *offset, bytes: *bytes }
                }
                Passed::Register(to) => Copy::Register { from: d.value(argument)?, to: *to },
            });
        }
        let mut after = Vec::new();
        for (result, passed) in results.iter().zip(&interface.results) {
            after.push(match passed {
                Passed::Memory { offset, bytes } => {
                    Copy::Memory { from: *offset, to: local_name(d, result)?, bytes: *bytes }
                }
                Passed::Register(from) => {
                    let source = d.source_of(*from);
                    Copy::Register { from: source, to: d.destination(result)? }
                }
            });
        }
        ways.push((label, before, after));
    }
    let returns: Vec<(Label, Vec<Copy>)> = ways.iter().map(|(label, _, after)| (*label, after.clone())).collect();
    let enter = step(move |c: &mut Cluster<'_>, at: super::At| {
        let kernel = c.grid.kernel;
        let Some(address) = indirect else {
            let (label, before, _) = &ways[0];
            run_copies(c, at.warp, at.mask, before)?;
            return Ok(Flow::Call { function: *label, lanes: at.mask });
        };
        let values = *c.warps[at.warp].source(kernel, address);
        let lane = at.mask.trailing_zeros() as usize;
        let way = ways.iter().find(|(label, ..)| function_address(*label) == values[lane]);
        let Some((label, before, _)) = way else {
            let message = format!("{:#x} is the address of no function with these arguments", values[lane]);
            return Err(Fault::new(HazardKind::Unsupported, message).lane(lane));
        };
        let together = lanes(at.mask).filter(|&other| values[other] == values[lane]);
        let together = together.fold(0, |mask, lane| mask | 1 << lane);
        run_copies(c, at.warp, together, before)?;
        Ok(Flow::Call { function: *label, lanes: together })
    });
    let leave = step(move |c: &mut Cluster<'_>, at: super::At| {
        for (label, after) in &returns {
            let mask = lanes(at.mask).filter(|&lane| c.warps[at.warp].returned[lane] == label.0);
            let mask = mask.fold(0, |mask, lane| mask | 1 << lane);
            if mask != 0 {
                run_copies(c, at.warp, mask, after)?;
            }
        }
        Ok(Flow::Next)
    });
    Ok(Decoded { converge: Converge::Never, execute: Box::new(enter), after: vec![Box::new(leave)] })
}

fn local_name(d: &Decoder<'_>, operand: &Operand) -> Result<u32, LoadError> {
    match operand {
        Operand::Name { name, .. } => {
            d.local(name).ok_or_else(|| d.error(format!("`{name}` is no `.param` variable of this function")))
        }
        other => Err(d.error(format!("{} cannot be passed", crate::program::describe(other)))),
    }
}

/// `ret`: to the caller, or out of the kernel.
pub(crate) struct Return;

impl Execute for Return {
    fn execute(&self, c: &mut Cluster<'_>, at: super::At) -> Result<Flow, Fault> {
        let warp = &mut c.warps[at.warp];
        let mut places = [0; LANES];
        let mut leaving = 0u32;
        for lane in lanes(at.mask) {
            match warp.calls[lane].pop() {
                Some(frame) => {
                    places[lane] = frame.pc;
                    warp.returned[lane] = frame.function;
                }
                None => leaving |= 1 << lane,
            }
        }
        match leaving {
            0 => Ok(Flow::Scatter(Box::new(places))),
            all if all == at.mask => Ok(Flow::Exit),
            // Code belongs to one function, so lanes at one `ret` are all in the kernel or all in a call.
            _ => Err(Fault::new(HazardKind::Unsupported, "some lanes return from the kernel and some from a call")),
        }
    }
}
