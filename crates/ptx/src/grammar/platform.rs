//! Where a module is to run: its own `.target`, which says what it may use, and the machine, which says what there is.

use super::GrammarError;
use crate::form::Floor;
use crate::syntax::Source;
use crate::target::{Feature, PtxVersion, Target};

/// A module's version and target, and the machine that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `.version`.
    pub version: PtxVersion,
    /// `.target`.
    pub declared: ModuleTarget,
    /// The machine.
    pub machine: Target,
}

impl Platform {
    /// The platform of a module on a machine, if the machine runs code of that target.
    pub fn new(source: &Source, machine: Target) -> Result<Platform, GrammarError> {
        let error = |message: String| GrammarError { line: 1, message };
        let declared = ModuleTarget::of(&source.target)
            .ok_or_else(|| error(format!("`.target {}`: expected a target such as sm_90a", source.target)))?;
        if !declared.runs_on(machine) {
            return Err(error(format!("`.target {}` does not run on {machine}", source.target)));
        }
        Ok(Platform { version: source.version, declared, machine })
    }

    /// A module that is written for the machine itself.
    pub fn native(version: PtxVersion, machine: Target) -> Platform {
        let declared = ModuleTarget::of(machine.name()).expect("every target has a name of that form");
        Platform { version, declared, machine }
    }

    /// Why something with that floor cannot stand in the module, if it cannot.
    pub fn fault(&self, floor: &Floor) -> Option<String> {
        floor.fault(self.version, self.machine).or_else(|| self.declared.fault(floor, self.version))
    }
}

/// Which machines a `.target` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// `sm_90`: that one and later ones.
    Onward,
    /// `sm_100f`: that one and later ones of its family.
    Family,
    /// `sm_90a`: that one.
    Exact,
}

/// Any `.target` of PTX, also one that is no machine of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleTarget {
    /// Compute capability times ten.
    pub sm: u32,
    reach: Reach,
}

impl ModuleTarget {
    /// `sm_90`, `sm_100f`, `sm_120a`.
    pub fn of(text: &str) -> Option<ModuleTarget> {
        let digits = text.strip_prefix("sm_")?;
        let (digits, reach) = match digits.as_bytes().last()? {
            b'a' => (&digits[..digits.len() - 1], Reach::Exact),
            b'f' => (&digits[..digits.len() - 1], Reach::Family),
            _ => (digits, Reach::Onward),
        };
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let sm = if is_plain { digits.parse().ok()? } else { return None };
        Some(ModuleTarget { sm, reach })
    }

    /// Whether code for this target runs on the machine.
    pub fn runs_on(self, machine: Target) -> bool {
        let sm = machine.row().sm;
        match self.reach {
            Reach::Onward => sm >= self.sm,
            Reach::Family => sm >= self.sm && sm / 10 == self.sm / 10,
            Reach::Exact => sm == self.sm,
        }
    }

    /// The abilities beyond the compute capability.
    pub fn features(self) -> &'static [Feature] {
        let target = match (self.reach, self.sm) {
            (Reach::Exact, 90) => Target::Sm90a,
            (Reach::Exact, 100) => Target::Sm100a,
            (Reach::Exact, 103) => Target::Sm103a,
            (Reach::Exact, 120) => Target::Sm120a,
            (Reach::Exact, 121) => Target::Sm121a,
            (Reach::Family, 100..110) => Target::Sm100f,
            (Reach::Family, 120..130) => Target::Sm120f,
            _ => return &[],
        };
        target.row().features
    }

    fn fault(self, floor: &Floor, version: PtxVersion) -> Option<String> {
        // From sm_103 on, the family of sm_100 reduces while it loads.
        let is_later_family = self.reach == Reach::Family && self.sm == 103;
        match floor.feature {
            Some(Feature::TensorMemoryReduce) if is_later_family => None,
            Some(feature) if !self.features().contains(&feature) => {
                Some(format!("needs {feature}, which the module's own `.target` does not have"))
            }
            _ => floor.fault_at(version, self.sm).map(|fault| format!("{fault} in the module's own `.target`")),
        }
    }
}
