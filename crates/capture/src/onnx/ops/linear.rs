//! Matrix products.

use crate::error::NodeError;
use crate::onnx::call::{Call, Lowered, Value, bad_attr, bad_input, scalar, sizes};
use gable_ir::build::default_acc;
use gable_ir::ops::Matmul;
use gable_ir::{Builder, NodeId};
use gable_tensor::{DType, Dim};
use std::collections::BTreeMap;

pub(crate) fn matmul(b: &mut Builder, call: &Call) -> Lowered {
    let (x, y) = (call.input(0, "A")?, call.input(1, "B")?);
    let out = b.dtype(x);
    Ok(vec![product(b, x, y, out)?])
}

/// The product with NumPy's rules: vectors become matrices and lose the axis again, batches broadcast.
pub(crate) fn product(b: &mut Builder, x: NodeId, y: NodeId, out: DType) -> Value {
    let (x_shape, y_shape) = (sizes(b, x)?, sizes(b, y)?);
    if x_shape.is_empty() || y_shape.is_empty() {
        return Err(bad_input("A", b.ty(x), "operands of rank 1 or more"));
    }
    let op = Matmul { acc: default_acc(b.dtype(x)), out };
    let (x_is_vector, y_is_vector) = (x_shape.len() == 1, y_shape.len() == 1);
    let mut a_shape = x_shape.clone();
    let mut b_shape = y_shape.clone();
    if x_is_vector {
        a_shape.insert(0, 1);
    }
    if y_is_vector {
        b_shape.push(1);
    }
    let (m, k) = (a_shape[a_shape.len() - 2], a_shape[a_shape.len() - 1]);
    let (inner, n) = (b_shape[b_shape.len() - 2], b_shape[b_shape.len() - 1]);
    if inner != k {
        return Err(bad_input("B", b.ty(y), format!("an inner size of {k}, as A, {}, has", b.ty(x))));
    }
    let result = if b_shape.len() == 2 {
        // One matrix for every batch: the batch joins the rows.
        let rows: usize = a_shape[..a_shape.len() - 1].iter().product();
        let (a, w) = (b.reshape(x, [rows, k])?, b.reshape(y, b_shape.clone())?);
        let flat = b.add(op, &[a, w])?;
        let mut shape = a_shape[..a_shape.len() - 1].to_vec();
        shape.push(n);
        b.reshape(flat, shape)?
    } else {
        let dims = |shape: &[usize]| shape.iter().map(|&size| Dim::from(size)).collect::<Vec<_>>();
        let batch = |shape: &[usize]| dims(&shape[..shape.len() - 2]);
        let joint = gable_ir::build::broadcast_shape(&batch(&a_shape), &batch(&b_shape))?;
        let full = |rows: usize, columns: usize| {
            joint.iter().cloned().chain([Dim::from(rows), Dim::from(columns)]).collect::<Vec<_>>()
        };
        let a = b.reshape(x, a_shape)?;
        let a = b.broadcast_to(a, &full(m, k))?;
        let w = b.reshape(y, b_shape)?;
        let w = b.broadcast_to(w, &full(k, n))?;
        b.add(op, &[a, w])?
    };
    let mut shape = b.shape(result);
    if y_is_vector {
        shape.pop();
    }
    if x_is_vector {
        shape.remove(shape.len() - if y_is_vector { 1 } else { 2 });
    }
    Ok(b.reshape(result, shape)?)
}

/// `alpha A B + beta C`, either operand transposed.
pub(crate) fn gemm(b: &mut Builder, call: &Call) -> Lowered {
    let (mut x, mut y) = (call.input(0, "A")?, call.input(1, "B")?);
    if b.rank(x) != 2 || b.rank(y) != 2 {
        return Err(bad_input("A", b.ty(x), "matrices"));
    }
    if call.flag("transA", false)? {
        x = b.transpose(x, &[1, 0])?;
    }
    if call.flag("transB", false)? {
        y = b.transpose(y, &[1, 0])?;
    }
    let dtype = b.dtype(x);
    let mut result = product(b, x, y, dtype)?;
    let alpha = call.float("alpha", 1.0)?;
    if alpha != 1.0 {
        let alpha = scalar(b, result, alpha)?;
        result = b.mul(result, alpha)?;
    }
    let beta = call.float("beta", 1.0)?;
    if let Some(mut addend) = call.optional(2).filter(|_| beta != 0.0) {
        if beta != 1.0 {
            let beta = scalar(b, addend, beta)?;
            addend = b.mul(addend, beta)?;
        }
        result = b.plus(result, addend)?;
    }
    Ok(vec![result])
}

