//! Random sizes, types, ways to lie, epilogues and candidate schedules on the targets of each tensor core, against the graph's evaluation.

use crate::product::{self, product};
use gable_ptx::Target;
use proptest::prelude::*;
use proptest::test_runner::Config;

/// Types of factors and result.
const TYPES: [(&str, &str); 6] =
    [("bf16", "bf16"), ("f16", "f16"), ("bf16", "f32"), ("tf32", "f32"), ("e4m3", "bf16"), ("f32", "f32")];

/// What comes after the product.
fn after(kind: usize, (m, n): (usize, usize), out: &str) -> String {
    match kind {
        1 => format!(
            "    %wide = broadcast %bias {{shape=[{m}, {n}]}} : {out}[{m}, {n}]\n    %moved = add %sum, %wide : {out}[{m}, {n}]\n    \
             %act = relu %moved : {out}[{m}, {n}]\n    %result = add %act, %rest : {out}[{m}, {n}]\n"
        ),
        2 => format!("    %result = transpose %sum {{perm=[1, 0]}} : {out}[{n}, {m}]\n"),
        3 => format!("    %result = neg %sum : {out}[{m}, {n}]\n"),
        _ => String::new(),
    }
}

/// A size: often a multiple of what vectors and boxes are made of, so that every pipeline is met.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![2 => (1usize..=18).prop_map(|eighths| 8 * eighths), 1 => 1usize..=150]
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_product_by_any_candidate_is_exact(
        (m, n, k) in (size(), size(), size()),
        types in 0..TYPES.len(),
        transposed in any::<[bool; 2]>(),
        kind in 0usize..4,
        target in prop::sample::select(vec![Target::Sm90a, Target::Sm100a, Target::Sm120a]),
        schedule in any::<prop::sample::Index>(),
    ) {
        let (factor, out) = TYPES[types];
        let source = product(factor, (m, n, k), transposed, out, &after(kind, (m, n), out));
        let candidates = product::candidates(&source, target);
        product::check(&source, target, candidates[schedule.index(candidates.len())]);
    }
}
