//! Instructions and their operands.

use super::cursor::Cursor;
use super::expression::{Constant, constant, offset, starts_constant};
use super::lexer::Token;
use super::parser::SyntaxError;
use super::{Instruction, Operand};

/// An instruction whose guard and first word are read, up to its `;`.
pub(super) fn instruction(
    cursor: &mut Cursor<'_>,
    guard: Option<(std::sync::Arc<str>, bool)>,
    name: &str,
    line: u32,
) -> Result<Instruction, SyntaxError> {
    let mut modifiers = Vec::new();
    while let Token::Dot(modifier) = cursor.peek() {
        cursor.take()?;
        modifiers.push(cursor.intern(modifier));
    }
    // In a call, parentheses hold results and arguments; elsewhere they belong to a constant.
    let is_call = name == "call";
    let operands = cursor.separated(";", |cursor| match cursor.peek() {
        Token::Mark("(") if is_call => {
            cursor.take()?;
            Ok(Operand::List(cursor.separated(")", operand)?))
        }
        _ => operand(cursor),
    })?;
    modifiers.shrink_to_fit();
    Ok(Instruction { line, guard, name: cursor.intern(name), modifiers, operands })
}

/// One operand.
fn operand(cursor: &mut Cursor<'_>) -> Result<Operand, SyntaxError> {
    let first = single(cursor)?;
    if matches!(first, Operand::Name { .. } | Operand::Sink) && cursor.eat("|")? {
        let second = single(cursor)?;
        return Ok(Operand::Pair(Box::new(first), Box::new(second)));
    }
    Ok(first)
}

fn single(cursor: &mut Cursor<'_>) -> Result<Operand, SyntaxError> {
    match cursor.peek() {
        Token::Mark("{") => {
            cursor.take()?;
            Ok(Operand::Vector(cursor.nested(|cursor| cursor.separated("}", operand))?))
        }
        Token::Mark("[") => {
            cursor.take()?;
            cursor.nested(address)
        }
        // `!` of a predicate; of a constant it is an operator.
        Token::Mark("!") if cursor.is_name_after()? => {
            cursor.take()?;
            named(cursor, true)
        }
        token if starts_constant(token) => Ok(match constant(cursor)? {
            Constant::Int { bits, .. } => Operand::Int(bits),
            Constant::F32(bits) => Operand::F32(bits),
            Constant::F64(bits) => Operand::F64(bits),
        }),
        Token::Word(_) => named(cursor, false),
        _ => Err(cursor.expected("an operand")),
    }
}

/// A name, with `.x` behind it or bytes added.
fn named(cursor: &mut Cursor<'_>, negated: bool) -> Result<Operand, SyntaxError> {
    let Token::Word(word) = cursor.peek() else { return Err(cursor.expected("a name")) };
    cursor.take()?;
    if word == "_" && !negated {
        return Ok(Operand::Sink);
    }
    if word == "generic" && !negated && cursor.eat("(")? {
        let name = cursor.expect_name("the name of a variable")?;
        cursor.expect(")")?;
        return Ok(Operand::Expression { name, generic: true, offset: offset(cursor)? });
    }
    let name = match cursor.peek() {
        Token::Dot(element) => {
            cursor.take()?;
            cursor.intern(&format!("{word}.{element}"))
        }
        _ => cursor.intern(word),
    };
    match cursor.peek() {
        Token::Mark("+" | "-") if !negated => Ok(Operand::Expression { name, generic: false, offset: offset(cursor)? }),
        _ => Ok(Operand::Name { name, negated }),
    }
}

/// After `[`.
fn address(cursor: &mut Cursor<'_>) -> Result<Operand, SyntaxError> {
    let (base, offset) = match single(cursor)? {
        Operand::Expression { name, generic: false, offset } => (Operand::Name { name, negated: false }, offset),
        base @ (Operand::Int(_) | Operand::Name { negated: false, .. }) => (base, 0),
        _ => return Err(cursor.error("an address starts with a register, a variable or an integer")),
    };
    let more = if cursor.eat(",")? {
        cursor.separated("]", operand)?
    } else {
        cursor.expect("]")?;
        Vec::new()
    };
    Ok(Operand::Address { base: Box::new(base), offset, more })
}
