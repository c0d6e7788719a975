//! A pass of one's own, and how to test it: a graph in, text out, no GPU.
//!
//! The test at the end is the whole recipe; `cargo insta review` accepts a changed snapshot.

use gable::ir::{Graph, Op, text, verify};

/// Replaces `neg(neg(x))` by `x`.
pub fn drop_double_negation(graph: &mut Graph) {
    for id in graph.order() {
        let Op::Neg(_) = graph.op(id) else { continue };
        let inner = graph.operand(id, 0);
        if matches!(graph.op(inner), Op::Neg(_)) {
            let x = graph.operand(inner, 0);
            graph.replace_uses(id, x);
        }
    }
    graph.remove_dead();
}

const CASE: &str = "graph @case(%x: f32[n, 4]) {
    %0 = neg %x : f32[n, 4]
    %1 = neg %0 : f32[n, 4]
    %2 = exp %1 : f32[n, 4]
    return y = %2
}";

fn main() -> Result<(), text::ParseError> {
    let mut graph = text::parse(CASE)?;
    print!("before:\n{graph}");
    drop_double_negation(&mut graph);
    print!("after:\n{graph}");
    assert!(verify::verify(&graph).is_empty(), "a pass leaves a valid graph");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn double_negation_disappears() {
        let mut graph = text::parse(CASE).expect("the case parses");
        drop_double_negation(&mut graph);
        assert_eq!(verify::verify(&graph), []);
        insta::assert_snapshot!(graph.to_string(), @r"
        graph @case(%x: f32[n, 4]) {
          %0 = exp %x : f32[n, 4]
          return y = %0
        }
        ");
    }
}
