//! Algebraic simplification: rewrites that give the same bits with fewer or cheaper ops.
//!
//! In: any graph. Out: the same values; only the sign of a zero that a one-element sum returns may differ. No rule
//! removes a cast that rounds, and none changes where a result is rounded.

mod arithmetic;
pub mod casts;
mod movement;

use crate::context::Context;
use crate::error::PassError;
use gable_ir::{Builder, Module, NodeId, OpError};

/// What a rule gives: another value for the same, or nothing.
type Rewrite = Result<Option<NodeId>, OpError>;

/// Every rule, tried in this order.
const RULES: &[fn(&mut Builder, NodeId) -> Rewrite] = &[
    arithmetic::constant_last,
    arithmetic::neutral,
    arithmetic::unary,
    arithmetic::power,
    arithmetic::divide,
    arithmetic::select,
    casts::chain,
    casts::product,
    movement::constant,
    movement::reshape,
    movement::transpose,
    movement::broadcast,
    movement::slice,
    movement::pad,
    movement::concat,
    movement::gather_one,
    movement::reduce_ones,
];

/// Rounds after which no more is looked for. Each round shortens some chain, so this bounds depth, not graph size.
const MAX_ROUNDS: usize = 32;

/// See the table.
pub fn run(module: &mut Module, context: &mut Context) -> Result<(), PassError> {
    let mut b = Builder::over(std::mem::take(module));
    let result = simplify(&mut b, context).map_err(|source| PassError::Built { pass: "simplify", source });
    *module = b.finish();
    module.graph.remove_dead();
    result
}

fn simplify(b: &mut Builder, context: &mut Context) -> Result<(), OpError> {
    for _ in 0..MAX_ROUNDS {
        let mut changed = false;
        for id in b.graph.order() {
            if b.graph.n_uses(id) == 0 {
                continue;
            }
            b.set_origin(b.graph.node(id).origin.clone());
            for rule in RULES {
                if let Some(new) = rule(b, id)? {
                    if !context.step() {
                        return Ok(());
                    }
                    debug_assert_eq!(b.ty(new), b.ty(id), "a rule keeps the type");
                    b.graph.replace_uses(id, new);
                    changed = true;
                    break;
                }
            }
        }
        b.graph.remove_dead();
        if !changed {
            break;
        }
    }
    Ok(())
}
