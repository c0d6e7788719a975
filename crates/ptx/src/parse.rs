//! Reads a module back from its text.
//!
//! Understands what the printer writes, with any blanks and comments between: `parse(&module.to_string())` gives an equal
//! module. Rows are found by spelling and operands. Text that names a row but gives it operands of a wrong class still
//! becomes an instruction, so that `verify` can report all such faults together; everything else is a `ParseError`.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use crate::dynamic::misfit;
use crate::form::{DstSlot, Form, Opcode, Slot};
use crate::inst::{Guard, Inst, Statement};
use crate::lex::{Position, Token, tokens};
use crate::module::{Array, DYNAMIC_SHARED, Kernel, Module, Param, ParamType, TENSOR_MAP_ALIGN, TENSOR_MAP_BYTES};
use crate::operand::{Base, Label, Operand, Place, Symbol, TensorPlace, Value};
use crate::register::{Class, Reg};
use crate::scalar::ScalarType;
use crate::target::{PtxVersion, Target};

/// The text is no module of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl ParseError {
    pub(crate) fn at(position: Position, message: impl Into<String>) -> Self {
        ParseError { line: position.line, column: position.column, message: message.into() }
    }
}

/// The module that `text` says.
pub fn parse(text: &str) -> Result<Module, ParseError> {
    let tokens = tokens(text)?;
    let lines = text.lines().count().max(1);
    let end = Position { line: lines, column: text.lines().last().map_or(0, |line| line.chars().count()) + 1 };
    let mut parser = Parser { tokens, next: 0, end, declared: [0; Class::ALL.len()] };
    parser.module()
}

/// An operand whose meaning depends on the row.
enum Raw<'t> {
    Operand(Operand),
    /// `%tid.x`
    Special(&'t str),
    /// `d|p`
    Pair(Reg, Reg),
    /// `_`
    Discarded,
}

struct Parser<'t> {
    tokens: Vec<(Token<'t>, Position)>,
    next: usize,
    end: Position,
    /// How many registers of each class the kernel has declared so far.
    declared: [u32; Class::ALL.len()],
}

impl<'t> Parser<'t> {
    fn module(&mut self) -> Result<Module, ParseError> {
        self.keyword(".version")?;
        let version = self.version()?;
        self.keyword(".target")?;
        let at = self.position();
        let target: Target = self.word("a target")?.parse().map_err(|e| ParseError::at(at, format!("{e}")))?;
        self.keyword(".address_size")?;
        self.keyword("64")?;
        let mut module = Module { version, target, dynamic_shared_align: None, kernels: Vec::new() };
        if self.take_word(".extern") {
            self.keyword(".shared")?;
            let align = self.alignment()?;
            self.keyword(DYNAMIC_SHARED)?;
            for mark in "[];".chars() {
                self.mark(mark)?;
            }
            module.dynamic_shared_align = Some(align);
        }
        while self.peek().is_some() {
            let mut kernel = self.kernel()?;
            let uses_dynamic = kernel.insts().any(|inst| inst.src.iter().any(names_dynamic_shared));
            kernel.dynamic_shared_align = module.dynamic_shared_align.filter(|_| uses_dynamic);
            module.kernels.push(kernel);
        }
        Ok(module)
    }

    fn version(&mut self) -> Result<PtxVersion, ParseError> {
        let at = self.position();
        let text = self.word("a version such as 8.0")?;
        text.split_once('.')
            .and_then(|(major, minor)| Some(PtxVersion::new(major.parse().ok()?, minor.parse().ok()?)))
            .ok_or_else(|| ParseError::at(at, format!("`{text}` is not a version such as 8.0")))
    }

    fn kernel(&mut self) -> Result<Kernel, ParseError> {
        self.declared = [0; Class::ALL.len()];
        self.take_word(".visible");
        self.keyword(".entry")?;
        let mut kernel = Kernel {
            name: self.name("the kernel's name")?.to_owned(),
            params: Vec::new(),
            max_threads: None,
            required_threads: None,
            min_ctas_per_sm: None,
            max_registers: None,
            required_cluster: None,
            shared: Vec::new(),
            local: Vec::new(),
            dynamic_shared_align: None,
            body: Vec::new(),
        };
        self.mark('(')?;
        if !self.take_mark(')') {
            loop {
                kernel.params.push(self.param()?);
                if self.take_mark(')') {
                    break;
                }
                self.mark(',')?;
            }
        }
        loop {
            if self.take_word(".maxntid") {
                kernel.max_threads = Some(self.dimensions("a number of threads")?);
            } else if self.take_word(".reqntid") {
                kernel.required_threads = Some(self.dimensions("a number of threads")?);
            } else if self.take_word(".minnctapersm") {
                kernel.min_ctas_per_sm = Some(self.number("a count")?);
            } else if self.take_word(".maxnreg") {
                kernel.max_registers = Some(self.number("a number of registers")?);
            } else if self.take_word(".reqnctapercluster") {
                kernel.required_cluster = Some(self.dimensions("a number of CTAs")?);
            } else {
                break;
            }
        }
        self.mark('{')?;
        loop {
            if let Some((Token::Comment(text), _)) = self.tokens.get(self.next) {
                kernel.body.push(Statement::Comment((*text).to_owned()));
                self.next += 1;
            } else if self.take_mark('}') {
                return Ok(kernel);
            } else {
                self.statement(&mut kernel)?;
            }
        }
    }

