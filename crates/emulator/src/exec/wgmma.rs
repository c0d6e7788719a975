//! `wgmma.*`: matrix multiplies of a warpgroup.
//!
//! Each of the four warps multiplies its 16 rows of A by all of B on its own; that they all run the same instructions is checked by a
//! log of the warpgroup. A multiply reads shared memory and writes its registers when the schedule says, in order, and at the latest
//! when it is waited for; until then its accumulator and its A registers are in flight. It is over when all four warps' parts are:
//! a warp that has waited may say for the warpgroup that the operands are free, as the kernels of CUTLASS do.

mod running;

use std::collections::VecDeque;

use gable_ptx::grammar::Resolved;
use gable_ptx::syntax::{Instruction, Operand as Text};

use running::Running;

use super::shared_operand::touch_shared;
use super::{At, Decoded, Execute, Flow, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Cluster, Queue};
use crate::order::{Operation, OperationKind};
use crate::program::{Condition, Decoder, Destination, LoadError, Source};
use crate::tensor_core::accumulate::Accumulator;
use crate::tensor_core::descriptor::{Format, MatrixDescriptor};
use crate::tensor_core::element::Element;
use crate::tensor_core::operand::{Major, SharedOperand};
use crate::tensor_core::packing::Container;
use crate::tensor_core::wgmma::{self, Form};

/// Multiplies of one warp that were not waited for.
#[derive(Clone, Debug, Default)]
pub struct WarpMultiplies {
    /// Since the last commit.
    open: Vec<Issued>,
    /// Committed groups, oldest first.
    groups: Vec<Vec<Issued>>,
    /// Index of the last `wgmma.fence`.
    fence: Option<u32>,
    /// How many multiplies the warp has issued.
    count: usize,
}

#[derive(Clone, Debug)]
struct Issued {
    /// Which multiply of the warpgroup it is.
    index: usize,
    /// Registers of the accumulator, and of A.
    d: Vec<u32>,
    a: Vec<u32>,
}

/// What the warps of a warpgroup have issued and not all waited for.
#[derive(Clone, Debug, Default)]
pub struct WarpgroupLog {
    /// Number of the first entry.
    first: usize,
    entries: VecDeque<Entry>,
    /// How many each warp has waited for.
    waited: [usize; 4],
}

/// One multiply of a warpgroup.
#[derive(Clone, Debug)]
struct Entry {
    pc: u32,
    a: u64,
    b: u64,
    /// The part of each warp: its number in the queue, and as an operation.
    parts: [Option<(u64, Option<Operation>)>; 4],
}

pub(super) const IN_FLIGHT: &str = "a wgmma that was not waited for still owns: wgmma.wait_group must come first";

pub(super) fn decode(
    d: &mut Decoder<'_>,
    _resolved: &Resolved,
    inst: &Instruction,
) -> Result<Option<Decoded>, LoadError> {
    if &*inst.name != "wgmma" {
        return Ok(None);
    }
    Ok(Some(match inst.modifiers.first().map(|word| &**word) {
        Some("fence") => Decoded::aligned(step(|c, at| {
            c.warps[at.warp].multiplies.fence = Some(at.pc);
            Ok(Flow::Next)
        })),
        Some("commit_group") => Decoded::aligned(step(|c, at| {
            let multiplies = &mut c.warps[at.warp].multiplies;
            let open = std::mem::take(&mut multiplies.open);
            multiplies.groups.push(open);
            Ok(Flow::Next)
        })),
        Some("wait_group") => {
            let most = d.immediate(d.operand(inst, 0)?)? as usize;
            Decoded::aligned(step(move |c, at| wait(c, &at, most)))
        }
        Some("mma_async") => Decoded::aligned(multiply_async(d, inst)?),
        _ => return Ok(None),
    }))
}

/// Finishes the multiplies of a warp, whose registers are used before the wait.
pub(super) fn finish_multiplies(c: &mut Cluster<'_>, warp: usize) -> Result<(), Fault> {
    let place = c.warps[warp].number as usize % 4;
    let log = &c.warps[warp - place].warpgroup;
    let multiplies = &c.warps[warp].multiplies;
    let issued = multiplies.groups.iter().flatten().chain(&multiplies.open);
    let parts = issued.filter_map(|issued| log.entry(issued.index).parts[place].as_ref());
    let numbers: Vec<u64> = parts.map(|(number, _)| *number).collect();
    numbers.into_iter().try_for_each(|number| c.finish_queue_up_to(number))
}

