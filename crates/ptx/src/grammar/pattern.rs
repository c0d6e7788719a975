//! Patterns over modifiers: `name{.a|.b}.c$LIST`, matched against the modifiers of an instruction.

use super::lists::named;
use super::modifier::Modifier;

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
            positions.push(Position { optional: first == '{', choices: choices(text, inner) });
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

    /// The instance that has the same modifiers in another order, if there is one.
    ///
    /// The manual gives one order; `ptxas` takes nearly every other, and compilers make use of that: `atom.global.gpu.acq_rel.add`.
    /// Types, and state spaces, keep their order among themselves, since it says which operand each belongs to.
    pub fn arrange(&self, modifiers: &[Modifier]) -> Option<Vec<Modifier>> {
        let mut arranged = Vec::with_capacity(modifiers.len());
        arrange(&self.positions, &mut modifiers.to_vec(), &mut arranged).then_some(arranged)
    }

    /// Every word that stands in it.
    pub fn words(&self) -> Vec<Modifier> {
        self.positions.iter().flat_map(|position| position.choices.iter().flatten()).copied().collect()
    }

    /// One instance: at each position the choice that a hash of the entropy and the position selects.
    pub fn sample(&self, entropy: u64) -> Vec<Modifier> {
        let choice = |(index, position): (usize, &Position)| {
            let count = position.choices.len() + usize::from(position.optional);
            // Two rounds of a multiplicative hash, so that neighbours in both arguments part ways.
            let mixed = (entropy << 8 | index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let hash = (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 24;
            position.choices.get(hash as usize % count).cloned().unwrap_or_default()
        };
        self.positions.iter().enumerate().flat_map(choice).collect()
    }
}

fn matches(positions: &[Position], modifiers: &[Modifier]) -> bool {
    let Some((position, later)) = positions.split_first() else { return modifiers.is_empty() };
    let taken = |choice: &Vec<Modifier>| modifiers.starts_with(choice) && matches(later, &modifiers[choice.len()..]);
    position.choices.iter().any(taken) || (position.optional && matches(later, modifiers))
}

/// Takes a choice for each position out of `left` into `arranged`; both are as before where that fails.
fn arrange(positions: &[Position], left: &mut Vec<Modifier>, arranged: &mut Vec<Modifier>) -> bool {
    let Some((position, later)) = positions.split_first() else { return left.is_empty() };
    for choice in &position.choices {
        let (left_before, length_before) = (left.clone(), arranged.len());
        if choice.iter().all(|modifier| take(*modifier, left)) {
            arranged.extend_from_slice(choice);
            if arrange(later, left, arranged) {
                return true;
            }
        }
        *left = left_before;
        arranged.truncate(length_before);
    }
    position.optional && arrange(later, left, arranged)
}

/// Removes a modifier that no other of its kind stands before.
fn take(modifier: Modifier, left: &mut Vec<Modifier>) -> bool {
    let same_kind = |other: Modifier| {
        (modifier.is_type() && other.is_type()) || (modifier.is_space() && other.is_space()) || other == modifier
    };
    let first = left.iter().position(|other| same_kind(*other));
    let found = first.filter(|index| left[*index] == modifier);
    found.map(|index| left.remove(index)).is_some()
}

/// `.a|.b.c|$LIST`, each as the runs that it stands for.
fn choices(text: &str, alternatives: &str) -> Vec<Vec<Modifier>> {
    alternatives.split('|').flat_map(|choice| expand(text, choice)).collect()
}

/// `.a.b` as one run; `$LIST`, and `.a$LIST`, as one run for each choice of the list.
fn expand(text: &str, choice: &str) -> Vec<Vec<Modifier>> {
    let (words, list) = choice.split_once('$').map_or((choice, None), |(words, list)| (words, Some(list)));
    let mut runs = vec![Vec::new()];
    let join = |runs: &[Vec<Modifier>], ends: &[Vec<Modifier>]| -> Vec<Vec<Modifier>> {
        runs.iter().flat_map(|run| ends.iter().map(|end| [run.as_slice(), end].concat())).collect()
    };
    for word in words.split('.').skip(1) {
        let ends: Vec<Vec<Modifier>> = word_choices(text, word).into_iter().map(|modifier| vec![modifier]).collect();
        runs = join(&runs, &ends);
    }
    if let Some(list) = list {
        let inner = named(list).unwrap_or_else(|| panic!("`{text}`: no list `${list}`"));
        runs = join(&runs, &choices(text, inner));
    }
    runs
}

/// The modifiers that a word stands for: one, or for `m64nNk16` every width that a warpgroup has, for `m64nIk32` those with integers.
fn word_choices(text: &str, word: &str) -> Vec<Modifier> {
    let wide = |k: &str, takes: fn(u16) -> bool| {
        let k = k.parse().unwrap_or_else(|_| panic!("`{text}`: `{word}` has no k"));
        (8..=256).step_by(8).filter(|n| takes(*n)).map(|n| Modifier::Matrix { m: 64, n, k }).collect()
    };
    match (word.strip_prefix("m64nNk"), word.strip_prefix("m64nIk")) {
        (Some(k), _) => wide(k, |_| true),
        (_, Some(k)) => wide(k, |n| n <= 24 || n % 16 == 0),
        _ => vec![Modifier::of(word).unwrap_or_else(|| panic!("`{text}`: no modifier `.{word}`"))],
    }
}