    fn param(&mut self) -> Result<Param, ParseError> {
        self.keyword(".param")?;
        if self.peek() == Some(Token::Word(".align")) {
            return self.tensor_map();
        }
        let at = self.position();
        let word = self.word("a type")?;
        let ty = [ScalarType::B16, ScalarType::U32, ScalarType::U64, ScalarType::F32, ScalarType::F64]
            .into_iter()
            .find(|ty| word.strip_prefix('.') == Some(ty.name()))
            .ok_or_else(|| {
                ParseError::at(at, format!("`{word}` is not a parameter type: .b16, .u32, .u64, .f32, .f64"))
            })?;
        Ok(Param { name: self.symbol("a parameter's name")?, ty: ty.into() })
    }

    /// `.align 64 .b8 name[128]`
    fn tensor_map(&mut self) -> Result<Param, ParseError> {
        let at = self.position();
        let align = self.alignment()?;
        let name = self.symbol("a parameter's name")?;
        self.mark('[')?;
        let bytes = self.number("a size in bytes")?;
        self.mark(']')?;
        if (align, bytes) != (TENSOR_MAP_ALIGN, TENSOR_MAP_BYTES) {
            let what = format!(
                "a parameter of bytes is a tensor map, `.align {TENSOR_MAP_ALIGN} .b8 {name}[{TENSOR_MAP_BYTES}]`"
            );
            return Err(ParseError::at(at, what));
        }
        Ok(Param { name, ty: ParamType::TensorMap })
    }

    fn dimensions(&mut self, what: &str) -> Result<[u32; 3], ParseError> {
        let mut dimensions = [1; 3];
        for (i, dimension) in dimensions.iter_mut().enumerate() {
            if i > 0 && !self.take_mark(',') {
                break;
            }
            *dimension = self.number(what)?;
        }
        Ok(dimensions)
    }

    fn statement(&mut self, kernel: &mut Kernel) -> Result<(), ParseError> {
        if self.take_word(".reg") {
            return self.registers();
        }
        if self.take_word(".shared") {
            kernel.shared.push(self.array()?);
            return Ok(());
        }
        if self.take_word(".local") {
            kernel.local.push(self.array()?);
            return Ok(());
        }
        if self.take_word(".pragma") {
            let at = self.position();
            if self.take() != Some(Token::Text("nounroll")) {
                return Err(ParseError::at(at, "expected the pragma \"nounroll\""));
            }
            kernel.body.push(Statement::NoUnroll);
            return self.mark(';');
        }
        if let (Some(Token::Word(word)), Some(Token::Mark(':'))) = (self.peek(), self.peek_second()) {
            let at = self.position();
            if !is_name(word) {
                return Err(ParseError::at(at, format!("`{word}` is not a label")));
            }
            self.take();
            self.take();
            kernel.body.push(Statement::Label(Label(Arc::from(word))));
            return Ok(());
        }
        let inst = self.inst()?;
        kernel.body.push(Statement::Inst(inst));
        Ok(())
    }

    fn registers(&mut self) -> Result<(), ParseError> {
        let at = self.position();
        let (ty, name) = (self.word("a register type")?, self.word("a register prefix")?);
        let class = Class::ALL.into_iter().find(|class| {
            ty.strip_prefix('.') == Some(class.type_name()) && name.strip_prefix('%') == Some(class.prefix())
        });
        let class = class.ok_or_else(|| {
            let known: Vec<String> = Class::ALL.iter().map(|c| format!(".{c} %{}", c.prefix())).collect();
            ParseError::at(at, format!("`{ty} {name}` is none of {}", known.join(", ")))
        })?;
        self.mark('<')?;
        self.declared[class as usize] = self.number("a number of registers")?;
        self.mark('>')?;
        self.mark(';')
    }