fn wait(c: &mut Cluster<'_>, at: &At, most: usize) -> Result<Flow, Fault> {
    let multiplies = &c.warps[at.warp].multiplies;
    let done = multiplies.groups.len().saturating_sub(most);
    let indices: Vec<usize> = multiplies.groups[..done].iter().flatten().map(|issued| issued.index).collect();
    let (first, place) = warpgroup(c, at);
    for &index in &indices {
        let parts = &c.warps[first].warpgroup.entry(index).parts;
        if parts.iter().any(Option::is_none) {
            let on = "wgmma.wait_group: other warps of the warpgroup have not come to the same wgmma".to_owned();
            return Ok(Flow::Wait { token: 0, on, may_time_out: false });
        }
    }
    for &index in &indices {
        for part in c.warps[first].warpgroup.entry(index).parts.clone().into_iter().flatten() {
            c.finish_queue_up_to(part.0)?;
            if let (Some(order), Some(operation)) = (&mut c.order, &part.1) {
                order.complete(operation, at.warp as u32, at.mask);
            }
        }
    }
    if let Some(last) = indices.last() {
        c.warps[first].warpgroup.has_waited(place, last + 1);
    }
    let warp = &mut c.warps[at.warp];
    warp.multiplies.groups.drain(..done);
    warp.in_flight.retain(|(_, why)| *why != IN_FLIGHT);
    let pending = warp.multiplies.groups.iter().flatten().chain(&warp.multiplies.open);
    let mut owned: Vec<u32> = pending.flat_map(|issued| issued.d.iter().chain(&issued.a).copied()).collect();
    owned.sort_unstable();
    owned.dedup();
    warp.early_use = warp.early_use.filter(|(_, register, why)| *why != IN_FLIGHT || owned.contains(register));
    warp.in_flight.extend(owned.into_iter().map(|register| (register, IN_FLIGHT)));
    Ok(Flow::Next)
}

/// The first warp of the warpgroup, by its index in the cluster, and the place of this one in it.
fn warpgroup(c: &Cluster<'_>, at: &At) -> (usize, usize) {
    let place = c.warps[at.warp].number as usize % 4;
    (at.warp - place, place)
}

impl WarpgroupLog {
    /// An entry that some warp has not waited for.
    fn entry(&self, index: usize) -> &Entry {
        &self.entries[index - self.first]
    }

    /// A warp has waited for all multiplies before `count`; what all have waited for is forgotten.
    fn has_waited(&mut self, place: usize, count: usize) {
        self.waited[place] = self.waited[place].max(count);
        let least = self.waited.iter().copied().min().unwrap_or(0);
        while self.first < least && self.entries.pop_front().is_some() {
            self.first += 1;
        }
    }
}

/// A in registers or in shared memory.
enum A {
    Registers(Vec<Source>),
    Descriptor(Source),
}

struct Multiply {
    form: Form,
    d: Vec<Destination>,
    a: A,
    b: Source,
    metadata: Option<(Source, u32)>,
    accumulates: Condition,
}

