//! Reads a symbolic index as mixed-radix digits of the variables that it depends on.
//!
//! In: where an element lies, as the engine's index arithmetic has it: a sum of variables, quotients and remainders of
//! variables. Out: a constant, and for each variable digits with strides, when the index is the sum of those. What is not
//! so (an index that two variables share a quotient of, a remainder that does not divide its axis) is no strided view.

use super::problem::Digit;
use crate::index::{Atom, AtomId, IndexId, Indices};

/// A variable of an index and how many values it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// The index that is the variable alone; a constant 0 where it takes one value.
    pub index: IndexId,
    /// The variable's number, where it has one.
    pub number: Option<u32>,
    /// Values from 0 up.
    pub size: usize,
}

impl Axis {
    /// A new variable without a register, to reason with.
    pub fn new(indices: &mut Indices, size: usize) -> Axis {
        if size <= 1 {
            return Axis { index: indices.constant(0), number: None, size };
        }
        let (index, number) = indices.variable(0, size as i64 - 1);
        Axis { index, number: Some(number), size }
    }
}

/// The one variable that an atom depends on, when it is a chain of quotients and remainders of it.
fn owner(indices: &Indices, atom: AtomId) -> Option<u32> {
    match indices.atom(atom) {
        Atom::Variable { number, lane: None } => Some(number),
        Atom::Quotient(of, _) | Atom::Remainder(of, _) => owner(indices, only_atom(indices, of)?),
        _ => None,
    }
}

fn only_atom(indices: &Indices, index: IndexId) -> Option<AtomId> {
    match indices.parts(index) {
        (0, terms) => match terms[..] {
            [(atom, 1)] => Some(atom),
            _ => None,
        },
        _ => None,
    }
}

/// Adds the values at which an atom turns over; gives what its variable counts between two values of the atom.
fn turns(indices: &Indices, atom: AtomId, found: &mut Vec<i64>) -> Option<i64> {
    match indices.atom(atom) {
        Atom::Variable { .. } => Some(1),
        Atom::Quotient(of, divisor) => {
            let unit = turns(indices, only_atom(indices, of)?, found)?.checked_mul(divisor)?;
            found.push(unit);
            Some(unit)
        }
        Atom::Remainder(of, divisor) => {
            let unit = turns(indices, only_atom(indices, of)?, found)?;
            found.extend([unit, unit.checked_mul(divisor)?]);
            Some(unit)
        }
        _ => None,
    }
}

/// The atom where its variable is `value`.
fn value_at(indices: &Indices, atom: AtomId, value: i64) -> Option<i64> {
    Some(match indices.atom(atom) {
        Atom::Variable { .. } => value,
        Atom::Quotient(of, divisor) => value_at(indices, only_atom(indices, of)?, value)?.div_euclid(divisor),
        Atom::Remainder(of, divisor) => value_at(indices, only_atom(indices, of)?, value)?.rem_euclid(divisor),
        _ => return None,
    })
}

/// Whether the index depends on the axis in any way.
pub(super) fn mentions(indices: &Indices, index: IndexId, axis: &Axis) -> bool {
    indices.parts(index).1.into_iter().any(|(atom, _)| match indices.atom(atom) {
        Atom::Variable { number, .. } | Atom::PerLane { number } => axis.number == Some(number),
        Atom::Quotient(of, _) | Atom::Remainder(of, _) => mentions(indices, of, axis),
        Atom::Lane { .. } => false,
    })
}

/// By how much the index grows from one value of the axis to the next, where that is the same within its fastest digit.
pub(super) fn stride_along(indices: &Indices, index: IndexId, axis: &Axis) -> Option<i64> {
    let mut terms = Vec::new();
    for (atom, factor) in indices.parts(index).1 {
        match owner(indices, atom) {
            Some(number) if axis.number == Some(number) => terms.push((atom, factor)),
            Some(_) => {}
            None => return None,
        }
    }
    digits_of_terms(indices, &terms, axis.size)?.last().map(|digit| digit.stride)
}

/// The constant of `index` and the digits of each axis, slowest first; `None` where it is no sum of such.
pub(super) fn digits_of(indices: &Indices, index: IndexId, axes: &[Axis]) -> Option<(i64, Vec<Vec<Digit>>)> {
    let (constant, terms) = indices.parts(index);
    let mut of_axis: Vec<Vec<(AtomId, i64)>> = vec![Vec::new(); axes.len()];
    for (atom, factor) in terms {
        let number = owner(indices, atom)?;
        let axis = axes.iter().position(|axis| axis.number == Some(number))?;
        of_axis[axis].push((atom, factor));
    }
    let mut all = Vec::with_capacity(axes.len());
    for (axis, terms) in axes.iter().zip(of_axis) {
        all.push(digits_of_terms(indices, &terms, axis.size)?);
    }
    Some((constant, all))
}

/// Digits of an axis of `size`, of which `terms` count.
fn digits_of_terms(indices: &Indices, terms: &[(AtomId, i64)], size: usize) -> Option<Vec<Digit>> {
    let size = size as i64;
    let mut ends = vec![1, size];
    for &(atom, _) in terms {
        turns(indices, atom, &mut ends)?;
    }
    ends.retain(|&end| (1..=size).contains(&end));
    ends.sort_unstable();
    ends.dedup();
    let mut digits = Vec::new();
    for pair in ends.windows(2) {
        if pair[1] % pair[0] != 0 {
            return None;
        }
        let mut stride = 0i64;
        for &(atom, factor) in terms {
            stride += value_at(indices, atom, pair[0])?.checked_mul(factor)?;
        }
        digits.push(Digit::plain((pair[1] / pair[0]) as usize, stride));
    }
    digits.reverse();
    Some(digits)
}

/// Joins neighbouring digits that one stride serves, and drops those with one value.
pub(super) fn joined(digits: Vec<Digit>) -> Vec<Digit> {
    let mut result: Vec<Digit> = Vec::new();
    for digit in digits.into_iter().filter(|digit| digit.size != 1) {
        match result.last_mut() {
            Some(slower)
                if slower.stride == digit.stride * digit.size as i64
                    && slower.window.is_none()
                    && digit.window.is_none() =>
            {
                *slower = Digit::plain(slower.size * digit.size, digit.stride);
            }
            _ => result.push(digit),
        }
    }
    result
}
