//! Splits PTX text into tokens that know where they stand.
//!
//! A word is everything from a mnemonic with its dots and `::` to a register, a name or a number; signs and brackets are
//! tokens of their own. Comments are kept when they fill a line, since the printer writes such.

use crate::parse::ParseError;

/// Where a token starts; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub line: usize,
    pub column: usize,
}

/// A piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'t> {
    /// `ld.global.f32`, `%r1`, `0f3F800000`, `name`, `.reg`.
    Word(&'t str),
    /// One of `,;:{}[]()<>@!+-|`.
    Mark(char),
    /// Between double quotes.
    Text(&'t str),
    /// A `//` comment alone on its line, without the slashes and the blanks around.
    Comment(&'t str),
}

const MARKS: &str = ",;:{}[]()<>@!+-|";

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.' | '%')
}

/// The tokens of `text` in order.
pub(crate) fn tokens(text: &str) -> Result<Vec<(Token<'_>, Position)>, ParseError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut at = Position { line: 1, column: 1 };
    let mut line_is_blank = true;
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first.is_whitespace() {
            (None, first.len_utf8())
        } else if rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            (line_is_blank.then(|| Token::Comment(rest[2..length].trim())), length)
        } else if rest.starts_with("/*") {
            let end = rest.find("*/").ok_or_else(|| ParseError::at(at, "the comment has no `*/`"))?;
            (None, end + 2)
        } else if first == '"' {
            let end = rest[1..].find(['"', '\n']).filter(|end| rest[1 + end..].starts_with('"'));
            let end = end.ok_or_else(|| ParseError::at(at, "the text has no closing `\"`"))?;
            (Some(Token::Text(&rest[1..=end])), end + 2)
        } else if is_word(first) {
            let length = word_length(rest);
            (Some(Token::Word(&rest[..length])), length)
        } else if MARKS.contains(first) {
            (Some(Token::Mark(first)), 1)
        } else {
            return Err(ParseError::at(at, format!("unexpected character `{}`", first.escape_debug())));
        };
        tokens.extend(token.map(|token| (token, at)));
        line_is_blank &= first.is_whitespace();
        for c in rest[..length].chars() {
            if c == '\n' {
                at = Position { line: at.line + 1, column: 1 };
                line_is_blank = true;
            } else {
                at.column += 1;
            }
        }
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// Bytes of the word that `text` starts with. A double colon belongs to a word, a single one does not.
fn word_length(text: &str) -> usize {
    let mut length = 0;
    while let Some(c) = text[length..].chars().next() {
        if is_word(c) {
            length += 1;
        } else if text[length..].starts_with("::") {
            length += 2;
        } else {
            break;
        }
    }
    length
}
