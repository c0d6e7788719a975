//! Finds registers that are read where no path through the kernel has written them.
//!
//! In: a body. Out: places and registers. A write under a guard counts as a write, and one path with a write is enough,
//! so what is reported is certainly undefined. Code that no path reaches is not looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::inst::{Inst, Statement};
use crate::meaning::Meaning;
use crate::module::sources;
use crate::operand::{Label, Operand};
use crate::register::Reg;

/// Words of 64 registers that may be kept for all blocks together, 128 MiB. Beyond that, which no kernel of sense comes
/// near, only registers that nothing at all writes are found.
const MAX_WORDS: usize = 1 << 24;

/// Statements in a row that run one after the other.
struct Block {
    statements: std::ops::Range<usize>,
    successors: Vec<usize>,
}

/// The registers of one instruction, numbered densely.
struct Accesses {
    statement: usize,
    reads: Vec<usize>,
    writes: Vec<usize>,
}

/// The reads without a write before them: index of the statement and the register.
pub(crate) fn reads_of_nothing(body: &[Statement]) -> Vec<(usize, Reg)> {
    // Numbers count the registers that occur, since the text of a register may hold any number.
    let mut numbers: HashMap<Reg, usize> = HashMap::new();
    let mut registers: Vec<Reg> = Vec::new();
    let mut number = |reg: Reg| {
        *numbers.entry(reg).or_insert_with(|| {
            registers.push(reg);
            registers.len() - 1
        })
    };
    let blocks: Vec<(Vec<Accesses>, Vec<usize>)> = blocks(body)
        .into_iter()
        .map(|Block { statements, successors }| {
            let accesses = insts(body, statements).map(|(statement, inst)| {
                let guard = inst.guard.map(|guard| guard.pred);
                let reads: BTreeSet<Reg> = sources(inst).into_iter().chain(guard).collect();
                Accesses {
                    statement,
                    reads: reads.into_iter().map(&mut number).collect(),
                    writes: inst.dst.iter().copied().map(&mut number).collect(),
                }
            });
            (accesses.collect(), successors)
        })
        .collect();

    let n_words = registers.len().div_ceil(64);
    if blocks.len().saturating_mul(n_words) > MAX_WORDS {
        let written: BTreeSet<usize> =
            blocks.iter().flat_map(|(accesses, _)| accesses).flat_map(|inst| inst.writes.iter().copied()).collect();
        let accesses = blocks.iter().flat_map(|(accesses, _)| accesses);
        let reads = accesses.flat_map(|inst| inst.reads.iter().map(|&register| (inst.statement, register)));
        let undefined = reads.filter(|(_, register)| !written.contains(register));
        return undefined.map(|(statement, register)| (statement, registers[register])).collect();
    }

    // written[b]: registers that some path to the start of block b writes; none while no path is known.
    let mut written: Vec<Option<Vec<u64>>> = vec![None; blocks.len()];
    if let Some(entry) = written.first_mut() {
        *entry = Some(vec![0; n_words]);
    }
    // Blocks stand nearly in the order in which they run: a few rounds suffice.
    let mut changed = true;
    while changed {
        changed = false;
        for (index, (accesses, successors)) in blocks.iter().enumerate() {
            let Some(mut at_end) = written[index].clone() else { continue };
            accesses.iter().flat_map(|inst| &inst.writes).for_each(|&register| set(&mut at_end, register));
            for &successor in successors {
                match &mut written[successor] {
                    known @ None => {
                        *known = Some(at_end.clone());
                        changed = true;
                    }
                    Some(known) => {
                        for (known, word) in known.iter_mut().zip(&at_end) {
                            changed |= *known | word != *known;
                            *known |= word;
                        }
                    }
                }
            }
        }
    }

    let mut found = Vec::new();
    for ((accesses, _), written) in blocks.iter().zip(written) {
        let Some(mut written) = written else { continue };
        for inst in accesses {
            let undefined = inst.reads.iter().filter(|&&register| !is_set(&written, register));
            found.extend(undefined.map(|&register| (inst.statement, registers[register])));
            inst.writes.iter().for_each(|&register| set(&mut written, register));
        }
    }
    found
}

fn set(words: &mut [u64], bit: usize) {
    words[bit / 64] |= 1 << (bit % 64);
}

fn is_set(words: &[u64], bit: usize) -> bool {
    words[bit / 64] & 1 << (bit % 64) != 0
}

fn insts(body: &[Statement], range: std::ops::Range<usize>) -> impl Iterator<Item = (usize, &Inst)> {
    range.filter_map(|index| match &body[index] {
        Statement::Inst(inst) => Some((index, inst)),
        _ => None,
    })
}

/// Where an instruction goes: whether the next one can follow, and the label.
fn leaves(inst: &Inst) -> Option<(bool, Option<&Label>)> {
    let falls_through = inst.guard.is_some();
    match inst.op.form().meaning {
        Meaning::Exit | Meaning::Return | Meaning::Trap => Some((falls_through, None)),
        Meaning::Branch { .. } => {
            let label = inst.src.iter().find_map(|operand| match operand {
                Operand::Label(label) => Some(label),
                _ => None,
            });
            Some((falls_through, label))
        }
        _ => None,
    }
}

fn blocks(body: &[Statement]) -> Vec<Block> {
    let mut starts = BTreeSet::from([0]);
    for (index, statement) in body.iter().enumerate() {
        match statement {
            Statement::Label(_) => {
                starts.insert(index);
            }
            Statement::Inst(inst) if leaves(inst).is_some() => {
                starts.insert(index + 1);
            }
            _ => {}
        }
    }
    starts.retain(|start| *start < body.len());
    let starts: Vec<usize> = starts.into_iter().collect();
    let block_of_label: BTreeMap<&Label, usize> = starts
        .iter()
        .enumerate()
        .filter_map(|(block, start)| match &body[*start] {
            Statement::Label(label) => Some((label, block)),
            _ => None,
        })
        .collect();
    let ends = starts.iter().skip(1).copied().chain([body.len()]);
    let mut blocks = Vec::new();
    for (block, (&start, end)) in starts.iter().zip(ends).enumerate() {
        let last = match &body[end - 1] {
            Statement::Inst(inst) => leaves(inst),
            _ => None,
        };
        let (falls_through, label) = last.unwrap_or((true, None));
        let next = (falls_through && block + 1 < starts.len()).then_some(block + 1);
        let target = label.and_then(|label| block_of_label.get(label)).copied();
        blocks.push(Block { statements: start..end, successors: next.into_iter().chain(target).collect() });
    }
    blocks
}
