//! The tokens of a text, one ahead, and what every part of the parser asks of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::lexer::{Lexer, Token};
use super::parser::SyntaxError;

/// Braces, parentheses and operators inside each other; real text has a handful.
const MAX_DEPTH: u32 = 64;

pub(super) struct Cursor<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    at: usize,
    line: u32,
    depth: u32,
    /// Names and modifiers repeat: each text is stored once.
    names: BTreeSet<Arc<str>>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, SyntaxError> {
        let mut lexer = Lexer::new(text);
        let (token, at, line) = lexer.next()?;
        Ok(Cursor { lexer, token, at, line, depth: 0, names: BTreeSet::new() })
    }

    /// The next token, which stays.
    pub(super) fn peek(&self) -> Token<'a> {
        self.token
    }

    /// Whether a name stands after the next token.
    pub(super) fn is_name_after(&self) -> Result<bool, SyntaxError> {
        let (token, _, _) = self.lexer.clone().next()?;
        Ok(matches!(token, Token::Word(name) if name != "WARP_SZ"))
    }

    /// The line of the next token.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// Takes the next token.
    pub(super) fn take(&mut self) -> Result<Token<'a>, SyntaxError> {
        let (token, at, line) = self.lexer.next()?;
        (self.at, self.line) = (at, line);
        Ok(std::mem::replace(&mut self.token, token))
    }

    /// The error that the next token is.
    pub(super) fn error(&self, message: impl Into<String>) -> SyntaxError {
        self.lexer.error_at(self.at, message)
    }

    /// The error that the next token is not what was expected.
    pub(super) fn expected(&self, what: &str) -> SyntaxError {
        self.error(format!("expected {what}, found {}", self.token.shown()))
    }

    /// Takes the mark if it is next.
    pub(super) fn eat(&mut self, mark: &'static str) -> Result<bool, SyntaxError> {
        let found = self.token == Token::Mark(mark);
        if found {
            self.take()?;
        }
        Ok(found)
    }

    /// Takes the dotted word if it is next.
    pub(super) fn eat_dot(&mut self, word: &str) -> Result<bool, SyntaxError> {
        let found = self.token == Token::Dot(word);
        if found {
            self.take()?;
        }
        Ok(found)
    }

    pub(super) fn expect(&mut self, mark: &'static str) -> Result<(), SyntaxError> {
        if self.eat(mark)? { Ok(()) } else { Err(self.expected(&format!("`{mark}`"))) }
    }

    /// The one copy of the text.
    pub(super) fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        let name: Arc<str> = text.into();
        self.names.insert(name.clone());
        name
    }

    pub(super) fn expect_name(&mut self, what: &str) -> Result<Arc<str>, SyntaxError> {
        let Token::Word(name) = self.token else { return Err(self.expected(what)) };
        self.take()?;
        Ok(self.intern(name))
    }

    /// An integer literal of at most 32 bits.
    pub(super) fn expect_u32(&mut self, what: &str) -> Result<u32, SyntaxError> {
        let Token::Int { value, .. } = self.token else { return Err(self.expected(what)) };
        let value = u32::try_from(value).map_err(|_| self.error(format!("{value} is too large for {what}")))?;
        self.take()?;
        Ok(value)
    }

    /// What `parse` reads one level deeper.
    pub(super) fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(format!("more than {MAX_DEPTH} levels of nesting")));
        }
        self.depth += 1;
        let parsed = parse(self)?;
        self.depth -= 1;
        Ok(parsed)
    }

    /// `item, item, ..` up to the mark, which is taken.
    pub(super) fn separated<T>(
        &mut self,
        close: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<Vec<T>, SyntaxError> {
        let mut items = Vec::new();
        if self.eat(close)? {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.eat(close)? {
                return Ok(items);
            }
            if !self.eat(",")? {
                return Err(self.expected(&format!("`,` or `{close}`")));
            }
        }
    }
}
