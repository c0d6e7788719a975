//! Index arithmetic as data: sums of variables with whole coefficients, quotients and remainders by constants.
//!
//! Every index is kept in one simplest form, so that equal indices have equal ids: reshapes, slices and broadcasts cancel
//! each other here, and what is left says whether an access is contiguous, uniform or aligned. Ranges of all variables
//! are known. One variable may be the `lane`: the position within a vector that one thread handles.
//!
//! Nothing here writes instructions; `engine` turns an index into registers when an address needs it.

use std::collections::HashMap;

/// An index in its simplest form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexId(u32);

/// What an index is a sum of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Atom {
    /// A value that a register holds, by its number; `lane` where each lane of a vector has a register of its own.
    Variable { number: u32, lane: Option<u32> },
    /// A variable with one register for each lane, before a lane is chosen.
    PerLane { number: u32 },
    /// The position within a vector of `lanes`.
    Lane { lanes: u32 },
    /// Whole quotient, rounded down.
    Quotient(IndexId, i64),
    /// What the quotient leaves, from 0 up.
    Remainder(IndexId, i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AtomId(u32);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sum {
    constant: i64,
    /// Sorted by atom, coefficients not zero.
    terms: Vec<(AtomId, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    low: i64,
    high: i64,
}

impl Range {
    fn plus(self, other: Range) -> Range {
        Range { low: self.low.saturating_add(other.low), high: self.high.saturating_add(other.high) }
    }

    fn times(self, factor: i64) -> Range {
        let (a, b) = (self.low.saturating_mul(factor), self.high.saturating_mul(factor));
        Range { low: a.min(b), high: a.max(b) }
    }
}

struct Known<T> {
    value: T,
    range: Range,
    has_lane: bool,
}

/// Every index of a kernel.
#[derive(Default)]
pub struct Indices {
    sums: Vec<Known<Sum>>,
    sum_ids: HashMap<Sum, IndexId>,
    atoms: Vec<Known<Atom>>,
    atom_ids: HashMap<Atom, AtomId>,
    divisions: HashMap<(IndexId, i64), (IndexId, IndexId)>,
    lanes: HashMap<(IndexId, u32), IndexId>,
    n_variables: u32,
}

impl Indices {
    /// A number.
    pub fn constant(&mut self, value: i64) -> IndexId {
        self.sum(Sum { constant: value, terms: Vec::new() })
    }

    /// A new variable between `low` and `high`, both included. Its number is how the engine finds its register.
    pub(crate) fn variable(&mut self, low: i64, high: i64) -> (IndexId, u32) {
        let number = self.next_number();
        let range = Range { low, high };
        (self.atom_index(Atom::Variable { number, lane: None }, range, false), number)
    }

    /// A new variable that has a register for each of `lanes` lanes.
    pub(crate) fn variable_per_lane(&mut self, lanes: u32, low: i64, high: i64) -> (IndexId, u32) {
        let number = self.next_number();
        let range = Range { low, high };
        for lane in 0..lanes {
            self.atom_index(Atom::Variable { number, lane: Some(lane) }, range, false);
        }
        (self.atom_index(Atom::PerLane { number }, range, true), number)
    }

    fn next_number(&mut self) -> u32 {
        self.n_variables += 1;
        self.n_variables - 1
    }

    /// The position within a vector; 0 where a vector has one lane.
    pub fn lane(&mut self, lanes: u32) -> IndexId {
        if lanes <= 1 {
            return self.constant(0);
        }
        self.atom_index(Atom::Lane { lanes }, Range { low: 0, high: i64::from(lanes) - 1 }, true)
    }

    /// `a + b`.
    pub fn add(&mut self, a: IndexId, b: IndexId) -> IndexId {
        let (a, b) = (&self.sums[a.0 as usize].value, &self.sums[b.0 as usize].value);
        let constant = a.constant + b.constant;
        let mut terms = Vec::with_capacity(a.terms.len() + b.terms.len());
        let (mut left, mut right) = (a.terms.iter().peekable(), b.terms.iter().peekable());
        loop {
            match (left.peek(), right.peek()) {
                (Some(&&(atom, x)), Some(&&(other, y))) if atom == other => {
                    if x + y != 0 {
                        terms.push((atom, x + y));
                    }
                    left.next();
                    right.next();
                }
                (Some(&&(atom, x)), other) if other.is_none_or(|&&(other, _)| atom < other) => {
                    terms.push((atom, x));
                    left.next();
                }
                (_, Some(&&(other, y))) => {
                    terms.push((other, y));
                    right.next();
                }
                (_, None) => break,
            }
        }
        self.rejoined(Sum { constant, terms })
    }

    /// `a + constant`.
    pub fn offset(&mut self, a: IndexId, constant: i64) -> IndexId {
        let mut sum = self.sums[a.0 as usize].value.clone();
        sum.constant += constant;
        self.sum(sum)
    }

    /// `a * factor`.
    pub fn scale(&mut self, a: IndexId, factor: i64) -> IndexId {
        if factor == 0 {
            return self.constant(0);
        }
        let mut sum = self.sums[a.0 as usize].value.clone();
        sum.constant *= factor;
        sum.terms.iter_mut().for_each(|(_, coefficient)| *coefficient *= factor);
        self.sum(sum)
    }

    /// `a * factor + b`.
    pub fn scale_add(&mut self, a: IndexId, factor: i64, b: IndexId) -> IndexId {
        let scaled = self.scale(a, factor);
        self.add(scaled, b)
    }

    /// `a / divisor` rounded down, and what that leaves. The divisor is positive.
    pub fn divide(&mut self, a: IndexId, divisor: i64) -> (IndexId, IndexId) {
        if divisor == 1 {
            let zero = self.constant(0);
            return (a, zero);
        }
        if let Some(&known) = self.divisions.get(&(a, divisor)) {
            return known;
        }
        let result = self.divide_anew(a, divisor);
        self.divisions.insert((a, divisor), result);
        result
    }

    fn divide_anew(&mut self, a: IndexId, divisor: i64) -> (IndexId, IndexId) {
        let sum = self.sums[a.0 as usize].value.clone();
        let (whole, rest): (Vec<_>, Vec<_>) = sum.terms.iter().partition(|(_, k)| k % divisor == 0);
        let (whole_constant, constant) = self.carry(&rest, sum.constant, divisor);
        let whole =
            Sum { constant: whole_constant, terms: whole.into_iter().map(|(atom, k)| (atom, k / divisor)).collect() };
        let whole = self.rejoined(whole);
        let rest = Sum { constant, terms: rest };
        let range = self.range_of(&rest);
        if range.low >= 0 && range.high < divisor {
            let rest = self.rejoined(rest);
            return (whole, rest);
        }
        // With g = gcd of the divisor and some coefficients: (g a + b) / (g d) = a / d where 0 <= b < g.
        let mut factors: Vec<i64> = rest.terms.iter().map(|&(_, k)| gcd(k, divisor)).filter(|&g| g > 1).collect();
        factors.sort_unstable_by(|a, b| b.cmp(a));
        factors.dedup();
        for g in factors {
            let (coarse, fine): (Vec<_>, Vec<_>) = rest.terms.iter().partition(|(_, k)| k % g == 0);
            let (coarse_constant, fine_constant) = self.carry(&fine, rest.constant, g);
            let fine = Sum { constant: fine_constant, terms: fine };
            let range = self.range_of(&fine);
            if range.low >= 0 && range.high < g {
                let coarse = Sum {
                    constant: coarse_constant,
                    terms: coarse.into_iter().map(|(atom, k)| (atom, k / g)).collect(),
                };
                let coarse = self.rejoined(coarse);
                let fine = self.rejoined(fine);
                let (quotient, remainder) = self.divide(coarse, divisor / g);
                return (self.add(whole, quotient), self.scale_add(remainder, g, fine));
            }
        }
        let rest_index = self.sum(rest.clone());
        if let ([(atom, 1)], 0) = (rest.terms.as_slice(), rest.constant) {
            match self.atoms[atom.0 as usize].value {
                Atom::Quotient(inner, by) => {
                    if let Some(both) = by.checked_mul(divisor) {
                        let (quotient, _) = self.divide(inner, both);
                        let remainder = self.remainder_atom(rest_index, divisor);
                        return (self.add(whole, quotient), remainder);
                    }
                }
                Atom::Remainder(inner, by) if by % divisor == 0 => {
                    let (quotient, remainder) = self.divide(inner, divisor);
                    let (_, quotient) = self.divide(quotient, by / divisor);
                    return (self.add(whole, quotient), remainder);
                }
                _ => {}
            }
        }
        let has_lane = self.sums[rest_index.0 as usize].has_lane;
        let quotient_range = Range { low: range.low.div_euclid(divisor), high: range.high.div_euclid(divisor) };
        let quotient = self.atom_index(Atom::Quotient(rest_index, divisor), quotient_range, has_lane);
        let remainder = self.remainder_atom(rest_index, divisor);
        (self.add(whole, quotient), remainder)
    }

    fn remainder_atom(&mut self, of: IndexId, divisor: i64) -> IndexId {
        let has_lane = self.sums[of.0 as usize].has_lane;
        self.atom_index(Atom::Remainder(of, divisor), Range { low: 0, high: divisor - 1 }, has_lane)
    }

    /// Splits a constant so that `terms` and its second part begin in `0..divisor`.
    fn carry(&self, terms: &[(AtomId, i64)], constant: i64, divisor: i64) -> (i64, i64) {
        let low = self.range_of_terms(terms).low.saturating_add(constant);
        let whole = low.div_euclid(divisor);
        (whole, constant - whole * divisor)
    }

    /// The sum with `k (e mod c) + k c (e / c)` written as `k e`, wherever both parts are there.
    fn rejoined(&mut self, sum: Sum) -> IndexId {
        for position in 0..sum.terms.len() {
            let (atom, k) = sum.terms[position];
            let Atom::Remainder(of, divisor) = self.atoms[atom.0 as usize].value else { continue };
            let (quotient, _) = self.divide(of, divisor);
            let quotient = &self.sums[quotient.0 as usize].value;
            let ([(quotient_atom, 1)], 0) = (quotient.terms.as_slice(), quotient.constant) else { continue };
            let quotient_atom = *quotient_atom;
            let both =
                sum.terms.iter().any(|&(other, by)| other == quotient_atom && Some(by) == k.checked_mul(divisor));
            if both {
                let others = sum.terms.iter().copied().filter(|&(other, _)| other != atom && other != quotient_atom);
                let others = Sum { constant: sum.constant, terms: others.collect() };
                let others = self.sum(others);
                return self.scale_add(of, k, others);
            }
        }
        self.sum(sum)
    }

    /// The index in lane `lane` of a vector.
    pub fn at_lane(&mut self, a: IndexId, lane: u32) -> IndexId {
        if !self.has_lane(a) {
            return a;
        }
        if let Some(&known) = self.lanes.get(&(a, lane)) {
            return known;
        }
        let sum = self.sums[a.0 as usize].value.clone();
        let mut result = self.constant(sum.constant);
        for (atom, k) in sum.terms {
            let term = match self.atoms[atom.0 as usize].value {
                Atom::Lane { .. } => self.constant(i64::from(lane)),
                Atom::PerLane { number } => {
                    let atom = self.atom_ids[&Atom::Variable { number, lane: Some(lane) }];
                    self.sum(Sum { constant: 0, terms: vec![(atom, 1)] })
                }
                Atom::Variable { .. } => self.sum(Sum { constant: 0, terms: vec![(atom, 1)] }),
                Atom::Quotient(of, divisor) => {
                    let of = self.at_lane(of, lane);
                    self.divide(of, divisor).0
                }
                Atom::Remainder(of, divisor) => {
                    let of = self.at_lane(of, lane);
                    self.divide(of, divisor).1
                }
            };
            result = self.scale_add(term, k, result);
        }
        self.lanes.insert((a, lane), result);
        result
    }

    /// Whether the index differs between the lanes of a vector.
    pub fn has_lane(&self, a: IndexId) -> bool {
        self.sums[a.0 as usize].has_lane
    }

    /// By how much the index grows from lane to lane; `None` where it is not by the same each time.
    pub fn lane_stride(&self, a: IndexId) -> Option<i64> {
        let mut stride = 0;
        for &(atom, k) in &self.sums[a.0 as usize].value.terms {
            let known = &self.atoms[atom.0 as usize];
            match known.value {
                Atom::Lane { .. } => stride = k,
                _ if known.has_lane => return None,
                _ => {}
            }
        }
        Some(stride)
    }

    /// Smallest and largest value.
    pub fn range(&self, a: IndexId) -> (i64, i64) {
        let Range { low, high } = self.sums[a.0 as usize].range;
        (low, high)
    }

    /// The number, where it is one.
    pub fn as_constant(&self, a: IndexId) -> Option<i64> {
        let sum = &self.sums[a.0 as usize].value;
        sum.terms.is_empty().then_some(sum.constant)
    }

    /// The largest power of two, up to `most`, that divides every value of the index.
    pub fn alignment(&self, a: IndexId, most: i64) -> i64 {
        let sum = &self.sums[a.0 as usize].value;
        sum.terms.iter().map(|&(_, k)| k).chain([sum.constant, most]).fold(0, gcd)
    }

    /// The constant, and the atoms with their coefficients.
    pub(crate) fn parts(&self, a: IndexId) -> (i64, Vec<(AtomId, i64)>) {
        let sum = &self.sums[a.0 as usize].value;
        (sum.constant, sum.terms.clone())
    }

    pub(crate) fn atom(&self, atom: AtomId) -> Atom {
        self.atoms[atom.0 as usize].value
    }

    /// The row-major position of `coordinates` in `shape`.
    pub fn flat(&mut self, coordinates: &[IndexId], shape: &[usize]) -> IndexId {
        let mut flat = self.constant(0);
        let mut stride = 1;
        for (&coordinate, &size) in coordinates.iter().zip(shape).rev() {
            flat = self.scale_add(coordinate, stride, flat);
            stride *= size as i64;
        }
        flat
    }

    /// The coordinates in `shape` of row-major position `flat`.
    pub fn coordinates(&mut self, flat: IndexId, shape: &[usize]) -> Vec<IndexId> {
        let mut rest = flat;
        let mut coordinates = vec![flat; shape.len()];
        for axis in (1..shape.len()).rev() {
            (rest, coordinates[axis]) = self.divide(rest, shape[axis].max(1) as i64);
        }
        if let Some(first) = coordinates.first_mut() {
            // Nothing is left above the first axis, so its remainder is the quotient itself.
            *first = if shape[0] == 1 { self.constant(0) } else { rest };
        }
        coordinates
    }

    fn range_of(&self, sum: &Sum) -> Range {
        self.range_of_terms(&sum.terms).plus(Range { low: sum.constant, high: sum.constant })
    }

    fn range_of_terms(&self, terms: &[(AtomId, i64)]) -> Range {
        terms
            .iter()
            .map(|&(atom, k)| self.atoms[atom.0 as usize].range.times(k))
            .fold(Range { low: 0, high: 0 }, Range::plus)
    }

    fn sum(&mut self, sum: Sum) -> IndexId {
        if let Some(&id) = self.sum_ids.get(&sum) {
            return id;
        }
        let range = self.range_of(&sum);
        let has_lane = sum.terms.iter().any(|&(atom, _)| self.atoms[atom.0 as usize].has_lane);
        let id = IndexId(self.sums.len() as u32);
        self.sums.push(Known { value: sum.clone(), range, has_lane });
        self.sum_ids.insert(sum, id);
        id
    }

    fn atom_index(&mut self, atom: Atom, range: Range, has_lane: bool) -> IndexId {
        if range.low == range.high {
            return self.constant(range.low);
        }
        let id = *self.atom_ids.entry(atom).or_insert_with(|| {
            self.atoms.push(Known { value: atom, range, has_lane });
            AtomId(self.atoms.len() as u32 - 1)
        });
        self.sum(Sum { constant: 0, terms: vec![(id, 1)] })
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of an index at values of the variables, by number, and of the lane.
    fn value(indices: &Indices, a: IndexId, variables: &[i64], lane: i64) -> i64 {
        let (constant, terms) = indices.parts(a);
        let atom = |id: AtomId| match indices.atom(id) {
            Atom::Variable { number, .. } | Atom::PerLane { number } => variables[number as usize],
            Atom::Lane { .. } => lane,
            Atom::Quotient(of, by) => value(indices, of, variables, lane).div_euclid(by),
            Atom::Remainder(of, by) => value(indices, of, variables, lane).rem_euclid(by),
        };
        terms.into_iter().fold(constant, |sum, (id, k)| sum + k * atom(id))
    }

    #[test]
    fn coordinates_of_a_position_join_back_to_it() {
        let mut indices = Indices::default();
        let (i, _) = indices.variable(0, 2 * 3 * 5 * 7 - 1);
        for shape in [&[2, 3, 5, 7][..], &[6, 35], &[210], &[2, 1, 105], &[1, 210, 1]] {
            let coordinates = indices.coordinates(i, shape);
            assert_eq!(indices.flat(&coordinates, shape), i, "{shape:?}");
        }
    }

    #[test]
    fn a_reshape_between_other_shapes_cancels() {
        let mut indices = Indices::default();
        let (t, _) = indices.variable(0, 4 * 12 * 64 / 4 - 1);
        let lane = indices.lane(4);
        let i = indices.scale_add(t, 4, lane);
        let wide = indices.coordinates(i, &[4, 12, 64]);
        let flat = indices.flat(&wide, &[4, 12, 64]);
        let merged = indices.coordinates(flat, &[48, 64]);
        assert_eq!(indices.flat(&merged, &[48, 64]), i);
        assert_eq!(indices.lane_stride(wide[2]), Some(1));
        assert!(!indices.has_lane(wide[1]), "a vector lies within one row");
        let first = indices.at_lane(wide[2], 0);
        assert_eq!(indices.alignment(first, 16), 4, "and starts at a multiple of its length");
    }

    #[test]
    fn simplified_divisions_have_the_values_of_plain_ones() {
        // Sums with many coefficients, divisors and offsets, against plain arithmetic at every point.
        for (a, b, constant) in [(1, 0, 0), (3, 1, -2), (4, 6, 5), (12, 1, 0), (8, 2, -9), (5, 10, 7)] {
            for divisor in [2, 3, 4, 6, 12] {
                for second in [2, 3, 4] {
                    let mut indices = Indices::default();
                    let (x, _) = indices.variable(0, 10);
                    let (y, _) = indices.variable(0, 3);
                    let lane = indices.lane(4);
                    let mut sum = indices.scale(x, a);
                    sum = indices.scale_add(y, b, sum);
                    sum = indices.add(sum, lane);
                    sum = indices.offset(sum, constant);
                    let (q, r) = indices.divide(sum, divisor);
                    let (qq, qr) = indices.divide(q, second);
                    let (rq, rr) = indices.divide(r, second);
                    let joined = indices.scale_add(q, divisor, r);
                    assert_eq!(joined, sum, "({a} x + {b} y + lane + {constant}) / {divisor}");
                    for (xv, yv, l) in (0..=10).flat_map(|x| (0..=3).flat_map(move |y| (0..4).map(move |l| (x, y, l))))
                    {
                        let plain = a * xv + b * yv + l + constant;
                        let check = |id: IndexId, expected: i64| {
                            assert_eq!(value(&indices, id, &[xv, yv], l), expected);
                            let (low, high) = indices.range(id);
                            assert!((low..=high).contains(&expected));
                        };
                        let (pq, pr) = (plain.div_euclid(divisor), plain.rem_euclid(divisor));
                        check(q, pq);
                        check(r, pr);
                        check(qq, pq.div_euclid(second));
                        check(qr, pq.rem_euclid(second));
                        check(rq, pr.div_euclid(second));
                        check(rr, pr.rem_euclid(second));
                    }
                    for l in 0..4 {
                        let at = indices.at_lane(r, l);
                        assert!(!indices.has_lane(at));
                        assert_eq!(
                            value(&indices, at, &[7, 2], 99),
                            (a * 7 + b * 2 + i64::from(l) + constant).rem_euclid(divisor)
                        );
                    }
                }
            }
        }
    }
}