    fn array(&mut self) -> Result<Array, ParseError> {
        let align = self.alignment()?;
        let name = self.symbol("an array's name")?;
        self.mark('[')?;
        let bytes = self.number("a size in bytes")?;
        self.mark(']')?;
        self.mark(';')?;
        Ok(Array { name, bytes, align })
    }

    fn alignment(&mut self) -> Result<u32, ParseError> {
        self.keyword(".align")?;
        let align = self.number("an alignment in bytes")?;
        self.keyword(".b8")?;
        Ok(align)
    }

    fn inst(&mut self) -> Result<Inst, ParseError> {
        let mut guard = None;
        if self.take_mark('@') {
            let negated = self.take_mark('!');
            guard = Some(Guard { pred: self.register()?, negated });
        }
        let at = self.position();
        let spelling = self.word("an instruction")?;
        let rows = Opcode::spelled(spelling);
        if rows.is_empty() {
            return Err(ParseError::at(at, format!("`{spelling}` is not in the instruction table")));
        }
        let mut operands = Vec::new();
        if !self.take_mark(';') {
            loop {
                operands.push(self.operand()?);
                if self.take_mark(';') {
                    break;
                }
                self.mark(',')?;
            }
        }
        // Of the rows that share the spelling the one that takes the operands, or else one that takes their kinds.
        let readings: Vec<Inst> = rows.iter().filter_map(|row| read(*row, &operands, guard)).collect();
        let fitting = readings.iter().find(|inst| fits(inst)).or(readings.first());
        fitting.cloned().ok_or_else(|| {
            let expected: Vec<String> = rows.iter().map(|row| signature(row.form())).collect();
            ParseError::at(at, format!("operands of `{spelling}` do not match: expected {}", expected.join(", or ")))
        })
    }

    fn operand(&mut self) -> Result<Raw<'t>, ParseError> {
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
    fn braced(&mut self) -> Result<Vec<Value>, ParseError> {
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
    fn bracketed(&mut self) -> Result<Operand, ParseError> {
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
    fn place(&mut self) -> Result<Place, ParseError> {
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
    fn value(&mut self) -> Result<Value, ParseError> {
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

    fn register(&mut self) -> Result<Reg, ParseError> {
        let at = self.position();
        let word = self.word("a register")?;
        let reg = register_of(word).ok_or_else(|| ParseError::at(at, format!("`{word}` is not a register")))?;
        if reg.index >= self.declared[reg.class as usize] {
            return Err(ParseError::at(at, format!("register `{word}` is not declared")));
        }
        Ok(reg)
    }

    fn symbol(&mut self, what: &str) -> Result<Symbol, ParseError> {
        self.name(what).map(|name| Symbol(Arc::from(name)))
    }

    fn name(&mut self, what: &str) -> Result<&'t str, ParseError> {
        let at = self.position();
        let word = self.word(what)?;
        if is_name(word) { Ok(word) } else { Err(ParseError::at(at, format!("`{word}` is not {what}"))) }
    }

    fn number(&mut self, what: &str) -> Result<u32, ParseError> {
        let at = self.position();
        let word = self.word(what)?;
        word.parse().map_err(|_| ParseError::at(at, format!("`{word}` is not {what}")))
    }

    fn keyword(&mut self, expected: &str) -> Result<(), ParseError> {
        if self.take_word(expected) { Ok(()) } else { Err(self.unexpected(&format!("`{expected}`"))) }
    }

    fn mark(&mut self, expected: char) -> Result<(), ParseError> {
        if self.take_mark(expected) { Ok(()) } else { Err(self.unexpected(&format!("`{expected}`"))) }
    }

    fn word(&mut self, what: &str) -> Result<&'t str, ParseError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.take();
                Ok(word)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    fn take_word(&mut self, expected: &str) -> bool {
        let found = self.peek() == Some(Token::Word(expected));
        if found {
            self.take();
        }
        found
    }

    fn take_mark(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(Token::Mark(expected));
        if found {
            self.take();
        }
        found
    }

    fn unexpected(&mut self, expected: &str) -> ParseError {
        let found = match self.peek() {
            None => "the end of the text".to_owned(),
            Some(Token::Word(text) | Token::Text(text) | Token::Comment(text)) => format!("`{text}`"),
            Some(Token::Mark(mark)) => format!("`{mark}`"),
        };
        ParseError::at(self.position(), format!("found {found}, expected {expected}"))
    }

    /// The next token that is no comment.
    fn peek(&mut self) -> Option<Token<'t>> {
        while let Some((Token::Comment(_), _)) = self.tokens.get(self.next) {
            self.next += 1;
        }
        self.tokens.get(self.next).map(|(token, _)| *token)
    }

    fn peek_second(&self) -> Option<Token<'t>> {
        self.tokens.get(self.next + 1).map(|(token, _)| *token)
    }

    fn take(&mut self) -> Option<Token<'t>> {
        let token = self.peek();
        self.next += usize::from(token.is_some());
        token
    }

