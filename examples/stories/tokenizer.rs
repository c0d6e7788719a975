//! Text to tokens and back for the stories model: byte-pair merges, with bytes for what the vocabulary lacks.
//!
//! Only as much of `tokenizer.json` as that model uses; a general reader is another project's work.

use serde_json::Value;
use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

/// What stands for a space within pieces.
const SPACE: &str = "\u{2581}";

/// The token that begins a text.
const BEGIN: u32 = 1;
/// The token that ends it.
pub const END: u32 = 2;

/// Pieces by token, tokens by piece, and the order in which pairs of pieces merge.
pub struct Tokenizer {
    pieces: Vec<String>,
    tokens: HashMap<String, u32>,
    ranks: HashMap<(String, String), usize>,
}

impl Tokenizer {
    /// Reads `tokenizer.json`.
    pub fn load(path: &Path) -> Result<Tokenizer, Box<dyn Error>> {
        let file: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        let tokens: HashMap<String, u32> = serde_json::from_value(file["model"]["vocab"].clone())?;
        let merges: Vec<(String, String)> = serde_json::from_value(file["model"]["merges"].clone())?;
        let mut pieces = vec![String::new(); tokens.len()];
        for (piece, &token) in &tokens {
            let slot = usize::try_from(token).ok().and_then(|token| pieces.get_mut(token));
            *slot.ok_or("the vocabulary has gaps")? = piece.clone();
        }
        Ok(Tokenizer { pieces, tokens, ranks: merges.into_iter().zip(0..).collect() })
    }

    /// The tokens of a text, the beginning one first.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut pieces: Vec<String> =
            format!("{SPACE}{}", text.replace(' ', SPACE)).chars().map(String::from).collect();
        // Of all adjacent pairs, the one that was learnt first merges first.
        let rank = |pair: &[String]| self.ranks.get(&(pair[0].clone(), pair[1].clone())).copied();
        while let Some((_, at)) = pieces.windows(2).enumerate().filter_map(|(at, pair)| Some((rank(pair)?, at))).min() {
            let right = pieces.remove(at + 1);
            pieces[at].push_str(&right);
        }
        let byte = |byte: u8| self.tokens.get(&format!("<0x{byte:02X}>")).copied().unwrap_or(0);
        let tokens = pieces.iter().flat_map(|piece| match self.tokens.get(piece) {
            Some(&token) => vec![token],
            None => piece.bytes().map(byte).collect(),
        });
        std::iter::once(BEGIN).chain(tokens).collect()
    }

    /// The text of tokens. Bytes that are no whole character yet show as a replacement character.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut bytes = Vec::new();
        for &token in tokens.iter().filter(|&&token| token != BEGIN && token != END) {
            let piece = usize::try_from(token).ok().and_then(|token| self.pieces.get(token)).map_or("", String::as_str);
            let byte = piece.strip_prefix("<0x").and_then(|hex| u8::from_str_radix(hex.trim_end_matches('>'), 16).ok());
            match byte {
                Some(byte) => bytes.push(byte),
                None => bytes.extend_from_slice(piece.replace(SPACE, " ").as_bytes()),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.strip_prefix(' ').map_or(text.clone(), str::to_string)
    }
}
