//! Constant expressions: C's operators over `.s64` and `.u64`, folded while they are read.
//!
//! A literal is `.s64` unless it has a `U` or does not fit; one unsigned operand makes an operation unsigned; shifts keep the type
//! of their left side; comparisons and logic give a signed 0 or 1. A floating-point constant takes a sign and nothing else.

use super::cursor::Cursor;
use super::lexer::Token;
use super::parser::SyntaxError;

/// A folded constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Constant {
    Int { bits: u64, unsigned: bool },
    F32(u32),
    F64(u64),
}

/// Binary operators by how strongly they bind, weakest first.
const BINARY: &[&[&str]] = &[
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<", "<=", ">", ">="],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

/// How strongly `+` binds: what may follow a name and its offset.
const ADDITIVE: usize = 8;

/// The lanes of a warp, which PTX names `WARP_SZ`.
const WARP_SIZE: u64 = 32;

const fn signed(bits: u64) -> Constant {
    Constant::Int { bits, unsigned: false }
}

/// Whether a constant can start with the token.
pub(super) fn starts_constant(token: Token<'_>) -> bool {
    matches!(
        token,
        Token::Int { .. }
            | Token::F32(_)
            | Token::F64(_)
            | Token::Decimal(_)
            | Token::Word("WARP_SZ")
            | Token::Mark("-" | "+" | "~" | "!" | "(")
    )
}

/// A whole constant expression.
pub(super) fn constant(cursor: &mut Cursor<'_>) -> Result<Constant, SyntaxError> {
    let condition = binary(cursor, 0)?;
    if !cursor.eat("?")? {
        return Ok(condition);
    }
    let chosen = integer(cursor, condition)?.0 != 0;
    let first = cursor.nested(constant)?;
    cursor.expect(":")?;
    let second = cursor.nested(constant)?;
    Ok(if chosen { first } else { second })
}

/// A constant expression that is an integer, as its low 64 bits.
pub(super) fn integer_constant(cursor: &mut Cursor<'_>) -> Result<u64, SyntaxError> {
    let value = constant(cursor)?;
    Ok(integer(cursor, value)?.0)
}

/// `+ 4 - 2 ..` after a name, in bytes.
pub(super) fn offset(cursor: &mut Cursor<'_>) -> Result<i64, SyntaxError> {
    let mut offset = 0i64;
    loop {
        let is_minus = match cursor.peek() {
            Token::Mark("+") => false,
            Token::Mark("-") => true,
            _ => return Ok(offset),
        };
        cursor.take()?;
        let value = binary(cursor, ADDITIVE + 1)?;
        let bytes = integer(cursor, value)?.0 as i64;
        let sum = if is_minus { offset.checked_sub(bytes) } else { offset.checked_add(bytes) };
        offset = sum.ok_or_else(|| cursor.error("an offset does not fit in 64 bits"))?;
    }
}

fn integer(cursor: &Cursor<'_>, value: Constant) -> Result<(u64, bool), SyntaxError> {
    match value {
        Constant::Int { bits, unsigned } => Ok((bits, unsigned)),
        _ => Err(cursor.error("a floating-point constant stands where an integer is needed")),
    }
}

fn binary(cursor: &mut Cursor<'_>, level: usize) -> Result<Constant, SyntaxError> {
    let Some(operators) = BINARY.get(level) else { return unary(cursor) };
    let mut left = binary(cursor, level + 1)?;
    while let Token::Mark(operator) = cursor.peek()
        && operators.contains(&operator)
    {
        let a = integer(cursor, left)?;
        cursor.take()?;
        let right = binary(cursor, level + 1)?;
        let b = integer(cursor, right)?;
        left = apply(operator, a, b).ok_or_else(|| cursor.error("a constant is divided by zero"))?;
    }
    Ok(left)
}

/// `None` for a division by zero.
fn apply(operator: &str, (a, a_unsigned): (u64, bool), (b, b_unsigned): (u64, bool)) -> Option<Constant> {
    let unsigned = a_unsigned || b_unsigned;
    let (sa, sb) = (a as i64, b as i64);
    let truth = |holds: bool| signed(u64::from(holds));
    let same = |bits: u64| Constant::Int { bits, unsigned };
    // A shift by 64 or more leaves no bit of the operand, or only its sign.
    let shift = |bits: u64| Constant::Int { bits, unsigned: a_unsigned };
    let distance = u32::try_from(b).unwrap_or(u32::MAX);
    Some(match operator {
        "||" => truth(a != 0 || b != 0),
        "&&" => truth(a != 0 && b != 0),
        "|" => same(a | b),
        "^" => same(a ^ b),
        "&" => same(a & b),
        "==" => truth(a == b),
        "!=" => truth(a != b),
        "<" => truth(if unsigned { a < b } else { sa < sb }),
        "<=" => truth(if unsigned { a <= b } else { sa <= sb }),
        ">" => truth(if unsigned { a > b } else { sa > sb }),
        ">=" => truth(if unsigned { a >= b } else { sa >= sb }),
        "<<" => shift(a.checked_shl(distance).unwrap_or(0)),
        ">>" if a_unsigned => shift(a.checked_shr(distance).unwrap_or(0)),
        ">>" => shift((sa >> distance.min(63)) as u64),
        "+" => same(a.wrapping_add(b)),
        "-" => same(a.wrapping_sub(b)),
        "*" => same(a.wrapping_mul(b)),
        "/" if b == 0 => return None,
        "%" if b == 0 => return None,
        "/" => same(if unsigned { a / b } else { sa.wrapping_div(sb) as u64 }),
        _ => same(if unsigned { a % b } else { sa.wrapping_rem(sb) as u64 }),
    })
}

fn unary(cursor: &mut Cursor<'_>) -> Result<Constant, SyntaxError> {
    let token = cursor.peek();
    if !starts_constant(token) {
        return Err(cursor.expected("a constant"));
    }
    cursor.take()?;
    Ok(match token {
        Token::Int { value, unsigned } => Constant::Int { bits: value, unsigned },
        Token::F32(bits) => Constant::F32(bits),
        Token::F64(bits) => Constant::F64(bits),
        Token::Decimal(text) => {
            let value: f64 = text.parse().expect("the lexer reads every decimal once");
            Constant::F64(value.to_bits())
        }
        Token::Word(_) => signed(WARP_SIZE),
        Token::Mark("(") => match cursor.peek() {
            Token::Dot(ty @ ("s64" | "u64")) => {
                cursor.take()?;
                cursor.expect(")")?;
                let value = cursor.nested(unary)?;
                Constant::Int { bits: integer(cursor, value)?.0, unsigned: ty == "u64" }
            }
            _ => {
                let value = cursor.nested(constant)?;
                cursor.expect(")")?;
                value
            }
        },
        Token::Mark(sign) => {
            let value = cursor.nested(unary)?;
            match (sign, value) {
                ("-", Constant::F32(bits)) => Constant::F32(bits ^ 1 << 31),
                ("-", Constant::F64(bits)) => Constant::F64(bits ^ 1 << 63),
                ("+", value) => value,
                (_, value) => {
                    let (bits, unsigned) = integer(cursor, value)?;
                    match sign {
                        "-" => Constant::Int { bits: bits.wrapping_neg(), unsigned },
                        "~" => Constant::Int { bits: !bits, unsigned },
                        _ => signed(u64::from(bits == 0)),
                    }
                }
            }
        }
        _ => unreachable!("`starts_constant` holds"),
    })
}
