//! The place in the tokens, and what is taken from there.

use std::sync::Arc;

use super::{ParseError, Parser, is_name};
use crate::lex::{Position, Token};
use crate::operand::Symbol;

impl<'t> Parser<'t> {
    pub(super) fn symbol(&mut self, what: &str) -> Result<Symbol, ParseError> {
        self.name(what).map(|name| Symbol(Arc::from(name)))
    }

    pub(super) fn name(&mut self, what: &str) -> Result<&'t str, ParseError> {
        let at = self.position();
        let word = self.word(what)?;
        if is_name(word) { Ok(word) } else { Err(ParseError::at(at, format!("`{word}` is not {what}"))) }
    }

    pub(super) fn number(&mut self, what: &str) -> Result<u32, ParseError> {
        let at = self.position();
        let word = self.word(what)?;
        word.parse().map_err(|_| ParseError::at(at, format!("`{word}` is not {what}")))
    }

    pub(super) fn keyword(&mut self, expected: &str) -> Result<(), ParseError> {
        if self.take_word(expected) { Ok(()) } else { Err(self.unexpected(&format!("`{expected}`"))) }
    }

    pub(super) fn mark(&mut self, expected: char) -> Result<(), ParseError> {
        if self.take_mark(expected) { Ok(()) } else { Err(self.unexpected(&format!("`{expected}`"))) }
    }

    pub(super) fn word(&mut self, what: &str) -> Result<&'t str, ParseError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.take();
                Ok(word)
            }
            _ => Err(self.unexpected(what)),
        }
    }

    pub(super) fn take_word(&mut self, expected: &str) -> bool {
        let found = self.peek() == Some(Token::Word(expected));
        if found {
            self.take();
        }
        found
    }

    pub(super) fn take_mark(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(Token::Mark(expected));
        if found {
            self.take();
        }
        found
    }

    pub(super) fn unexpected(&mut self, expected: &str) -> ParseError {
        let found = match self.peek() {
            None => "the end of the text".to_owned(),
            Some(Token::Word(text) | Token::Text(text) | Token::Comment(text)) => format!("`{text}`"),
            Some(Token::Mark(mark)) => format!("`{mark}`"),
        };
        ParseError::at(self.position(), format!("found {found}, expected {expected}"))
    }

    /// The next token that is no comment.
    pub(super) fn peek(&mut self) -> Option<Token<'t>> {
        while let Some((Token::Comment(_), _)) = self.tokens.get(self.next) {
            self.next += 1;
        }
        self.tokens.get(self.next).map(|(token, _)| *token)
    }

    pub(super) fn peek_second(&self) -> Option<Token<'t>> {
        self.tokens.get(self.next + 1).map(|(token, _)| *token)
    }

    pub(super) fn take(&mut self) -> Option<Token<'t>> {
        let token = self.peek();
        self.next += usize::from(token.is_some());
        token
    }

    pub(super) fn position(&mut self) -> Position {
        self.peek();
        self.tokens.get(self.next).map_or(self.end, |(_, position)| *position)
    }
}
