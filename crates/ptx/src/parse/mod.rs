//! Reads a module back from its text.
//!
//! Understands what the printer writes, with any blanks and comments between: `parse(&module.to_string())` gives an equal
//! module. Rows are found by spelling and operands. Text that names a row but gives it operands of a wrong class still
//! becomes an instruction, so that `verify` can report all such faults together; everything else is a `ParseError`.

mod cursor;
mod operand;
mod row;

use std::sync::Arc;

use crate::form::Opcode;
use crate::inst::{Guard, Inst, Statement};
use crate::lex::{Position, Token, tokens};
use crate::module::{Array, DYNAMIC_SHARED, Kernel, Module, Param, ParamType, TENSOR_MAP_ALIGN, TENSOR_MAP_BYTES};
use crate::operand::{Base, Label, Operand, Place};
use crate::register::Class;
use crate::scalar::ScalarType;
use crate::target::{PtxVersion, Target};
use row::{fits, read, signature};

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
        let mut kernel = Kernel::new(self.name("the kernel's name")?.to_owned());
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
}

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

fn names_dynamic_shared(operand: &Operand) -> bool {
    match operand {
        Operand::Symbol(symbol) | Operand::Address(Place { base: Base::Symbol(symbol), .. }) => {
            &*symbol.0 == DYNAMIC_SHARED
        }
        _ => false,
    }
}
