//! Which rows of the grammar are computed.

use gable_emulator::scalar::{compute, extreme_of_three, four_elements};
use gable_ptx::grammar::{Modifier, Op, rows};

/// Every instruction that computes on registers alone.
const OPS: [Op; 47] = [
    Op::Abs,
    Op::Add,
    Op::And,
    Op::Bfe,
    Op::Bfi,
    Op::Bfind,
    Op::Bmsk,
    Op::Brev,
    Op::Clz,
    Op::Cnot,
    Op::Copysign,
    Op::Cos,
    Op::Cvt,
    Op::CvtPack,
    Op::Div,
    Op::Dp2a,
    Op::Dp4a,
    Op::Ex2,
    Op::Fma,
    Op::Fns,
    Op::Lg2,
    Op::Lop3,
    Op::Mad,
    Op::Mad24,
    Op::Max,
    Op::Min,
    Op::Mul,
    Op::Mul24,
    Op::Neg,
    Op::Not,
    Op::Or,
    Op::Popc,
    Op::Prmt,
    Op::Rcp,
    Op::Rem,
    Op::Rsqrt,
    Op::Sad,
    Op::Setp,
    Op::Shf,
    Op::Shl,
    Op::Shr,
    Op::Sin,
    Op::Slct,
    Op::Sqrt,
    Op::Sub,
    Op::Szext,
    Op::Tanh,
];

#[test]
fn every_spelling_of_every_row_that_computes_on_registers_is_known() {
    let mut unknown = Vec::new();
    for row in rows().filter(|row| OPS.contains(&row.op)) {
        for modifiers in row.instances() {
            // Predicates are the machine's, and so is what combines a comparison with one.
            if modifiers.contains(&Modifier::Pred) {
                continue;
            }
            // Conversions with a scale and those of the fixed-point format are refused.
            if modifiers.iter().any(|m| matches!(m, Modifier::ScaledN2Ue8m0 | Modifier::S2f6x2)) {
                assert!(compute(row.op, &modifiers).is_none(), "{modifiers:?}");
                continue;
            }
            let boolean = [Modifier::And, Modifier::Or, Modifier::Xor];
            let alone: Vec<Modifier> =
                modifiers.iter().copied().filter(|modifier| !boolean.contains(modifier)).collect();
            let of_more = extreme_of_three(row.op, &alone).is_some() || four_elements(&alone).is_some();
            if compute(row.op, &alone).is_none() && !of_more {
                unknown.push(format!(
                    "{:?}{}",
                    row.op,
                    modifiers.iter().fold(String::new(), |text, m| text + "." + &m.text())
                ));
            }
        }
    }
    assert!(unknown.is_empty(), "{} spellings are not known: {}", unknown.len(), unknown.join(", "));
}
