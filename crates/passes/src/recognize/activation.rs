//! GELU by erf and by tanh, and SiLU.
//!
//! Exports write GELU in many ways: `x / sqrt(2)` or `x * sqrt(1/2)`, the half at any place, the cube as a power or as
//! products. So the constants are found by reading the parts as polynomials in `x`.

use super::{Found, both_ways};
use crate::constant::splat_float;
use gable_ir::ops::{Gelu, Silu};
use gable_ir::{Builder, Graph, NodeId, Op};

/// Coefficients by power.
type Polynomial = [f64; 4];

/// Exported constants are f32, or decimal with seven digits.
const COEFFICIENT_TOLERANCE: f64 = 2e-6;

/// `id` as a polynomial in `x` of degree 3 at most.
fn polynomial(graph: &Graph, id: NodeId, x: NodeId, depth: usize) -> Option<Polynomial> {
    if id == x {
        return Some([0.0, 1.0, 0.0, 0.0]);
    }
    if let Some(c) = splat_float(graph, id) {
        return Some([c, 0.0, 0.0, 0.0]);
    }
    if depth == 0 {
        return None;
    }
    let operand = |position: usize| polynomial(graph, graph.operand(id, position), x, depth - 1);
    match graph.op(id) {
        Op::Neg(_) => Some(operand(0)?.map(|c| -c)),
        Op::Add(_) => Some(combine(operand(0)?, operand(1)?, |a, b| a + b)),
        Op::Sub(_) => Some(combine(operand(0)?, operand(1)?, |a, b| a - b)),
        Op::Mul(_) => product(operand(0)?, operand(1)?),
        Op::Div(_) => {
            let divisor = splat_float(graph, graph.operand(id, 1))?;
            Some(operand(0)?.map(|c| c / divisor))
        }
        Op::Pow(_) => {
            let base = operand(0)?;
            match splat_float(graph, graph.operand(id, 1))? {
                2.0 => product(base, base),
                3.0 => product(product(base, base)?, base),
                _ => None,
            }
        }
        _ => None,
    }
}

fn combine(a: Polynomial, b: Polynomial, f: impl Fn(f64, f64) -> f64) -> Polynomial {
    std::array::from_fn(|power| f(a[power], b[power]))
}

/// `None` when the degree exceeds 3.
fn product(a: Polynomial, b: Polynomial) -> Option<Polynomial> {
    let mut result = [0.0; 4];
    for (i, a) in a.into_iter().enumerate() {
        for (j, b) in b.into_iter().enumerate() {
            match result.get_mut(i + j) {
                Some(sum) => *sum += a * b,
                None if a * b != 0.0 => return None,
                None => {}
            }
        }
    }
    Some(result)
}

fn is_near(found: Polynomial, expected: Polynomial) -> bool {
    found.into_iter().zip(expected).all(|(f, e)| (f - e).abs() <= COEFFICIENT_TOLERANCE * e.abs())
}

/// The factors of a product of products.
fn factors(graph: &Graph, id: NodeId, depth: usize) -> Vec<NodeId> {
    match graph.op(id) {
        Op::Mul(_) if depth > 0 => {
            graph.operands(id).into_iter().flat_map(|operand| factors(graph, operand, depth - 1)).collect()
        }
        _ => vec![id],
    }
}

/// The operand of erf or tanh, and whether it is tanh, when `id` is `1 + erf(..)` or `1 + tanh(..)`.
fn bend(graph: &Graph, id: NodeId) -> Option<(NodeId, bool)> {
    let Op::Add(_) = graph.op(id) else { return None };
    let [(f, one), _] = both_ways(graph, id);
    let tanh = match graph.op(f) {
        Op::Erf(_) => false,
        Op::Tanh(_) => true,
        _ => return None,
    };
    (splat_float(graph, one)? == 1.0).then(|| (graph.operand(f, 0), tanh))
}

/// `x / 2 * (1 + erf(x / sqrt(2)))`, or with `tanh(sqrt(2 / pi) (x + 0.044715 x^3))`.
pub fn gelu(b: &mut Builder, id: NodeId) -> Found {
    let graph = &b.graph;
    let Op::Mul(_) = graph.op(id) else { return Ok(None) };
    let parts = factors(graph, id, 3);
    for (at, &part) in parts.iter().enumerate() {
        let Some((inner, tanh)) = bend(graph, part) else { continue };
        let others = || parts.iter().enumerate().filter(move |(i, _)| *i != at).map(|(_, &other)| other);
        let slope = (2.0 / std::f64::consts::PI).sqrt();
        let expected = match tanh {
            false => [0.0, std::f64::consts::FRAC_1_SQRT_2, 0.0, 0.0],
            true => [0.0, slope, 0.0, slope * 0.044715],
        };
        for x in others() {
            let whole = others()
                .try_fold([1.0, 0.0, 0.0, 0.0], |so_far, other| product(so_far, polynomial(graph, other, x, 2)?));
            let matches = splat_float(graph, x).is_none()
                && whole.is_some_and(|whole| is_near(whole, [0.0, 0.5, 0.0, 0.0]))
                && polynomial(graph, inner, x, 6).is_some_and(|inner| is_near(inner, expected));
            if matches {
                return b.add(Gelu { tanh }, &[x]).map(Some);
            }
        }
    }
    Ok(None)
}

/// `x * sigmoid(x)`.
pub fn silu(b: &mut Builder, id: NodeId) -> Found {
    let graph = &b.graph;
    let Op::Mul(_) = graph.op(id) else { return Ok(None) };
    let found = both_ways(graph, id)
        .into_iter()
        .find(|(x, gate)| matches!(graph.op(*gate), Op::Sigmoid(_)) && graph.operand(*gate, 0) == *x);
    match found {
        Some((x, _)) => b.add(Silu {}, &[x]).map(Some),
        None => Ok(None),
    }
}
