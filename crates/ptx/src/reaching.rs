//! Finds registers that are read where no path through the kernel has written them.
//!
//! In: a body. Out: places and registers. A write under a guard counts as a write, and one path with a write is enough,
//! so what is reported is certainly undefined. Code that no path reaches is not looked at.

use std::collections::{BTreeMap, BTreeSet};

use crate::inst::{Inst, Statement};
use crate::meaning::Meaning;
use crate::module::{registers, sources};
use crate::operand::{Label, Operand};
use crate::register::Reg;

/// Statements in a row that run one after the other.
struct Block {
    statements: std::ops::Range<usize>,
    successors: Vec<usize>,
}

/// The reads without a write before them: index of the statement and the register.
pub(crate) fn reads_of_nothing(body: &[Statement]) -> Vec<(usize, Reg)> {
    let all: BTreeSet<Reg> = insts(body, 0..body.len()).flat_map(|(_, inst)| registers(inst)).collect();
    let numbers: BTreeMap<Reg, usize> = all.into_iter().enumerate().map(|(i, reg)| (reg, i)).collect();
    let blocks = blocks(body);

    // written[b]: registers that some path to the start of block b writes; none while no path is known.
    let n_words = numbers.len().div_ceil(64);
    let mut written: Vec<Option<Vec<u64>>> = vec![None; blocks.len()];
    let mut pending = Vec::new();
    if let Some(entry) = written.first_mut() {
        *entry = Some(vec![0; n_words]);
        pending.push(0);
    }
    while let Some(index) = pending.pop() {
        let mut at_end = written[index].clone().expect("only reached blocks are pending");
        for (_, inst) in insts(body, blocks[index].statements.clone()) {
            for reg in &inst.dst {
                set(&mut at_end, numbers[reg]);
            }
        }
        for &successor in &blocks[index].successors {
            let known = &mut written[successor];
            let before = known.clone();
            match known {
                None => *known = Some(at_end.clone()),
                Some(known) => known.iter_mut().zip(&at_end).for_each(|(known, word)| *known |= word),
            }
            if *known != before {
                pending.push(successor);
            }
        }
    }

    let mut found = Vec::new();
    for (block, written) in blocks.iter().zip(written) {
        let Some(mut written) = written else { continue };
        for (index, inst) in insts(body, block.statements.clone()) {
            let guard = inst.guard.map(|guard| guard.pred);
            let reads: BTreeSet<Reg> = sources(inst).into_iter().chain(guard).collect();
            found.extend(reads.into_iter().filter(|reg| !is_set(&written, numbers[reg])).map(|reg| (index, reg)));
            for reg in &inst.dst {
                set(&mut written, numbers[reg]);
            }
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