/// A sum of products over named axes: the operands are multiplied one after the other, each time as one batched matrix
/// product over the axes that nobody needs afterwards.
pub(crate) fn einsum(b: &mut Builder, call: &Call) -> Lowered {
    let inputs = call.all("Inputs")?;
    let equation: String = call.text("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
    let bad = || bad_attr("equation", format!("`{equation}`"), "terms of letters, one per input, with equal sizes");
    let (terms, result) = match equation.split_once("->") {
        Some((terms, result)) => (terms, Some(result)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = terms.split(',').collect();
    if terms.len() != inputs.len() {
        return Err(bad());
    }
    // An ellipsis stands for the axes that its term does not name; they get digits, aligned at the last.
    let mut n_elided = 0;
    for (term, &id) in terms.iter().zip(&inputs) {
        if term.contains("...") {
            n_elided = n_elided.max((b.rank(id) + 3).checked_sub(term.len()).ok_or_else(bad)?);
        }
    }
    // Private-use characters: no equation can write them.
    let elided: Vec<char> = ('\u{e000}'..='\u{f8ff}').take(n_elided).collect();
    let expand = |term: &str, n: usize| -> Vec<char> {
        match term.split_once("...") {
            Some((before, after)) => {
                before.chars().chain(elided[n_elided - n..].iter().copied()).chain(after.chars()).collect()
            }
            None => term.chars().collect(),
        }
    };
    let mut operands = Vec::new();
    let mut seen: BTreeMap<char, usize> = BTreeMap::new();
    for (term, &id) in terms.iter().zip(&inputs) {
        let n = if term.contains("...") { (b.rank(id) + 3).checked_sub(term.len()).ok_or_else(bad)? } else { 0 };
        let letters = expand(term, n);
        let unknown = letters.iter().any(|c| !c.is_ascii_alphabetic() && !elided.contains(c));
        if letters.len() != b.rank(id) || unknown {
            return Err(bad());
        }
        letters.iter().for_each(|&c| *seen.entry(c).or_insert(0) += 1);
        operands.push(without_repeats(b, id, letters)?);
    }
    let result: Vec<char> = match result {
        Some(result) => expand(result, n_elided),
        None => {
            let once = seen.iter().filter(|(c, n)| **n == 1 && !elided.contains(c)).map(|(&c, _)| c);
            elided.iter().copied().chain(once).collect()
        }
    };
    let mut operands = operands.into_iter();
    let mut current = operands.next().ok_or_else(bad)?;
    let mut rest: Vec<Named> = operands.collect();
    while !rest.is_empty() {
        let next = rest.remove(0);
        let needed = |c: &char| result.contains(c) || rest.iter().any(|other| other.letters.contains(c));
        current = contract(b, current, next, &needed)?;
    }
    let summed: Vec<usize> = (0..current.letters.len()).filter(|&i| !result.contains(&current.letters[i])).collect();
    let reduced = b.reduce(gable_ir::attr::ReduceKind::Sum, current.id, &summed, false)?;
    let letters: Vec<char> = current.letters.iter().copied().filter(|c| result.contains(c)).collect();
    let perm: Option<Vec<usize>> = result.iter().map(|c| letters.iter().position(|l| l == c)).collect();
    let perm = perm.filter(|perm| perm.len() == letters.len()).ok_or_else(bad)?;
    Ok(vec![b.transpose(reduced, &perm)?])
}

/// A value whose axes have letters.
struct Named {
    id: NodeId,
    letters: Vec<char>,
}

/// Takes the diagonal of axes that share a letter: elements off it are zeroed and the axis summed.
fn without_repeats(b: &mut Builder, mut id: NodeId, mut letters: Vec<char>) -> Result<Named, NodeError> {
    while let Some((first, second)) = repeat_in(&letters) {
        let shape = b.shape(id);
        let row = b.add(gable_ir::ops::Iota { axis: first, dtype: DType::I64, shape: shape.clone() }, &[])?;
        let column = b.add(gable_ir::ops::Iota { axis: second, dtype: DType::I64, shape }, &[])?;
        let on = b.eq(row, column)?;
        let zero = scalar(b, id, 0.0)?;
        let kept = b.select(on, id, zero)?;
        id = b.reduce(gable_ir::attr::ReduceKind::Sum, kept, &[second], false)?;
        letters.remove(second);
    }
    Ok(Named { id, letters })
}

fn repeat_in(letters: &[char]) -> Option<(usize, usize)> {
    (0..letters.len()).find_map(|second| Some((letters[..second].iter().position(|c| *c == letters[second])?, second)))
}

/// The product of two values, summed over the letters that both have and nobody needs.
fn contract(b: &mut Builder, x: Named, y: Named, needed: &dyn Fn(&char) -> bool) -> Result<Named, NodeError> {
    let size_of = |b: &Builder, value: &Named| -> Result<BTreeMap<char, usize>, NodeError> {
        Ok(value.letters.iter().copied().zip(sizes(b, value.id)?).collect())
    };
    let (x_sizes, y_sizes) = (size_of(b, &x)?, size_of(b, &y)?);
    // A size of one stretches, as in broadcasting; such pairs are multiplied element by element.
    let stretched = x_sizes.iter().any(|(c, &n)| y_sizes.get(c).is_some_and(|&m| m != n));
    let shared = |c: &char| x_sizes.contains_key(c) && y_sizes.contains_key(c);
    let batch: Vec<char> = x.letters.iter().copied().filter(|c| shared(c) && (needed(c) || stretched)).collect();
    let summed: Vec<char> = x.letters.iter().copied().filter(|c| shared(c) && !needed(c) && !stretched).collect();
    let rows: Vec<char> = x.letters.iter().copied().filter(|c| !shared(c)).collect();
    let columns: Vec<char> = y.letters.iter().copied().filter(|c| !shared(c)).collect();
    let arranged = |b: &mut Builder, value: &Named, order: [&[char]; 3]| -> Result<NodeId, NodeError> {
        let order: Vec<char> = order.concat();
        let perm: Vec<usize> =
            order.iter().filter_map(|c| value.letters.iter().position(|letter| letter == c)).collect();
        Ok(b.transpose(value.id, &perm)?)
    };
    let a = arranged(b, &x, [&batch, &rows, &summed])?;
    let w = arranged(b, &y, [&batch, &summed, &columns])?;
    let letters: Vec<char> = [batch.clone(), rows.clone(), columns.clone()].concat();
    if summed.is_empty() {
        let (a_shape, w_shape) = (b.shape(a), b.shape(w));
        let one = |n: usize| vec![Dim::known(1); n];
        let a = b.reshape(a, [a_shape, one(columns.len())].concat())?;
        let w_shape = [w_shape[..batch.len()].to_vec(), one(rows.len()), w_shape[batch.len()..].to_vec()].concat();
        let w = b.reshape(w, w_shape)?;
        return Ok(Named { id: b.mul(a, w)?, letters });
    }
    let count = |letters: &[char], sizes: &BTreeMap<char, usize>| letters.iter().map(|c| sizes[c]).product::<usize>();
    let (n_batch, m) = (count(&batch, &x_sizes), count(&rows, &x_sizes));
    let (k, n) = (count(&summed, &x_sizes), count(&columns, &y_sizes));
    let a = b.reshape(a, [n_batch, m, k])?;
    let w = b.reshape(w, [n_batch, k, n])?;
    let product = b.matmul(a, w)?;
    let shape: Vec<usize> = letters.iter().map(|c| x_sizes.get(c).or(y_sizes.get(c)).copied().unwrap_or(1)).collect();
    Ok(Named { id: b.reshape(product, shape)?, letters })
}
