//! Symbolic dimensions: integer polynomials over named symbols, with exact floor division.
//!
//! A dimension is known when it has no symbol left. Arithmetic keeps a canonical form, so two dimensions
//! that are equal as polynomials compare equal: `(n + 1) * 2 == 2*n + 2`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

/// Values for named dimensions, such as `--dim batch=4` gives.
pub type Bindings = BTreeMap<String, i64>;

/// An indivisible factor of a monomial.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Atom {
    Symbol(Arc<str>),
    /// `floor(numerator / denominator)`, kept whole where the division is not exact.
    FloorDiv(Box<Dim>, Box<Dim>),
}

/// A product of atoms, sorted; empty for the constant term.
type Monomial = Vec<Atom>;

/// A dimension: a whole number or a polynomial over symbols.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dim {
    /// Coefficients by monomial; no zero coefficients, so the map is canonical.
    terms: BTreeMap<Monomial, i64>,
}

impl Dim {
    /// A known dimension.
    pub fn known(value: i64) -> Dim {
        let mut terms = BTreeMap::new();
        if value != 0 {
            terms.insert(Vec::new(), value);
        }
        Dim { terms }
    }

    /// A named, not yet known dimension. Names are identifiers: letters, digits, `_`, not starting with a digit
    /// (see [`Dim::is_symbol_name`]); other characters are replaced by `_`.
    pub fn symbol(name: &str) -> Dim {
        let mut clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if !clean.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            clean.insert(0, '_');
        }
        Dim { terms: BTreeMap::from([(vec![Atom::Symbol(clean.into())], 1)]) }
    }

    /// Whether `name` can name a dimension as it is.
    pub fn is_symbol_name(name: &str) -> bool {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// The value, when no symbol is left.
    pub fn value(&self) -> Option<i64> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&Vec::new() as &Monomial).copied(),
            _ => None,
        }
    }

    /// The largest whole number of times that `divisor` goes into `self`; exact where every coefficient divides.
    /// Division by zero gives `None`.
    pub fn floor_div(&self, divisor: &Dim) -> Option<Dim> {
        match (self.value(), divisor.value()) {
            (_, Some(0)) => None,
            (Some(a), Some(b)) => {
                let quotient = a.checked_div(b)?;
                Some(Dim::known(quotient - i64::from(a % b != 0 && (a < 0) != (b < 0))))
            }
            (_, Some(1)) => Some(self.clone()),
            (None, Some(b)) if self.terms.values().all(|c| c % b == 0) => {
                Some(Dim { terms: self.terms.iter().map(|(m, c)| (m.clone(), c / b)).collect() })
            }
            _ if self == divisor => Some(Dim::known(1)),
            _ => Some(self.divide_monomials(divisor).unwrap_or_else(|| Dim {
                terms: BTreeMap::from([(vec![Atom::FloorDiv(Box::new(self.clone()), Box::new(divisor.clone()))], 1)]),
            })),
        }
    }

    /// Exact division by a single monomial, as `6*n*m / (2*n) = 3*m`.
    fn divide_monomials(&self, divisor: &Dim) -> Option<Dim> {
        let [(by, coefficient)] = divisor.terms.iter().collect::<Vec<_>>()[..] else { return None };
        let mut terms = BTreeMap::new();
        for (monomial, c) in &self.terms {
            if c % coefficient != 0 {
                return None;
            }
            let mut rest = monomial.clone();
            for atom in by {
                rest.remove(rest.iter().position(|a| a == atom)?);
            }
            terms.insert(rest, c / coefficient);
        }
        Some(Dim { terms })
    }

    /// Replaces the symbols that `bindings` names.
    pub fn bind(&self, bindings: &Bindings) -> Dim {
        let mut sum = Dim::known(0);
        for (monomial, &coefficient) in &self.terms {
            let mut product = Dim::known(coefficient);
            for atom in monomial {
                let factor = match atom {
                    Atom::Symbol(name) => match bindings.get(name.as_ref()) {
                        Some(&value) => Dim::known(value),
                        None => Dim::symbol(name),
                    },
                    Atom::FloorDiv(a, b) => {
                        let (a, b) = (a.bind(bindings), b.bind(bindings));
                        // A zero divisor cannot be represented; the verifier reports the negative size.
                        a.floor_div(&b).unwrap_or(Dim::known(-1))
                    }
                };
                product = product * factor;
            }
            sum = sum + product;
        }
        sum
    }

    /// Names of the symbols that are left, sorted.
    pub fn symbols(&self) -> Vec<Arc<str>> {
        let mut found = std::collections::BTreeSet::new();
        self.collect_symbols(&mut found);
        found.into_iter().collect()
    }

    fn collect_symbols(&self, found: &mut std::collections::BTreeSet<Arc<str>>) {
        for atom in self.terms.keys().flatten() {
            match atom {
                Atom::Symbol(name) => {
                    found.insert(name.clone());
                }
                Atom::FloorDiv(a, b) => {
                    a.collect_symbols(found);
                    b.collect_symbols(found);
                }
            }
        }
    }

    /// Product of many dimensions; 1 for none.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Dim {
        dims.into_iter().fold(Dim::known(1), |product, dim| product * dim.clone())
    }

    /// Parses the text that [`fmt::Display`] prints: sums and products of integers, symbols and `(a)/(b)`.
    pub fn parse(text: &str) -> Result<Dim, String> {
        let mut parser = Parser { text: text.as_bytes(), at: 0, depth: 0 };
        let dim = parser.sum()?;
        match parser.peek() {
            None => Ok(dim),
            Some(c) => Err(format!("dimension `{text}`: unexpected `{}`", c as char)),
        }
    }
}

