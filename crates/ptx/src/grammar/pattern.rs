//! Patterns over modifiers: `name{.a|.b}.c$LIST`, matched against the modifiers of an instruction.

use super::modifier::{Modifier, named};

/// One position of a pattern.
#[derive(Clone, Debug)]
struct Position {
    optional: bool,
    /// Each choice is a run of modifiers: `{.relaxed.cta|.weak}` has one of two and one of one.
    choices: Vec<Vec<Modifier>>,
}

/// A pattern, ready to match.
#[derive(Clone, Debug)]
pub struct Pattern {
    name: &'static str,
    positions: Vec<Position>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Panics
    /// On a pattern that is not well formed or names an unknown modifier: rows are ours, and a test reads all of them.
    pub fn new(text: &'static str) -> Self {
        let end = text.find(['.', '{', '(', '$']).unwrap_or(text.len());
        let mut rest = &text[end..];
        let mut positions = Vec::new();
        while let Some(first) = rest.chars().next() {
            let close = match first {
                '{' => Some('}'),
                '(' => Some(')'),
                _ => None,
            };
            let (inner, length) = match close {
                Some(close) => {
                    let end = rest.find(close).unwrap_or_else(|| panic!("`{text}`: no `{close}`"));
                    (&rest[1..end], end + 1)
                }
                None => {
                    let end = rest[1..].find(['.', '{', '(', '$']).map_or(rest.len(), |end| end + 1);
                    (&rest[..end], end)
                }
            };
            let choices = inner.split('|').flat_map(|choice| expand(text, choice)).collect();
            positions.push(Position { optional: first == '{', choices });
            rest = &rest[length..];
        }
        Pattern { name: &text[..end], positions }
    }

    /// The mnemonic up to the first dot.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Every spelling: the modifiers of each instance.
    pub fn instances(&self) -> Vec<Vec<Modifier>> {
        self.positions.iter().fold(vec![Vec::new()], |begun, position| {
            let left_out = position.optional.then(Vec::new);
            let choices: Vec<&Vec<Modifier>> = left_out.iter().chain(&position.choices).collect();
            begun.iter().flat_map(|run| choices.iter().map(|choice| [run.as_slice(), choice].concat())).collect()
        })
    }

    /// Whether the modifiers are an instance.
    pub fn matches(&self, modifiers: &[Modifier]) -> bool {
        matches(&self.positions, modifiers)
    }
}

fn matches(positions: &[Position], modifiers: &[Modifier]) -> bool {
    let Some((position, later)) = positions.split_first() else { return modifiers.is_empty() };
    let taken = |choice: &Vec<Modifier>| modifiers.starts_with(choice) && matches(later, &modifiers[choice.len()..]);
    position.choices.iter().any(taken) || (position.optional && matches(later, modifiers))
}

/// `.a.b` as one run; `$LIST`, and `.a$LIST`, as one run for each choice of the list.
fn expand(text: &'static str, choice: &'static str) -> Vec<Vec<Modifier>> {
    let (words, list) = choice.split_once('$').map_or((choice, None), |(words, list)| (words, Some(list)));
    let modifier = |word: &str| Modifier::of(word).unwrap_or_else(|| panic!("`{text}`: no modifier `.{word}`"));
    let run: Vec<Modifier> = words.split('.').skip(1).map(modifier).collect();
    match list {
        None => vec![run],
        Some(list) => {
            let choices = named(list).unwrap_or_else(|| panic!("`{text}`: no list `${list}`"));
            choices.split('|').map(|word| run.iter().copied().chain([modifier(&word[1..])]).collect()).collect()
        }
    }
}
