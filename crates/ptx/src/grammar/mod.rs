//! Which instructions PTX has: one row per form, as a pattern over modifiers, with the lowest target that has it.
//!
//! A row reads as the manual writes it,
//!
//! ```text
//! Add: "add{.rn|.rz|.rm|.rp}{.ftz}{.sat}.f32", BASE;
//! ```
//!
//! where `{..}` may be left out, `|` separates choices and `$NAME` stands for a named list of choices. `resolve` finds the row of a
//! parsed instruction and checks that the target has it; anything else is an error that names the instruction. Rows here carry
//! no builder: those that we write ourselves have one in `table`, and a test holds that every row there is an instance of one here.

mod lists;
mod modifier;
mod op;
mod pattern;
mod platform;
mod rows;
mod special;

pub use modifier::Modifier;
pub use op::Op;
pub use pattern::Pattern;
pub use platform::{ModuleTarget, Platform};
pub use special::SpecialRegister;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::form::Floor;
use crate::syntax::Instruction;

/// A form of an instruction.
#[derive(Debug)]
pub struct Row {
    /// Which instruction.
    pub op: Op,
    /// How it is spelled.
    pub pattern: &'static str,
    /// The lowest target and PTX version that have it; words that came later add their own, see `floors`.
    pub floor: Floor,
}

impl Row {
    /// Every spelling of the row: the modifiers of each instance.
    pub fn instances(&self) -> Vec<Vec<Modifier>> {
        Pattern::new(self.pattern).instances()
    }

    /// Every word that stands in some spelling of it.
    pub fn words(&self) -> Vec<Modifier> {
        Pattern::new(self.pattern).words()
    }

    /// One spelling of it, chosen by the entropy.
    pub fn sample(&self, entropy: u64) -> Vec<Modifier> {
        Pattern::new(self.pattern).sample(entropy)
    }
}

/// An instruction with its modifiers understood.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Which instruction.
    pub op: Op,
    /// Its row.
    pub row: &'static Row,
    /// Its modifiers, in the order of the row.
    pub modifiers: Vec<Modifier>,
}

impl Resolved {
    /// Whether the modifier stands in the mnemonic.
    pub fn has(&self, modifier: Modifier) -> bool {
        self.modifiers.contains(&modifier)
    }

    /// The modifiers that are types, in order.
    pub fn types(&self) -> impl Iterator<Item = Modifier> + '_ {
        self.modifiers.iter().copied().filter(|modifier| modifier.is_type())
    }

    /// The first modifier among `choices`, if any stands there.
    pub fn one_of(&self, choices: &[Modifier]) -> Option<Modifier> {
        self.modifiers.iter().copied().find(|modifier| choices.contains(modifier))
    }
}

/// The instruction does not exist, or not here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct GrammarError {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong, with the spelling.
    pub message: String,
}

static BY_NAME: LazyLock<BTreeMap<&'static str, Vec<(&'static Row, Pattern)>>> = LazyLock::new(|| {
    let mut rows: BTreeMap<&'static str, Vec<(&'static Row, Pattern)>> = BTreeMap::new();
    for row in self::rows() {
        let pattern = Pattern::new(row.pattern);
        rows.entry(pattern.name()).or_default().push((row, pattern));
    }
    rows
});

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    rows::CHAPTERS.iter().copied().flatten()
}

/// Instructions that are left out on purpose.
const TEXTURES: &[&str] = &["tex", "tld4", "txq", "suld", "sust", "sured", "suq", "istypep"];

/// What an instruction is, in a module on a platform.
pub fn resolve(instruction: &Instruction, platform: &Platform) -> Result<Resolved, GrammarError> {
    let error = |message: String| GrammarError { line: instruction.line, message };
    let spelling = || instruction.spelling();
    if TEXTURES.contains(&&*instruction.name) {
        return Err(error(format!("`{}`: textures and surfaces are not supported", spelling())));
    }
    let rows = BY_NAME
        .get(&*instruction.name)
        .ok_or_else(|| error(format!("`{}`: there is no instruction `{}`", spelling(), instruction.name)))?;
    let mut modifiers = Vec::with_capacity(instruction.modifiers.len());
    for text in &instruction.modifiers {
        let modifier =
            Modifier::of(text).ok_or_else(|| error(format!("`{}`: there is no modifier `.{text}`", spelling())))?;
        modifiers.push(modifier);
    }
    let mut found: Vec<&Row> =
        rows.iter().filter(|(_, pattern)| pattern.matches(&modifiers)).map(|(row, _)| *row).collect();
    if found.is_empty()
        && let Some(arranged) = rows.iter().find_map(|(_, pattern)| pattern.arrange(&modifiers))
    {
        found.extend(rows.iter().filter(|(_, pattern)| pattern.matches(&arranged)).map(|(row, _)| *row));
        modifiers = arranged;
    }
    // Of several rows that match, the one that the platform has; a row's floor is its own.
    let mut refusal = None;
    for row in found {
        let fault = floors(row, &modifiers).find_map(|floor| platform.fault(&floor));
        match fault {
            None => return Ok(Resolved { op: row.op, row, modifiers }),
            Some(fault) => refusal = Some(fault),
        }
    }
    Err(error(match refusal {
        Some(fault) => format!("`{}` {fault}", spelling()),
        None => {
            let known: Vec<&str> = rows.iter().map(|(row, _)| row.pattern).collect();
            format!("`{}` has no such form; known: {}", spelling(), known.join(", "))
        }
    }))
}

/// What an instance of a row needs: the row's own floor, and those of its words.
pub fn floors(row: &Row, modifiers: &[Modifier]) -> impl Iterator<Item = Floor> {
    std::iter::once(row.floor).chain(modifiers.iter().copied().filter_map(lists::floor))
}