impl From<i64> for Dim {
    fn from(value: i64) -> Dim {
        Dim::known(value)
    }
}

impl From<usize> for Dim {
    fn from(value: usize) -> Dim {
        // Sizes beyond i64 cannot be addressed; saturating keeps the verifier's "too large" report reachable.
        Dim::known(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl Add for Dim {
    type Output = Dim;

    fn add(mut self, other: Dim) -> Dim {
        for (monomial, c) in other.terms {
            let entry = self.terms.entry(monomial.clone()).or_insert(0);
            *entry = entry.saturating_add(c);
            if *entry == 0 {
                self.terms.remove(&monomial);
            }
        }
        self
    }
}

impl Sub for Dim {
    type Output = Dim;

    fn sub(self, other: Dim) -> Dim {
        self + other * Dim::known(-1)
    }
}

impl Mul for Dim {
    type Output = Dim;

    fn mul(self, other: Dim) -> Dim {
        let mut terms = BTreeMap::new();
        for (a, ca) in &self.terms {
            for (b, cb) in &other.terms {
                let mut monomial = a.clone();
                monomial.extend(b.iter().cloned());
                monomial.sort();
                let entry = terms.entry(monomial).or_insert(0i64);
                *entry = entry.saturating_add(ca.saturating_mul(*cb));
            }
        }
        terms.retain(|_, c| *c != 0);
        Dim { terms }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        // Symbols before the constant reads best: `n + 1`.
        for (position, (monomial, c)) in self.terms.iter().rev().enumerate() {
            match (position, *c < 0) {
                (0, true) => f.write_str("-")?,
                (0, false) => {}
                (_, true) => f.write_str("-")?,
                (_, false) => f.write_str("+")?,
            }
            let size = c.unsigned_abs();
            if monomial.is_empty() || size != 1 {
                write!(f, "{size}")?;
                if !monomial.is_empty() {
                    f.write_str("*")?;
                }
            }
            for (i, atom) in monomial.iter().enumerate() {
                if i > 0 {
                    f.write_str("*")?;
                }
                match atom {
                    Atom::Symbol(name) => f.write_str(name)?,
                    Atom::FloorDiv(a, b) => write!(f, "({a})/({b})")?,
                }
            }
        }
        Ok(())
    }
}

/// Recursive descent over the few forms that `Display` prints. Depth is bounded so that hostile text cannot
/// exhaust the stack.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn sum(&mut self) -> Result<Dim, String> {
        self.depth += 1;
        if self.depth > 32 {
            return Err("dimension is nested too deeply".into());
        }
        let mut total = Dim::known(0);
        let mut sign = 1;
        if self.peek() == Some(b'-') {
            self.at += 1;
            sign = -1;
        }
        loop {
            total = total + self.product()? * Dim::known(sign);
            if total.terms.len() > 64 {
                return Err("dimension has too many terms".into());
            }
            sign = match self.peek() {
                Some(b'+') => 1,
                Some(b'-') => -1,
                _ => break,
            };
            self.at += 1;
        }
        self.depth -= 1;
        Ok(total)
    }

    fn product(&mut self) -> Result<Dim, String> {
        let mut product = self.factor()?;
        loop {
            match self.peek() {
                Some(b'*') => {
                    self.at += 1;
                    product = product * self.factor()?;
                }
                Some(b'/') => {
                    self.at += 1;
                    let by = self.factor()?;
                    product = product.floor_div(&by).ok_or("dimension divides by zero")?;
                }
                _ => return Ok(product),
            }
            if product.terms.len() > 64 || product.terms.keys().any(|m| m.len() > 16) {
                return Err("dimension has too many terms".into());
            }
        }
    }

    fn factor(&mut self) -> Result<Dim, String> {
        let start = self.at;
        match self.peek() {
            Some(b'(') => {
                self.at += 1;
                let inner = self.sum()?;
                if self.peek() != Some(b')') {
                    return Err("dimension lacks a `)`".into());
                }
                self.at += 1;
                Ok(inner)
            }
            Some(c) if c.is_ascii_digit() => {
                let digits = self.take(|c| c.is_ascii_digit());
                digits.parse().map(Dim::known).map_err(|_| format!("`{digits}` is too large for a dimension"))
            }
            Some(c) if c.is_ascii_alphabetic() || c == b'_' => {
                Ok(Dim::symbol(&self.take(|c| c.is_ascii_alphanumeric() || c == b'_')))
            }
            _ => Err(format!("expected a dimension at column {}", start + 1)),
        }
    }

    fn take(&mut self, keep: impl Fn(u8) -> bool) -> String {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|c| keep(*c)) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dim(text: &str) -> Dim {
        Dim::parse(text).expect(text)
    }

    #[test]
    fn equal_polynomials_are_equal() {
        assert_eq!((dim("n") + dim("1")) * dim("2"), dim("2*n+2"));
        assert_eq!(dim("n") - dim("n"), Dim::known(0));
        assert_eq!(dim("6*n*m").floor_div(&dim("2*n")), Some(dim("3*m")));
        assert_eq!(dim("4*n+2").floor_div(&dim("2")), Some(dim("2*n+1")));
    }

    #[test]
    fn text_round_trips() {
        for text in ["0", "7", "n", "2*n+3", "n-1", "-n+4", "m*n", "(n+1)/(2)+1", "(n)/(m)"] {
            assert_eq!(dim(&dim(text).to_string()), dim(text), "{text}");
        }
    }

    #[test]
    fn binding_evaluates_floor_division() {
        let bound = dim("(n+1)/2+1").bind(&Bindings::from([("n".into(), 6)]));
        assert_eq!(bound.value(), Some(4));
        assert_eq!(Dim::known(-7).floor_div(&Dim::known(2)), Some(Dim::known(-4)));
    }

    #[test]
    fn hostile_text_is_an_error() {
        for text in ["", "n+", "(n", "99999999999999999999", "n $", "1/0", &"(".repeat(100)] {
            assert!(Dim::parse(text).is_err(), "{text}");
        }
    }
}
