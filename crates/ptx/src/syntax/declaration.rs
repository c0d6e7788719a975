//! Variables, registers and parameters.

use std::sync::Arc;

use super::cursor::Cursor;
use super::expression::{Constant, constant, integer_constant, offset};
use super::lexer::Token;
use super::parser::SyntaxError;
use super::{Initializer, Linkage, Parameter, Registers, StorageType, Variable, VariableSpace};

/// Registers that `name<n>` may declare at once: far more than a kernel has values, far less than memory.
const MAX_REGISTERS: u32 = 1 << 20;

/// The space that a directive names.
pub(super) fn space(word: &str) -> Option<VariableSpace> {
    Some(match word {
        "global" => VariableSpace::Global,
        "const" => VariableSpace::Constant,
        "shared" | "shared::cta" => VariableSpace::Shared,
        "local" => VariableSpace::Local,
        "param" => VariableSpace::Param,
        _ => return None,
    })
}

fn storage_type(word: &str) -> Option<StorageType> {
    Some(match word {
        "pred" => StorageType::Pred,
        "b8" | "u8" | "s8" => StorageType::B8,
        "b16" | "u16" | "s16" | "f16" | "bf16" | "e4m3x2" | "e5m2x2" => StorageType::B16,
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" | "tf32" | "u16x2" | "s16x2" => StorageType::B32,
        "b64" | "u64" | "s64" | "f64" | "f32x2" => StorageType::B64,
        "b128" => StorageType::B128,
        _ => return None,
    })
}

/// What stands between the space and the name.
struct Head {
    ty: StorageType,
    /// The type as written, for decimals in an initialiser.
    word: &'static str,
    vector: u32,
    align: Option<u64>,
}

/// `.align 8 .v2 .b32`, and for parameters `.ptr .global .align 16`.
fn head(cursor: &mut Cursor<'_>) -> Result<Head, SyntaxError> {
    let (mut ty, mut vector, mut align) = (None, 1, None);
    let mut is_pointer = false;
    while let Token::Dot(word) = cursor.peek() {
        match word {
            "align" => {
                cursor.take()?;
                let bytes = cursor.expect_u32("an alignment in bytes")?;
                if !bytes.is_power_of_two() {
                    return Err(cursor.error(format!("the alignment {bytes} is not a power of two")));
                }
                // After `.ptr` it is of what the pointer points to.
                if !is_pointer {
                    align = Some(u64::from(bytes));
                }
                continue;
            }
            "v2" | "v4" | "v8" => vector = u32::from(word.as_bytes()[1] - b'0'),
            "ptr" => is_pointer = true,
            "global" | "const" | "local" | "shared" | "param" if is_pointer => {}
            "attribute" => {
                cursor.take()?;
                cursor.expect("(")?;
                while !cursor.eat(")")? {
                    if cursor.take()? == Token::End {
                        return Err(cursor.expected("`)`"));
                    }
                }
                continue;
            }
            "texref" | "samplerref" | "surfref" => {
                return Err(cursor.error(format!("`.{word}`: textures and surfaces are not supported")));
            }
            _ => match storage_type(word) {
                Some(known) if ty.is_none() => ty = Some((known, floating(word))),
                _ => return Err(cursor.expected("a type or a name")),
            },
        }
        cursor.take()?;
    }
    let Some((ty, word)) = ty else { return Err(cursor.expected("a type")) };
    Ok(Head { ty, word, vector, align })
}

/// The floating-point types that decimals are written in.
fn floating(word: &str) -> &'static str {
    match word {
        "f32" => "f32",
        "f64" => "f64",
        _ => "",
    }
}

/// Variables after their space, up to and with `;`.
pub(super) fn variables(
    cursor: &mut Cursor<'_>,
    space: VariableSpace,
    linkage: Linkage,
) -> Result<Vec<Variable>, SyntaxError> {
    let head = head(cursor)?;
    if head.ty == StorageType::Pred {
        return Err(cursor.error("a predicate is a register: it cannot be a variable"));
    }
    cursor.separated(";", |cursor| variable(cursor, &head, space, linkage))
}