fn multiply_async(d: &mut Decoder<'_>, inst: &Instruction) -> Result<Multiply, LoadError> {
    let words: Vec<&str> = inst.modifiers.iter().map(|word| &**word).collect();
    let says = |word: &str| words.contains(&word);
    let sparse = says("sp");
    let shape = words.iter().find_map(|word| shape(word));
    let types: Vec<Element> = words.iter().filter_map(|word| element(word)).collect();
    let (Some((n, k)), [.., a, b]) = (shape, types.as_slice()) else {
        return Err(d.error(format!("`{}` names no shape or types", inst.spelling())));
    };
    let accumulator = if says("s32") {
        Accumulator::S32 { saturate: says("satfinite") }
    } else if says("f32") {
        Accumulator::F32
    } else {
        Accumulator::F16
    };
    let mut form = Form {
        n,
        k,
        a: *a,
        b: *b,
        d: accumulator,
        sparse,
        a_major: Major::K,
        b_major: Major::K,
        negate_a: false,
        negate_b: false,
    };
    let elements = d.elements(d.operand(inst, 0)?)?;
    let destinations = elements.iter().map(|to| d.destination(to)).collect::<Result<Vec<_>, _>>()?;
    let a = match d.operand(inst, 1)? {
        Text::Vector(values) => A::Registers(values.iter().map(|value| d.value(value)).collect::<Result<Vec<_>, _>>()?),
        operand => A::Descriptor(d.value(operand)?),
    };
    let b = d.value(d.operand(inst, 2)?)?;
    let mut next = 3;
    let metadata = if sparse {
        let source = d.value(d.operand(inst, 3)?)?;
        let selector = d.immediate(d.operand(inst, 4)?)? as u32;
        next = 5;
        if selector >= wgmma::selectors(form.a) {
            return Err(d.error(format!("sparsity selector {selector} of `{}`", inst.spelling())));
        }
        Some((source, selector))
    } else {
        None
    };
    let accumulates = d.condition(d.operand(inst, next)?)?;
    let immediates = inst.operands[next + 1..].iter().map(|i| d.immediate(i)).collect::<Result<Vec<u64>, _>>()?;
    let negated = |value: u64| match value as i64 as i32 {
        1 => Ok(false),
        -1 => Ok(true),
        other => Err(d.error(format!("`{}` scales an operand by {other}, expected 1 or -1", inst.spelling()))),
    };
    let major = |value: u64| match value {
        0 => Ok(Major::K),
        1 => Ok(Major::Mn),
        other => Err(d.error(format!("`{}` transposes by {other}, expected 0 or 1", inst.spelling()))),
    };
    let integer = matches!(accumulator, Accumulator::S32 { .. });
    match (immediates.as_slice(), &a) {
        ([], _) if integer => {}
        ([sa, sb], _) if !integer => (form.negate_a, form.negate_b) = (negated(*sa)?, negated(*sb)?),
        ([sa, sb, tb], A::Registers(_)) => {
            (form.negate_a, form.negate_b, form.b_major) = (negated(*sa)?, negated(*sb)?, major(*tb)?);
        }
        ([sa, sb, ta, tb], A::Descriptor(_)) => {
            (form.negate_a, form.negate_b) = (negated(*sa)?, negated(*sb)?);
            (form.a_major, form.b_major) = (major(*ta)?, major(*tb)?);
        }
        _ => {
            let count = immediates.len();
            return Err(d.error(format!("`{}` with {count} immediates has no such form", inst.spelling())));
        }
    }
    form.check().map_err(|error| d.error(error.to_string()))?;
    let expected = form.d_registers() as usize;
    if destinations.len() != expected {
        let found = destinations.len();
        return Err(d.error(format!("`{}` has {found} registers of D, expected {expected}", inst.spelling())));
    }
    if let A::Registers(registers) = &a
        && registers.len() != wgmma::A_REGISTERS as usize
    {
        let found = registers.len();
        return Err(d.error(format!("`{}` has {found} registers of A, expected 4", inst.spelling())));
    }
    Ok(Multiply { form, d: destinations, a, b, metadata, accumulates })
}

/// `m64n128k16`: N and K.
fn shape(word: &str) -> Option<(u32, u32)> {
    let (n, k) = word.strip_prefix("m64n")?.split_once('k')?;
    Some((n.parse().ok()?, k.parse().ok()?))
}

fn element(word: &str) -> Option<Element> {
    Element::ALL.iter().copied().find(|element| element.name() == word)
}

