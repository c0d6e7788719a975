//! Text to tokens.
//!
//! Comments, `@@DWARF` lines and a NUL at the end of the text are skipped. A token borrows its text; nothing is stored.

use super::parser::SyntaxError;

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// An identifier: `add`, `%r1`, `$L__BB0_2`, `_`.
    Word(&'a str),
    /// What follows a dot: `global`, `shared::cta`, `16x64b`.
    Dot(&'a str),
    /// An integer; `unsigned` where its type is `.u64`.
    Int {
        /// Low 64 bits.
        value: u64,
        /// A `U` suffix, or a value that `.s64` does not hold.
        unsigned: bool,
    },
    /// `0f` and eight hexadecimal digits.
    F32(u32),
    /// `0d` and sixteen hexadecimal digits.
    F64(u64),
    /// A decimal with a point or an exponent, as written.
    Decimal(&'a str),
    /// A string, without its quotes.
    Text(&'a str),
    /// Punctuation.
    Mark(&'static str),
    /// Nothing is left.
    End,
}

impl Token<'_> {
    /// How messages show it.
    pub(super) fn shown(&self) -> String {
        match self {
            Token::Word(text) => format!("`{text}`"),
            Token::Dot(text) => format!("`.{text}`"),
            Token::Int { value, .. } => format!("`{value}`"),
            Token::F32(bits) => format!("`0f{bits:08X}`"),
            Token::F64(bits) => format!("`0d{bits:016X}`"),
            Token::Decimal(text) => format!("`{text}`"),
            Token::Text(text) => format!("\"{text}\""),
            Token::Mark(text) => format!("`{text}`"),
            Token::End => "the end of the text".to_owned(),
        }
    }
}

/// Longest first, so that `<<` is not two marks.
const MARKS: &[&str] = &[
    "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "{", "}", "(", ")", "[", "]", ",", ";", ":", "<", ">", "=", "+",
    "-", "*", "/", "%", "&", "|", "^", "~", "!", "?", "@",
];

/// The rest of a text.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    /// Whether the token before could end a value, so that `%` divides.
    after_value: bool,
}

const fn is_follow(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Lexer { text: text.trim_end_matches('\0'), at: 0, line: 1, after_value: false }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, at: usize, message: String) -> SyntaxError {
        SyntaxError::at(self.text, at, message)
    }

    /// Where `at` is, for a message.
    pub(super) fn error_at(&self, at: usize, message: impl Into<String>) -> SyntaxError {
        self.error(at, message.into())
    }

    fn skip_to_line_end(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    fn skip_blank(&mut self) -> Result<(), SyntaxError> {
        loop {
            let rest = self.rest();
            let Some(first) = rest.bytes().next() else { return Ok(()) };
            match first {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0B | 0x0C => self.at += 1,
                b'/' if rest.starts_with("//") => self.skip_to_line_end(),
                b'/' if rest.starts_with("/*") => {
                    let length =
                        rest.find("*/").ok_or_else(|| self.error(self.at, "a comment has no `*/`".into()))? + 2;
                    self.line += rest[..length].bytes().filter(|byte| *byte == b'\n').count() as u32;
                    self.at += length;
                }
                b'@' if rest.starts_with("@@") => self.skip_to_line_end(),
                _ => return Ok(()),
            }
        }
    }

    /// The next token, with where it starts and its line.
    pub(super) fn next(&mut self) -> Result<(Token<'a>, usize, u32), SyntaxError> {
        self.skip_blank()?;
        let (at, line) = (self.at, self.line);
        let token = self.token()?;
        self.after_value =
            matches!(token, Token::Int { .. } | Token::Mark(")") | Token::Word("WARP_SZ") | Token::Decimal(_));
        Ok((token, at, line))
    }

    fn token(&mut self) -> Result<Token<'a>, SyntaxError> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let second = bytes.get(1).copied().unwrap_or(0);
        let Some(first) = bytes.first().copied() else { return Ok(Token::End) };
        let before = self.at.checked_sub(1).map_or(0, |before| self.text.as_bytes()[before]);
        match first {
            b'0'..=b'9' => self.number(),
            // `.tensor.2d` has a word before its dot; a number does not.
            b'.' if second.is_ascii_digit() && !is_follow(before) => self.number(),
            b'.' if is_follow(second) => Ok(Token::Dot(self.dotted())),
            b'"' => {
                let length = rest[1..].find(['"', '\n']).filter(|end| bytes[end + 1] == b'"');
                let length = length.ok_or_else(|| self.error(self.at, "a string has no closing quote".into()))?;
                self.at += length + 2;
                Ok(Token::Text(&rest[1..=length]))
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => Ok(Token::Word(self.word())),
            b'$' if is_follow(second) => Ok(Token::Word(self.word())),
            b'%' if is_follow(second) && !self.after_value => Ok(Token::Word(self.word())),
            _ => match MARKS.iter().find(|mark| rest.starts_with(**mark)) {
                Some(mark) => {
                    self.at += mark.len();
                    Ok(Token::Mark(mark))
                }
                None => {
                    let shown = rest.chars().next().unwrap_or_default();
                    Err(self.error(self.at, format!("the character {shown:?} is no part of PTX")))
                }
            },
        }
    }

    fn follow_length(text: &str) -> usize {
        text.bytes().position(|byte| !is_follow(byte)).unwrap_or(text.len())
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let length = 1 + Self::follow_length(&rest[1..]);
        self.at += length;
        &rest[..length]
    }

    /// `shared::cta`, without its dot.
    fn dotted(&mut self) -> &'a str {
        let rest = &self.rest()[1..];
        let mut length = Self::follow_length(rest);
        while let Some(segment) = rest[length..].strip_prefix("::")
            && segment.bytes().next().is_some_and(is_follow)
        {
            length += 2 + Self::follow_length(segment);
        }
        self.at += 1 + length;
        &rest[..length]
    }

    fn number(&mut self) -> Result<Token<'a>, SyntaxError> {
        let rest = self.rest();
        let mut length = Self::follow_length(rest);
        let is_radix_prefixed = length >= 2 && rest.starts_with('0') && rest.as_bytes()[1].is_ascii_alphabetic();
        if !is_radix_prefixed {
            if rest[length..].starts_with('.') {
                length += 1 + Self::follow_length(&rest[length + 1..]);
            }
            // The sign of an exponent: `1.5e-3`.
            if rest[..length].ends_with(['e', 'E']) && rest[length..].starts_with(['+', '-']) {
                length += 1 + Self::follow_length(&rest[length + 1..]);
            }
        }
        let text = &rest[..length];
        let token = number_token(text).ok_or_else(|| self.error(self.at, format!("`{text}` is not a number")))?;
        self.at += length;
        Ok(token)
    }
}