fn variable(
    cursor: &mut Cursor<'_>,
    head: &Head,
    space: VariableSpace,
    linkage: Linkage,
) -> Result<Variable, SyntaxError> {
    let line = cursor.line();
    let name = cursor.expect_name("the name of a variable")?;
    let mut dimensions = Vec::new();
    while cursor.eat("[")? {
        if cursor.eat("]")? {
            dimensions.push(0);
        } else {
            dimensions.push(integer_constant(cursor)?);
            cursor.expect("]")?;
        }
    }
    let init = if cursor.eat("=")? { Some(initializer(cursor, head)?) } else { None };
    let natural = head.ty.bytes() * u64::from(head.vector);
    let align = head.align.unwrap_or(natural);
    let mut variable =
        Variable { name, space, linkage, ty: head.ty, vector: head.vector, dimensions, align, init, line };
    // `x[] = {..}` is as long as its list.
    if let (Some(first @ 0), Some(Initializer::List(values))) = (variable.dimensions.first_mut(), &variable.init) {
        *first = values.len() as u64;
    }
    if variable.bytes().is_none() {
        return Err(cursor.error(format!("the size of `{}` does not fit in 64 bits", variable.name)));
    }
    Ok(variable)
}

fn initializer(cursor: &mut Cursor<'_>, head: &Head) -> Result<Initializer, SyntaxError> {
    match cursor.peek() {
        Token::Mark("{") => {
            cursor.take()?;
            cursor.nested(|cursor| cursor.separated("}", |cursor| initializer(cursor, head))).map(Initializer::List)
        }
        Token::Word("generic") => {
            cursor.take()?;
            cursor.expect("(")?;
            let name = cursor.expect_name("the name of a variable")?;
            cursor.expect(")")?;
            Ok(Initializer::Address { name, generic: true, offset: offset(cursor)? })
        }
        Token::Word(name) if name != "WARP_SZ" => {
            cursor.take()?;
            let name = cursor.intern(name);
            Ok(Initializer::Address { name, generic: false, offset: offset(cursor)? })
        }
        _ => {
            let value = constant(cursor)?;
            if cursor.peek() == Token::Mark("(") {
                return Err(cursor.error("a mask over an address, as in `0xFF(name)`, is not supported"));
            }
            Ok(match (value, head.word) {
                (Constant::Int { bits, .. }, "f32") => Initializer::F32((bits as i64 as f32).to_bits()),
                (Constant::Int { bits, .. }, "f64") => Initializer::F64((bits as i64 as f64).to_bits()),
                (Constant::Int { bits, .. }, _) => Initializer::Int(bits),
                (Constant::F64(bits), "f32") => Initializer::F32((f64::from_bits(bits) as f32).to_bits()),
                (Constant::F32(bits), "f64") => Initializer::F64(f64::from(f32::from_bits(bits)).to_bits()),
                (Constant::F32(bits), _) => Initializer::F32(bits),
                (Constant::F64(bits), _) => Initializer::F64(bits),
            })
        }
    }
}

/// `.reg` declarations after that word, up to and with `;`.
pub(super) fn registers(cursor: &mut Cursor<'_>) -> Result<Vec<Registers>, SyntaxError> {
    let head = head(cursor)?;
    cursor.separated(";", |cursor| {
        let line = cursor.line();
        let name = cursor.expect_name("the name of a register")?;
        let count = if cursor.eat("<")? {
            let count = cursor.expect_u32("a count of registers")?;
            if count > MAX_REGISTERS {
                return Err(cursor.error(format!("`{name}<{count}>` declares more than {MAX_REGISTERS} registers")));
            }
            cursor.expect(">")?;
            Some(count)
        } else {
            None
        };
        Ok(Registers { name, count, ty: head.ty, vector: head.vector, line })
    })
}

/// `(.param .b64 a, .reg .b32 %r)`, if a parenthesis is next.
pub(super) fn parameters(cursor: &mut Cursor<'_>) -> Result<Vec<Parameter>, SyntaxError> {
    if !cursor.eat("(")? {
        return Ok(Vec::new());
    }
    cursor.separated(")", |cursor| {
        let (space, is_register) = match cursor.peek() {
            Token::Dot("param") => (VariableSpace::Param, false),
            Token::Dot("reg") => (VariableSpace::Local, true),
            _ => return Err(cursor.expected("`.param` or `.reg`")),
        };
        cursor.take()?;
        let head = head(cursor)?;
        let variable = variable(cursor, &head, space, Linkage::Internal)?;
        if variable.init.is_some() {
            return Err(cursor.error("a parameter has no initialiser"));
        }
        Ok(Parameter { variable, is_register })
    })
}

/// `a, b;` after `.branchtargets` or `.calltargets`.
pub(super) fn names(cursor: &mut Cursor<'_>) -> Result<Vec<Arc<str>>, SyntaxError> {
    cursor.separated(";", |cursor| cursor.expect_name("a label or a function"))
}