impl Execute for Multiply {
    fn execute(&self, c: &mut Cluster<'_>, at: At) -> Result<Flow, Fault> {
        let kernel = c.grid.kernel;
        whole_warpgroup(c, &at)?;
        let b_bits = uniform(c, &at, self.b, "the descriptor of B")?;
        let a_bits = match &self.a {
            A::Descriptor(source) => uniform(c, &at, *source, "the descriptor of A")?,
            A::Registers(_) => 0,
        };
        let index = same_as_the_others(c, &at, a_bits, b_bits)?;
        let condition = c.warps[at.warp].condition(self.accumulates) & at.mask;
        if condition != 0 && condition != at.mask {
            return Err(Fault::new(HazardKind::Divergence, "scale-d differs between the lanes of a warp"));
        }
        self.check_registers(c, &at)?;

        let form = self.form;
        let b = shared_operand(b_bits, form.b_major, form.b, form.n, form.k)?;
        let warp = &c.warps[at.warp];
        let (a, a_registers) = match &self.a {
            A::Descriptor(_) => {
                let whole = shared_operand(a_bits, form.a_major, form.a, wgmma::M, form.stored_k())?;
                (Err(whole), Vec::new())
            }
            A::Registers(sources) => {
                let registers: Vec<&[u64; 32]> = sources.iter().map(|source| warp.source(kernel, *source)).collect();
                (Ok(a_of_registers(form, &registers)), sources.clone())
            }
        };
        let metadata = self.metadata.map(|(source, selector)| {
            (warp.source(kernel, source).iter().map(|word| *word as u32).collect::<Vec<u32>>(), selector)
        });

        let rows = 16 * (warp.number % 4)..16 * (warp.number % 4) + 16;
        let operation = c.order.as_mut().map(|order| order.start(at.warp as u32, at.mask, OperationKind::Wgmma));
        let rank = u64::from(c.cta_of(at.warp).rank) << 24;
        if let Err(a) = &a {
            touch_shared(c, &at, operation.as_ref(), rank, a, |chunk| overlaps(&a.rows_of_chunk(chunk), &rows));
        }
        touch_shared(c, &at, operation.as_ref(), rank, &b, |_| true);

        let d_registers: Vec<u32> = self.d.iter().filter_map(|to| to.register).collect();
        let a_registers: Vec<u32> =
            a_registers.iter().filter(|s| !s.place().1).map(|source| source.place().0 as u32).collect();
        let running = Running { warp: at.warp, form, d: self.d.clone(), a, b, metadata, accumulates: condition != 0 };
        let queue = Queue::Warpgroup { warp: at.warp as u32 };
        let number = c.issue(queue, (at.warp, 0), at.pc, Box::new(running))?;
        let (first, place) = warpgroup(c, &at);
        let log = &mut c.warps[first].warpgroup;
        let entry = index - log.first;
        log.entries[entry].parts[place] = Some((number, operation));
        // Others of the warpgroup may be waiting for this part.
        c.progress += 1;
        let warp = &mut c.warps[at.warp];
        for register in d_registers.iter().chain(&a_registers) {
            if !warp.in_flight.iter().any(|(owned, _)| owned == register) {
                warp.in_flight.push((*register, IN_FLIGHT));
            }
        }
        warp.multiplies.open.push(Issued { index, d: d_registers, a: a_registers });
        Ok(Flow::Next)
    }

    fn may_touch_in_flight(&self) -> bool {
        true
    }
}

impl Multiply {
    /// The accumulator may be that of multiplies on their way; registers of A may not, and what ordinary instructions touched since
    /// the fence needs another one.
    fn check_registers(&self, c: &Cluster<'_>, at: &At) -> Result<(), Fault> {
        let warp = &c.warps[at.warp];
        let a: Vec<u32> = match &self.a {
            A::Registers(sources) => sources.iter().filter(|s| !s.place().1).map(|s| s.place().0 as u32).collect(),
            A::Descriptor(_) => Vec::new(),
        };
        let mut pending = warp.multiplies.groups.iter().flatten().chain(&warp.multiplies.open);
        let d: Vec<u32> = self.d.iter().filter_map(|to| to.register).collect();
        if pending.any(|issued| issued.d.iter().any(|register| a.contains(register))) {
            let message = format!("takes A from a register that {IN_FLIGHT}");
            return Err(Fault::new(HazardKind::NotWaitedFor, message));
        }
        let Some(fence) = warp.multiplies.fence else {
            let message = "the first wgmma of a warp needs a wgmma.fence before it";
            return Err(Fault::new(HazardKind::NotWaitedFor, message));
        };
        let code = &c.grid.kernel.code;
        let between = code.get(fence as usize + 1..at.pc as usize).unwrap_or_default();
        if between.iter().any(|inst| leaves(inst.op)) {
            return Ok(());
        }
        for inst in between.iter().filter(|inst| !inst.execute.may_touch_in_flight()) {
            let touched = |register: &u32| inst.registers.binary_search(register).is_ok();
            if d.iter().chain(&a).any(touched) {
                let message = format!(
                    "line {} `{}` uses a register of this wgmma after the last wgmma.fence: another fence must come between",
                    inst.line, inst.spelling
                );
                return Err(Fault::new(HazardKind::NotWaitedFor, message));
            }
        }
        Ok(())
    }
}