    fn position(&mut self) -> Position {
        self.peek();
        self.tokens.get(self.next).map_or(self.end, |(_, position)| *position)
    }
}

/// The special registers of the table.
static SPECIAL: LazyLock<BTreeSet<&'static str>> =
    LazyLock::new(|| Opcode::all().filter_map(|row| row.form().fixed).collect());

/// Whether `word` can name a kernel, a parameter, an array or a label.
pub(crate) fn is_name(word: &str) -> bool {
    let mut chars = word.chars();
    let first = chars.next();
    let rest_is_name = chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'));
    rest_is_name
        && match first {
            Some('_' | '$') => word.len() > 1,
            Some(first) => first.is_ascii_alphabetic(),
            None => false,
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

fn names_dynamic_shared(operand: &Operand) -> bool {
    match operand {
        Operand::Symbol(symbol) | Operand::Address(Place { base: Base::Symbol(symbol), .. }) => {
            &*symbol.0 == DYNAMIC_SHARED
        }
        _ => false,
    }
}

/// The operands as those of `row`, if they are of its kinds; classes may be wrong.
fn read(row: Opcode, operands: &[Raw<'_>], guard: Option<Guard>) -> Option<Inst> {
    let form = row.form();
    let mut operands = operands;
    if let Some(fixed) = form.fixed {
        let (last, others) = operands.split_last()?;
        if !matches!(last, Raw::Special(name) if *name == fixed) {
            return None;
        }
        operands = others;
    }
    let mut dst = Vec::new();
    if let Some(slot) = form.dst {
        let (first, others) = operands.split_first()?;
        operands = others;
        match (slot, first) {
            (DstSlot::Reg(_), Raw::Operand(Operand::Value(Value::Reg(reg)))) => dst.push(*reg),
            (DstSlot::WithPred(_), Raw::Pair(value, pred)) => dst.extend([*value, *pred]),
            (DstSlot::Discarded, Raw::Discarded) => {}
            (DstSlot::Vector(..) | DstSlot::Accumulators(..), Raw::Operand(Operand::Vector(values))) => {
                dst = values.iter().map(|value| value.as_reg()).collect::<Option<_>>()?;
            }
            _ => return None,
        }
    }
    if operands.len() != form.src.len() {
        return None;
    }
    let src = form.src.iter().zip(operands).map(|(slot, operand)| {
        let Raw::Operand(operand) = operand else { return None };
        match (slot, operand) {
            (Slot::Label, Operand::Symbol(name)) => Some(Operand::Label(Label(name.0.clone()))),
            (Slot::Symbol(_), Operand::Symbol(_))
            | (Slot::Address(_) | Slot::Param(_), Operand::Address(_))
            | (Slot::Tensor(_), Operand::Tensor(_))
            | (Slot::Vector(..) | Slot::RegVector(..) | Slot::Selector(..), Operand::Vector(_))
            | (
                Slot::Value(_) | Slot::Bounded(..) | Slot::Reg(_) | Slot::Constant(..) | Slot::OneOf(_),
                Operand::Value(_),
            ) => Some(operand.clone()),
            _ => None,
        }
    });
    let src = src.collect::<Option<Vec<Operand>>>()?;
    Some(Inst { guard, op: row, dst, src })
}

/// Whether classes and constants are those of the row.
fn fits(inst: &Inst) -> bool {
    let form = inst.op.form();
    let classes = form.dst.map_or(Vec::new(), |dst| dst.classes());
    inst.dst.iter().map(|reg| reg.class).eq(classes)
        && form.src.iter().zip(&inst.src).all(|(slot, operand)| misfit(*slot, operand).is_none())
}

/// What a row takes, in words.
fn signature(form: &Form) -> String {
    let dst = form.dst.map(|dst| match dst {
        DstSlot::Reg(class) => format!("{class} register"),
        DstSlot::Vector(class, count) => format!("{count} {class} registers in braces"),
        DstSlot::Accumulators(class, count) => format!("{count} {class} registers in braces"),
        DstSlot::WithPred(class) => format!("{class} and predicate register joined by `|`"),
        DstSlot::Discarded => "`_`".to_owned(),
    });
    let parts: Vec<String> = dst
        .into_iter()
        .chain(form.src.iter().map(Slot::to_string))
        .chain(form.fixed.map(|fixed| format!("`{fixed}`")))
        .collect();
    if parts.is_empty() { "no operands".to_owned() } else { parts.join(", ") }
}
