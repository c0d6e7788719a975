//! Instructions and what stands between them in a kernel's body.

use std::fmt;

use crate::form::{DstSlot, Opcode};
use crate::operand::{Label, Operand};
use crate::register::Reg;

/// `@%p` or `@!%p` before an instruction: it runs in the threads where the predicate says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guard {
    /// The predicate.
    pub pred: Reg,
    /// Whether the instruction runs where the predicate does not hold.
    pub negated: bool,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}{}", if self.negated { "!" } else { "" }, self.pred)
    }
}

/// One instruction. The lists follow the slots of the opcode's form; the verifier says where they do not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Inst {
    /// In which threads it runs.
    pub guard: Option<Guard>,
    /// The row of the table.
    pub op: Opcode,
    /// Registers that it writes.
    pub dst: Vec<Reg>,
    /// What it reads.
    pub src: Vec<Operand>,
}

/// A line of a kernel's body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Statement {
    /// An instruction.
    Inst(Inst),
    /// A place that branches go to.
    Label(Label),
    /// A line of text for the reader.
    Comment(String),
    /// `.pragma "nounroll"`: the next loop stays as it is.
    NoUnroll,
}

impl fmt::Display for Inst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(guard) = self.guard {
            write!(f, "{guard} ")?;
        }
        let form = self.op.form();
        f.write_str(form.spelling)?;
        let mut separator = " ";
        if form.dst == Some(DstSlot::Discarded) {
            write!(f, "{separator}_")?;
            separator = ", ";
        } else if !self.dst.is_empty() {
            f.write_str(separator)?;
            separator = ", ";
            let (open, between, close) = match form.dst {
                Some(DstSlot::Vector(..) | DstSlot::Accumulators(..)) => ("{", ", ", "}"),
                Some(DstSlot::WithPred(_)) => ("", "|", ""),
                Some(DstSlot::Reg(_) | DstSlot::Discarded) | None => ("", ", ", ""),
            };
            f.write_str(open)?;
            for (i, reg) in self.dst.iter().enumerate() {
                write!(f, "{}{reg}", if i == 0 { "" } else { between })?;
            }
            f.write_str(close)?;
        }
        for operand in &self.src {
            write!(f, "{separator}{operand}")?;
            separator = ", ";
        }
        if let Some(fixed) = form.fixed {
            write!(f, "{separator}{fixed}")?;
        }
        f.write_str(";")
    }
}