/// Whether control may leave the straight line at an instruction.
fn leaves(op: gable_ptx::grammar::Op) -> bool {
    use gable_ptx::grammar::Op;
    matches!(op, Op::Bra | Op::Brx | Op::Call | Op::Ret | Op::Exit)
}

fn overlaps(one: &std::ops::Range<u32>, other: &std::ops::Range<u32>) -> bool {
    one.start < other.end && other.start < one.end
}

fn whole_warpgroup(c: &Cluster<'_>, at: &At) -> Result<(), Fault> {
    let per_cta = c.warps_per_cta();
    let warp = &c.warps[at.warp];
    let first = at.warp - warp.number as usize % 4;
    let last = warp.cta * per_cta + per_cta;
    if first + 4 > last || c.warps[first..first + 4].iter().any(|warp| warp.present != u32::MAX) {
        let message = "wgmma needs a whole warpgroup: four full warps, the first a multiple of four";
        return Err(Fault::new(HazardKind::Divergence, message));
    }
    Ok(())
}

/// The value of a register that must be the same in all lanes.
pub(super) fn uniform(c: &Cluster<'_>, at: &At, source: Source, what: &str) -> Result<u64, Fault> {
    let values = c.warps[at.warp].source(c.grid.kernel, source);
    let first = values[at.mask.trailing_zeros() as usize];
    for lane in crate::machine::lanes(at.mask) {
        if values[lane] != first {
            let message = format!("{what} is {first:#x} in one lane and {:#x} in lane {lane}", values[lane]);
            return Err(Fault::new(HazardKind::Divergence, message).lane(lane));
        }
    }
    Ok(first)
}

/// Checks that the four warps run the same multiplies in the same order. Gives the number of this one.
fn same_as_the_others(c: &mut Cluster<'_>, at: &At, a: u64, b: u64) -> Result<usize, Fault> {
    let (first, _) = warpgroup(c, at);
    let index = c.warps[at.warp].multiplies.count;
    c.warps[at.warp].multiplies.count += 1;
    let log = &mut c.warps[first].warpgroup;
    match log.entries.get(index - log.first) {
        None => log.entries.push_back(Entry { pc: at.pc, a, b, parts: [const { None }; 4] }),
        Some(entry) if entry.pc != at.pc => {
            let line = c.grid.kernel.code.get(entry.pc as usize).map_or(0, |inst| inst.line);
            let message = format!("another warp of the warpgroup runs the wgmma at line {line} instead");
            return Err(Fault::new(HazardKind::Divergence, message));
        }
        Some(entry) if (entry.a, entry.b) != (a, b) => {
            let message = format!(
                "descriptors {a:#x} and {b:#x}; another warp of the warpgroup has {:#x} and {:#x}",
                entry.a, entry.b
            );
            return Err(Fault::new(HazardKind::Divergence, message));
        }
        Some(_) => {}
    }
    Ok(index)
}

/// Single bits are multiplied 32 at a time.
fn word_bits(element: Element) -> u32 {
    if element == Element::B1 { 32 } else { element.bits() }
}

fn shared_operand(bits: u64, major: Major, element: Element, rows: u32, k: u32) -> Result<SharedOperand, Fault> {
    let (container, k) = match element {
        Element::B1 => (Container::Words, k / 32),
        _ => (Container::mixed(element), k),
    };
    let fault =
        |error: crate::tensor_core::descriptor::DescriptorError| Fault::new(HazardKind::Descriptor, error.to_string());
    let descriptor = MatrixDescriptor::decode(bits, Format::Hopper).map_err(fault)?;
    SharedOperand::new(descriptor, major, container, rows, k).map_err(fault)
}

/// A of a warp, 16 rows, from its registers.
fn a_of_registers(form: Form, registers: &[&[u64; 32]]) -> Vec<u32> {
    let bits = word_bits(form.a);
    let k = form.stored_k() * form.a.bits() / bits;
    let mut codes = vec![0; (16 * k) as usize];
    for (number, register) in registers.iter().enumerate() {
        for (lane, word) in register.iter().enumerate() {
            let (row, first) = wgmma::a_elements(0, lane as u32, number as u32, bits);
            for element in 0..32 / bits {
                let code = (*word as u32 >> (bits * element)) & (u32::MAX >> (32 - bits));
                codes[(row * k + first + element) as usize] = code;
            }
        }
    }
    codes
}
