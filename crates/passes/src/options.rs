//! What a caller can ask of the passes.

use gable_tensor::{Bindings, DType};
use std::fmt;
use std::str::FromStr;

/// What contractions and convolutions multiply in. They accumulate in f32 whatever is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// What the model says.
    #[default]
    AsIs,
    /// f32 factors become tf32: f32's range, 11 significant bits.
    Tf32,
    /// f32 factors become bf16: f32's range, 8 significant bits.
    Bf16,
    /// f32 factors become f16: 11 significant bits, largest 65504.
    Fp16,
}

impl Precision {
    /// Every choice with its name.
    pub const ALL: &'static [(&'static str, Precision)] =
        &[("fp32", Precision::AsIs), ("tf32", Precision::Tf32), ("bf16", Precision::Bf16), ("fp16", Precision::Fp16)];

    /// The type that f32 factors are rounded to.
    pub fn factor(self) -> Option<DType> {
        match self {
            Precision::AsIs => None,
            Precision::Tf32 => Some(DType::Tf32),
            Precision::Bf16 => Some(DType::BF16),
            Precision::Fp16 => Some(DType::F16),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Precision::ALL.iter().find(|(_, precision)| precision == self).expect("every choice is named");
        f.write_str(name)
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Precision, String> {
        let found = Precision::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, precision)| *precision).ok_or_else(|| {
            let known: Vec<&str> = Precision::ALL.iter().map(|(name, _)| *name).collect();
            format!("precision is `{text}`, expected one of {}", known.join(", "))
        })
    }
}

/// What to optimise for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PassOptions {
    /// Values of named dimensions.
    pub dims: Bindings,
    /// What contractions multiply in.
    pub precision: Precision,
}
