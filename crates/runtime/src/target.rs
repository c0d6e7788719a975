//! Which of an artifact's plans a device can run.

use crate::device::Capability;
use crate::error::RuntimeError;
use gable_artifact::{Artifact, TargetPlan};

/// Targets that run on each compute capability, the most specific first. A target ending in `a` runs on exactly one
/// capability, one ending in `f` on its family (PTX ISA, `.target`).
const TARGETS: &[(Capability, &[&str])] = &[
    (Capability { major: 9, minor: 0 }, &["sm_90a"]),
    (Capability { major: 10, minor: 0 }, &["sm_100a", "sm_100f"]),
    (Capability { major: 10, minor: 3 }, &["sm_103a", "sm_103f", "sm_100f"]),
    (Capability { major: 12, minor: 0 }, &["sm_120a", "sm_120f"]),
    (Capability { major: 12, minor: 1 }, &["sm_121a", "sm_121f", "sm_120f"]),
];

/// Targets that run on `capability`, the most specific first; none when the compiler has no target for it.
pub fn targets_for(capability: Capability) -> &'static [&'static str] {
    TARGETS.iter().find(|(known, _)| *known == capability).map_or(&[], |(_, targets)| targets)
}

/// The artifact's most specific plan for a device called `device`.
pub fn choose_plan<'a>(
    artifact: &'a Artifact,
    device: &str,
    capability: Capability,
) -> Result<&'a TargetPlan, RuntimeError> {
    let targets = targets_for(capability);
    targets.iter().find_map(|target| artifact.plan(target)).ok_or_else(|| RuntimeError::NoPlan {
        device: device.to_string(),
        capability,
        targets: artifact.targets().into_iter().map(str::to_string).collect(),
        advised: targets.first().copied(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gable_artifact::Provenance;

    fn artifact(targets: &[&str]) -> Artifact {
        let plan = |target: &&str| TargetPlan {
            target: target.to_string(),
            arena_bytes: 0,
            kernels: Vec::new(),
            steps: Vec::new(),
        };
        Artifact {
            provenance: Provenance::default(),
            graph: String::new(),
            dims: Default::default(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            weights: Vec::new(),
            plans: targets.iter().map(plan).collect(),
        }
    }

    fn chosen(targets: &[&str], major: u32, minor: u32) -> Result<String, String> {
        choose_plan(&artifact(targets), "the board", Capability { major, minor })
            .map(|plan| plan.target.clone())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_most_specific_plan_is_chosen() {
        assert_eq!(chosen(&["sm_100a", "sm_90a"], 9, 0).as_deref(), Ok("sm_90a"));
        assert_eq!(chosen(&["sm_100f", "sm_103a"], 10, 3).as_deref(), Ok("sm_103a"));
        assert_eq!(chosen(&["sm_100f", "sm_100a"], 10, 0).as_deref(), Ok("sm_100a"));
        assert_eq!(chosen(&["sm_100f"], 10, 3).as_deref(), Ok("sm_100f"));
        assert_eq!(chosen(&["sm_120f"], 12, 1).as_deref(), Ok("sm_120f"));
    }

    #[test]
    fn a_missing_plan_says_what_to_compile() {
        assert_eq!(
            chosen(&["sm_100a", "sm_120a"], 9, 0),
            Err("the board has compute capability 9.0, but the artifact was compiled for `sm_100a`, `sm_120a`; \
                 compile the model again with `gable compile --target sm_90a`"
                .to_string())
        );
        // An `a` target runs on one capability only, however close the next one is.
        assert!(chosen(&["sm_100a"], 10, 3).is_err_and(|error| error.contains("--target sm_103a")));
        assert!(chosen(&["sm_120a"], 12, 1).is_err_and(|error| error.contains("--target sm_121a")));
    }

    #[test]
    fn a_device_without_targets_is_sent_to_the_cpu() {
        let error = chosen(&[], 8, 6).expect_err("there is no such target");
        assert_eq!(
            error,
            "the board has compute capability 8.6, but the artifact was compiled for none; \
             gable has no target for this device, choose device `cpu`"
        );
    }
}
