//! The module: its head, its functions and their statements.

use std::sync::Arc;

use super::cursor::Cursor;
use super::declaration::{names, parameters, registers, space, variables};
use super::lexer::Token;
use super::operand::instruction;
use super::{Directives, Function, Item, Linkage, Source, Statement};
use crate::target::PtxVersion;

/// The text is no PTX.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong there.
    pub message: String,
}

impl SyntaxError {
    /// An error at a byte of the text.
    pub(super) fn at(text: &str, at: usize, message: String) -> Self {
        let before = &text[..at.min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count() as u32;
        let column = 1 + before[line_start..].chars().count() as u32;
        SyntaxError { line, column, message }
    }
}

/// Bytes of a text: more than any compiler writes. A tree takes up to about a hundred bytes for one of text.
const MAX_BYTES: usize = 64 << 20;

/// The module that `text` says.
pub fn parse(text: &str) -> Result<Source, SyntaxError> {
    if text.len() > MAX_BYTES {
        let message = format!("the text has {} bytes, more than the {MAX_BYTES} that are read", text.len());
        return Err(SyntaxError { line: 1, column: 1, message });
    }
    let mut cursor = Cursor::new(text)?;
    let cursor = &mut cursor;
    let version = version(cursor)?;
    if !cursor.eat_dot("target")? {
        return Err(cursor.expected("`.target`"));
    }
    let target = cursor.expect_name("a target such as `sm_90a`")?.to_string();
    let mut options = Vec::new();
    while cursor.eat(",")? {
        options.push(cursor.expect_name("a target or an option of it")?.to_string());
    }
    if cursor.eat_dot("address_size")? && cursor.expect_u32("64")? != 64 {
        return Err(cursor.error("only addresses of 64 bits are supported"));
    }
    let mut items = Vec::new();
    while cursor.peek() != Token::End {
        item(cursor, &mut items)?;
    }
    Ok(Source { version, target, options, items })
}

fn version(cursor: &mut Cursor<'_>) -> Result<PtxVersion, SyntaxError> {
    if !cursor.eat_dot("version")? {
        return Err(cursor.expected("`.version`"));
    }
    let Token::Decimal(text) = cursor.peek() else { return Err(cursor.expected("a version such as 8.6")) };
    let parts = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let Some((major, minor)) = parts else { return Err(cursor.expected("a version such as 8.6")) };
    cursor.take()?;
    Ok(PtxVersion::new(major, minor))
}

fn item(cursor: &mut Cursor<'_>, items: &mut Vec<Item>) -> Result<(), SyntaxError> {
    let mut linkage = Linkage::Internal;
    loop {
        let line = cursor.line();
        let Token::Dot(word) = cursor.peek() else {
            return Err(cursor.expected("a directive"));
        };
        if skip_directive(cursor)? {
            return Ok(());
        }
        cursor.take()?;
        match word {
            "visible" => linkage = Linkage::Visible,
            "extern" => linkage = Linkage::Extern,
            "weak" | "common" => linkage = Linkage::Weak,
            "entry" | "func" => {
                items.push(Item::Function(function(cursor, word == "entry", linkage, line)?));
                return Ok(());
            }
            "alias" => {
                let alias = cursor.expect_name("the name of a function")?;
                cursor.expect(",")?;
                let of = cursor.expect_name("the name of a function")?;
                cursor.expect(";")?;
                items.push(Item::Alias { alias, of, line });
                return Ok(());
            }
            "tex" => return Err(cursor.error("`.tex`: textures and surfaces are not supported")),
            "reg" | "local" | "param" => {
                return Err(cursor.error(format!("`.{word}` stands outside a function")));
            }
            _ => {
                let Some(space) = space(word) else {
                    return Err(cursor.error(format!("there is no directive `.{word}` at module scope")));
                };
                items.extend(variables(cursor, space, linkage)?.into_iter().map(Item::Variable));
                return Ok(());
            }
        }
    }
}

/// Skips what says nothing about execution, if it is next: `.file`, `.loc`, `.section`, `.pragma`.
fn skip_directive(cursor: &mut Cursor<'_>) -> Result<bool, SyntaxError> {
    let Token::Dot(word @ ("file" | "loc" | "section" | "pragma")) = cursor.peek() else { return Ok(false) };
    cursor.take()?;
    match word {
        "file" => {
            cursor.expect_u32("the number of a file")?;
            if !matches!(cursor.peek(), Token::Text(_)) {
                return Err(cursor.expected("the name of a file in quotes"));
            }
            cursor.take()?;
            while cursor.eat(",")? {
                integer(cursor)?;
            }
        }
        "loc" => {
            for _ in 0..3 {
                integer(cursor)?;
            }
            // `, function_name label+4, inlined_at 1 2 3`
            while cursor.eat(",")? {
                match cursor.expect_name("`function_name` or `inlined_at`")?.as_ref() {
                    "function_name" => {
                        cursor.expect_name("a label")?;
                        if cursor.eat("+")? {
                            integer(cursor)?;
                        }
                    }
                    _ => (0..3).try_for_each(|_| integer(cursor))?,
                }
            }
        }
        "section" => {
            cursor.take()?;
            cursor.expect("{")?;
            // Sections hold data and labels, and no braces.
            while !cursor.eat("}")? {
                if cursor.take()? == Token::End {
                    return Err(cursor.expected("`}`"));
                }
            }
        }
        _ => {
            while !cursor.eat(";")? {
                if !matches!(cursor.take()?, Token::Text(_) | Token::Mark(",")) {
                    return Err(cursor.error("`.pragma` holds strings"));
                }
            }
        }
    }
    Ok(true)
}

fn integer(cursor: &mut Cursor<'_>) -> Result<(), SyntaxError> {
    match cursor.take()? {
        Token::Int { .. } => Ok(()),
        _ => Err(cursor.error("expected an integer before this")),
    }
}

fn function(cursor: &mut Cursor<'_>, is_entry: bool, linkage: Linkage, line: u32) -> Result<Function, SyntaxError> {
    while cursor.eat_dot("attribute")? {
        cursor.expect("(")?;
        while !cursor.eat(")")? {
            if cursor.take()? == Token::End {
                return Err(cursor.expected("`)`"));
            }
        }
    }
    let results = if is_entry { Vec::new() } else { parameters(cursor)? };
    let name = cursor.expect_name("the name of a function")?;
    let params = parameters(cursor)?;
    let mut directives = Directives::default();
    let body = loop {
        match cursor.peek() {
            Token::Mark(";") => {
                cursor.take()?;
                break None;
            }
            Token::Mark("{") => {
                cursor.take()?;
                break Some(cursor.nested(block)?);
            }
            Token::Dot(word) => directive(cursor, word, &mut directives)?,
            _ => return Err(cursor.expected("a directive, `{` or `;`")),
        }
    };
    Ok(Function { name, is_entry, linkage, results, params, directives, body, line })
}

fn directive(cursor: &mut Cursor<'_>, word: &str, directives: &mut Directives) -> Result<(), SyntaxError> {
    if skip_directive(cursor)? {
        return Ok(());
    }
    cursor.take()?;
    match word {
        "maxntid" => directives.max_threads = Some(triple(cursor)?),
        "reqntid" => directives.required_threads = Some(triple(cursor)?),
        "reqnctapercluster" => directives.required_cluster = Some(triple(cursor)?),
        "minnctapersm" => directives.min_ctas_per_sm = Some(cursor.expect_u32("a count of CTAs")?),
        "maxnreg" => directives.max_registers = Some(cursor.expect_u32("a count of registers")?),
        "maxclusterrank" => directives.max_cluster_rank = Some(cursor.expect_u32("a count of CTAs")?),
        "explicitcluster" => directives.explicit_cluster = true,
        "blocksareclusters" => directives.blocks_are_clusters = true,
        "noreturn" | "unique" => {}
        "maxnctapersm" | "abi_preserve" | "abi_preserve_control" | "local_maxnreg" => {
            cursor.expect_u32("a count")?;
        }
        _ => return Err(cursor.error(format!("there is no directive `.{word}` of functions"))),
    }
    Ok(())
}

/// `128, 2`: what is left out is 1.
fn triple(cursor: &mut Cursor<'_>) -> Result<[u32; 3], SyntaxError> {
    let mut sizes = [1; 3];
    for (index, size) in sizes.iter_mut().enumerate() {
        if index > 0 && !cursor.eat(",")? {
            break;
        }
        *size = cursor.expect_u32("a size")?;
    }
    Ok(sizes)
}

/// Statements up to `}`, which is taken.
fn block(cursor: &mut Cursor<'_>) -> Result<Vec<Statement>, SyntaxError> {
    let mut statements = Vec::new();
    while !cursor.eat("}")? {
        statement(cursor, &mut statements)?;
    }
    Ok(statements)
}

fn statement(cursor: &mut Cursor<'_>, statements: &mut Vec<Statement>) -> Result<(), SyntaxError> {
    let line = cursor.line();
    match cursor.peek() {
        Token::Mark("{") => {
            cursor.take()?;
            statements.push(Statement::Block(cursor.nested(block)?));
        }
        // An empty statement.
        Token::Mark(";") => {
            cursor.take()?;
        }
        Token::Mark("@") => {
            cursor.take()?;
            let negated = cursor.eat("!")?;
            let guard = cursor.expect_name("the predicate of a guard")?;
            let Token::Word(name) = cursor.peek() else { return Err(cursor.expected("an instruction")) };
            cursor.take()?;
            let guarded = instruction(cursor, Some((guard, negated)), name, line)?;
            statements.push(Statement::Instruction(guarded));
        }
        Token::Word(name) => {
            cursor.take()?;
            if cursor.eat(":")? {
                let label = cursor.intern(name);
                labelled(cursor, label, line, statements)?;
            } else {
                statements.push(Statement::Instruction(instruction(cursor, None, name, line)?));
            }
        }
        Token::Dot(word) => {
            if skip_directive(cursor)? {
                return Ok(());
            }
            cursor.take()?;
            if word == "reg" {
                statements.extend(registers(cursor)?.into_iter().map(Statement::Registers));
                return Ok(());
            }
            let (word, linkage) = match (word, cursor.peek()) {
                ("extern", Token::Dot(space)) => {
                    cursor.take()?;
                    (space, Linkage::Extern)
                }
                _ => (word, Linkage::Internal),
            };
            let Some(space) = space(word) else {
                return Err(cursor.error(format!("there is no directive `.{word}` in a function")));
            };
            statements.extend(variables(cursor, space, linkage)?.into_iter().map(Statement::Variable));
        }
        _ => return Err(cursor.expected("a statement or `}`")),
    }
    Ok(())
}

/// After `name:`.
fn labelled(
    cursor: &mut Cursor<'_>,
    label: Arc<str>,
    line: u32,
    statements: &mut Vec<Statement>,
) -> Result<(), SyntaxError> {
    statements.push(match cursor.peek() {
        Token::Dot("branchtargets" | "calltargets") => {
            cursor.take()?;
            Statement::Targets(label, names(cursor)?, line)
        }
        Token::Dot("callprototype") => {
            cursor.take()?;
            let results = parameters(cursor)?;
            cursor.expect_name("`_`")?;
            let params = parameters(cursor)?;
            while let Token::Dot(word) = cursor.peek() {
                directive(cursor, word, &mut Directives::default())?;
            }
            cursor.expect(";")?;
            Statement::Prototype(label, results, params, line)
        }
        _ => Statement::Label(label, line),
    });
    Ok(())
}
