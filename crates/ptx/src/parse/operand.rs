//! Operands of instructions, before a row says what they mean.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use super::row::Raw;
use super::{ParseError, Parser, is_name};
use crate::form::Opcode;
use crate::lex::Token;
use crate::operand::{Base, Operand, Place, Symbol, TensorPlace, Value};
use crate::register::{Class, Reg};

/// The special registers of the table.
static SPECIAL: LazyLock<BTreeSet<&'static str>> =
    LazyLock::new(|| Opcode::all().filter_map(|row| row.form().fixed).collect());

impl<'t> Parser<'t> {
    pub(super) fn operand(&mut self) -> Result<Raw<'t>, ParseError> {
        if self.take_mark('{') {
            return Ok(Raw::Operand(Operand::Vector(self.braced()?)));
        }
        if self.take_mark('[') {
            return self.bracketed().map(Raw::Operand);
        }
        if self.take_word("_") {
            return Ok(Raw::Discarded);
        }
        if let Some(Token::Word(word)) = self.peek() {
            if is_name(word) {
                self.take();
                return Ok(Raw::Operand(Operand::Symbol(Symbol(Arc::from(word)))));
            }
            if register_of(word).is_none() && SPECIAL.contains(word) {
                self.take();
                return Ok(Raw::Special(word));
            }
        }
        let value = self.value()?;
        if let Value::Reg(first) = value
            && self.take_mark('|')
        {
            return Ok(Raw::Pair(first, self.register()?));
        }
        Ok(Raw::Operand(Operand::Value(value)))
    }

    /// After `{`.
    pub(super) fn braced(&mut self) -> Result<Vec<Value>, ParseError> {
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            if self.take_mark('}') {
                return Ok(values);
            }
            self.mark(',')?;
        }
    }

    /// After `[`: a place, or a tensor map and coordinates.
    pub(super) fn bracketed(&mut self) -> Result<Operand, ParseError> {
        let place = self.place()?;
        if self.take_mark(']') {
            return Ok(Operand::Address(place));
        }
        let Place { base: Base::Reg(map), offset: 0 } = place else {
            return Err(self.unexpected("`]`"));
        };
        if !self.take_mark(',') {
            return Err(self.unexpected("`]`"));
        }
        self.mark('{')?;
        let coordinates = self.braced()?;
        self.mark(']')?;
        Ok(Operand::Tensor(TensorPlace { map, coordinates }))
    }

    /// `base+offset`.
    pub(super) fn place(&mut self) -> Result<Place, ParseError> {
        let base = match self.peek() {
            Some(Token::Word(word)) if is_name(word) => {
                self.take();
                Base::Symbol(Symbol(Arc::from(word)))
            }
            _ => Base::Reg(self.register()?),
        };
        let mut offset = 0;
        if self.take_mark('+') {
            let at = self.position();
            let Value::Int(value) = self.value()? else {
                return Err(ParseError::at(at, "expected an offset in bytes"));
            };
            offset = i32::try_from(value)
                .map_err(|_| ParseError::at(at, format!("the offset {value} does not fit 32 bits")))?;
        }
        Ok(Place { base, offset })
    }

    /// A register or a constant.
    pub(super) fn value(&mut self) -> Result<Value, ParseError> {
        let at = self.position();
        let negative = self.take_mark('-');
        if !negative && matches!(self.peek(), Some(Token::Word(word)) if word.starts_with('%')) {
            return self.register().map(Value::Reg);
        }
        let word = self.word("an operand")?;
        let bits = |prefix: &str, digits: usize| {
            let hex = word.strip_prefix(prefix)?;
            (!negative && hex.len() == digits).then(|| u64::from_str_radix(hex, 16).ok())?
        };
        if let Some(bits) = bits("0f", 8) {
            return Ok(Value::F32(bits as u32));
        }
        if let Some(bits) = bits("0d", 16) {
            return Ok(Value::F64(bits));
        }
        let magnitude = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => word.parse::<u64>().ok(),
        };
        // Above `i64::MAX` the bits are kept, as for a u64 constant of the builder.
        let value = magnitude.and_then(|magnitude| match negative {
            true => 0i64.checked_sub_unsigned(magnitude),
            false => Some(magnitude.cast_signed()),
        });
        let sign = if negative { "-" } else { "" };
        value.map(Value::Int).ok_or_else(|| ParseError::at(at, format!("`{sign}{word}` is not an operand")))
    }

    pub(super) fn register(&mut self) -> Result<Reg, ParseError> {
        let at = self.position();
        let word = self.word("a register")?;
        let reg = register_of(word).ok_or_else(|| ParseError::at(at, format!("`{word}` is not a register")))?;
        if reg.index >= self.declared[reg.class as usize] {
            return Err(ParseError::at(at, format!("register `{word}` is not declared")));
        }
        Ok(reg)
    }
}

/// `%r12` as a register. Leading zeros would make another name.
fn register_of(word: &str) -> Option<Reg> {
    let word = word.strip_prefix('%')?;
    let digits = word.find(|c: char| c.is_ascii_digit())?;
    let (prefix, number) = word.split_at(digits);
    let class = Class::ALL.into_iter().find(|class| class.prefix() == prefix)?;
    let index: u32 = number.parse().ok()?;
    (index.to_string() == number).then_some(Reg { class, index })
}