fn number_token(text: &str) -> Option<Token<'_>> {
    let hexadecimal = |digits: &str, length: usize| {
        let is_right = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_right.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
    };
    let integer = |digits: &str, radix: u32| {
        let stripped = digits.strip_suffix(['u', 'U']);
        let digits = stripped.unwrap_or(digits);
        // `from_str_radix` takes a sign, which is a token of its own here.
        let value =
            digits.bytes().all(|byte| byte != b'+').then(|| u64::from_str_radix(digits, radix).ok()).flatten()?;
        Some(Token::Int { value, unsigned: stripped.is_some() || i64::try_from(value).is_err() })
    };
    match text.get(..2) {
        Some("0f" | "0F") => hexadecimal(&text[2..], 8).map(|bits| Token::F32(bits as u32)),
        Some("0d" | "0D") => hexadecimal(&text[2..], 16).map(Token::F64),
        Some("0x" | "0X") => integer(&text[2..], 16),
        Some("0b" | "0B") => integer(&text[2..], 2),
        _ if text.contains(['.', 'e', 'E']) => text.parse::<f64>().ok().map(|_| Token::Decimal(text)),
        _ if text.len() > 1 && text.starts_with('0') && !matches!(text, "0u" | "0U") => integer(&text[1..], 8),
        _ => integer(text, 10),
    }
}
