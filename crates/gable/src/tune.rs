//! Times schedules of a model's contractions on a device, and records the fastest.
//!
//! The whole model runs with one candidate for each kind of region at a time, so each is timed where it will be used: behind
//! the steps before it, with the data that they leave. What won is timed again against what the rule chooses, and recorded
//! where it is still faster.

use crate::compile::Lowered;
use crate::records::{RecordedTime, ScheduleRecord, VERSION};
use crate::{Assemble, Compiled, Device, Error, Model, Options, Target};
use gable_codegen::{Choices, Tunable};
use gable_runtime::{Profile, ProfileOptions, Session, Timing};
use gable_tensor::Tensor;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Samples that choose.
const TRIAL: ProfileOptions = ProfileOptions { warm_up: 2, repetitions: 10 };
/// Samples that are recorded.
const FINAL: ProfileOptions = ProfileOptions { warm_up: 5, repetitions: 30 };
/// Share of the rule's time that a winner must save.
pub(crate) const GAIN: f64 = 0.01;

/// A model ready to be tuned.
pub struct Tuner {
    lowered: Lowered,
    options: Options,
    target: Target,
    ordinal: usize,
    tunables: Vec<Tunable>,
}

/// What tuning came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// One for each kind of region.
    pub records: Vec<ScheduleRecord>,
    /// Rounds that could not be run, with the reason of the first.
    pub failed: Option<(usize, String)>,
    /// Whether the budget ended before every candidate was timed.
    pub out_of_time: bool,
}

impl Tuner {
    /// Captures and fuses a model for a CUDA device.
    pub fn new(model: &Model, options: &Options, ordinal: usize) -> Result<Tuner, Error> {
        // The driver assembles what changed from round to round, and keeps the rest.
        let options = options.clone().for_device(Device::Cuda(ordinal)).assemble(Assemble::Never);
        let [target] = options.targets()[..] else {
            return Err(Error::Request("tuning is for one target: name one, or run where there is a GPU".into()));
        };
        let lowered = Lowered::of_model(model, &options)?;
        let tunables = lowered.tunables(target)?;
        Ok(Tuner { lowered, options, target, ordinal, tunables })
    }

    /// Kinds of regions, and the candidates of all of them.
    pub fn counts(&self) -> (usize, usize) {
        (self.tunables.len(), self.tunables.iter().map(|tunable| tunable.candidates.len()).sum())
    }

    /// The model by the rule's choices, whose inputs are those to tune with.
    pub fn by_rule(&self) -> Result<Compiled, Error> {
        self.compile(&Choices::default())
    }

    fn compile(&self, choices: &Choices) -> Result<Compiled, Error> {
        self.lowered.emit(&self.options, |_| Ok(choices.clone()))
    }

    /// Times candidates until all are, or `budget` is spent. `tell` is called before each round with its number and how many
    /// there are at most.
    pub fn run(
        &self,
        inputs: &[(&str, &Tensor)],
        budget: Duration,
        tell: &mut dyn FnMut(usize, usize),
    ) -> Result<Tuned, Error> {
        let start = Instant::now();
        let rounds = self.tunables.iter().map(|tunable| tunable.candidates.len()).max().unwrap_or(0);
        let mut best: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
        let mut failed: Option<(usize, String)> = None;
        let mut out_of_time = false;
        for round in 0..rounds {
            // The rule's choices are timed in any case.
            if round > 0 && start.elapsed() >= budget {
                out_of_time = true;
                break;
            }
            tell(round, rounds);
            let here: Vec<&Tunable> = self.tunables.iter().filter(|tunable| round < tunable.candidates.len()).collect();
            let profile = match self.profile(&self.choices(&here, |_| round), inputs, TRIAL) {
                Ok(profile) => profile,
                Err(error) if round == 0 => return Err(error),
                Err(error) => {
                    let (count, _) = failed.get_or_insert_with(|| (0, error.to_string()));
                    *count += 1;
                    continue;
                }
            };
            for tunable in here {
                let Some(time) = time_of(tunable, &profile) else { continue };
                *tried.entry(&tunable.key).or_default() += 1;
                let entry = best.entry(&tunable.key).or_insert((time.median_s, round));
                if time.median_s < entry.0 {
                    *entry = (time.median_s, round);
                }
            }
        }
        let all: Vec<&Tunable> = self.tunables.iter().collect();
        let winner = |tunable: &Tunable| best.get(tunable.key.as_str()).map_or(0, |(_, round)| *round);
        let by_rule = self.profile(&Choices::default(), inputs, FINAL)?;
        let by_measurement = self.profile(&self.choices(&all, winner), inputs, FINAL)?;
        let record = |tunable: &Tunable| {
            let (default, measured) = (time_of(tunable, &by_rule)?, time_of(tunable, &by_measurement)?);
            let faster = measured.median_s < default.median_s * (1.0 - GAIN);
            let (chosen, time) = if faster { (winner(tunable), measured) } else { (0, default) };
            let cuda = by_rule.device.cuda.as_ref()?;
            Some(ScheduleRecord {
                gable_version: VERSION.into(),
                gpu: by_rule.device.name.clone(),
                uuid: cuda.uuid.clone(),
                driver: cuda.driver_version.clone(),
                sm_mhz: by_measurement.clocks.map(|clocks| clocks.sm_mhz),
                memory_mhz: by_measurement.clocks.map(|clocks| clocks.memory_mhz),
                target: self.target.name().into(),
                problem: tunable.problem.clone(),
                region: tunable.key.clone(),
                schedule: tunable.candidates[chosen].clone(),
                time,
                default_schedule: tunable.candidates[0].clone(),
                default_time: default,
                tried: tried.get(tunable.key.as_str()).copied().unwrap_or(0),
            })
        };
        Ok(Tuned { records: self.tunables.iter().filter_map(record).collect(), failed, out_of_time })
    }

    fn choices(&self, tunables: &[&Tunable], candidate: impl Fn(&Tunable) -> usize) -> Choices {
        let choice = |tunable: &&Tunable| (tunable.key.clone(), tunable.candidates[candidate(tunable)].clone());
        Choices { by_region: tunables.iter().map(choice).collect() }
    }

    fn profile(
        &self,
        choices: &Choices,
        inputs: &[(&str, &Tensor)],
        options: ProfileOptions,
    ) -> Result<Profile, Error> {
        let compiled = self.compile(choices)?;
        let mut session = Session::open(compiled.artifact(), Device::Cuda(self.ordinal))?;
        Ok(session.profile(inputs, options)?)
    }
}

/// The time of all steps of a kind of region together, each in its place; none where there is no such step.
fn time_of(tunable: &Tunable, profile: &Profile) -> Option<RecordedTime> {
    let steps = profile.steps.iter().filter(|step| tunable.regions.contains(&step.label));
    let times: Vec<Timing> = steps.map(|step| step.in_sequence).collect();
    let sum = |part: fn(&Timing) -> f64| times.iter().map(part).sum();
    Some(RecordedTime {
        n: times.first()?.n,
        lower_quartile_s: sum(|time| time.lower_quartile_s),
        median_s: sum(|time| time.median_s),
        upper_quartile_s: sum(|time| time.upper_quartile_s),
    })
}
