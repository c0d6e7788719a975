//! Times the candidate schedules of the suite's problems and records the fastest.
//!
//! Each candidate takes turns with what the rule chooses, so that clocks and temperature meet both alike; what is compared is
//! their quotient. A candidate whose result is wrong is an error, not a slow one.

use super::case::Case;
use super::{Check, Request, Suite, WARM_UP, chosen, circumstances, data};
use crate::compile::Lowered;
use crate::records::{RecordedTime, ScheduleRecord, VERSION};
use crate::tune::GAIN;
use crate::{Assemble, Device, Error, Options};
use gable_codegen::{Choices, Tunable};
use gable_runtime::cuda::contest::{Contest, Entrant};
use gable_runtime::timing::Timing;
use gable_tensor::Tensor;
use std::time::{Duration, Instant};

/// Rounds that a candidate gets to be looked at.
const TRIALS: usize = 7;
/// Candidates that are timed again, all in turn.
const FINALISTS: usize = 4;

/// Tunes the problems that the request names, each for at most `budget`. `tell` gets each problem's name with its record, or
/// why it has none.
pub fn tune(
    request: &Request,
    budget: Duration,
    tell: &mut dyn FnMut(String, Result<ScheduleRecord, Error>) -> Result<(), Error>,
) -> Result<(), Error> {
    let cases = chosen(request)?;
    let contest = Contest::open(request.ordinal)?;
    let circumstances = circumstances(request, &contest)?;
    let suite = Suite { request, contest, circumstances };
    cases.iter().try_for_each(|case| tell(case.to_string(), suite.tune(case, budget)))
}

/// A problem with everything that its candidates are compiled and checked by.
struct Trials<'a> {
    suite: &'a Suite<'a>,
    lowered: &'a Lowered,
    options: &'a Options,
    tunable: &'a Tunable,
    inputs: &'a [Tensor],
    check: Check<'a>,
}

impl Trials<'_> {
    /// A candidate, once its result was found right.
    fn enter(&self, candidate: usize) -> Result<Entrant, Error> {
        let schedule = &self.tunable.candidates[candidate];
        let choices = Choices { by_region: [(self.tunable.key.clone(), schedule.clone())].into() };
        let compiled = self.lowered.emit(self.options, |_| Ok(choices.clone()))?;
        let entrant = self.suite.contest.plan(compiled.artifact(), self.inputs)?;
        let error = self.suite.error(&self.check, &entrant)?;
        match error <= self.check.limit() {
            true => Ok(entrant),
            false => Err(Error::Request(format!("`{schedule}` is wrong: its relative error is {error:.1e}"))),
        }
    }

    /// Time of a candidate over that of the rule's choice.
    fn quotient(&self, by_rule: &Entrant, candidate: usize) -> Result<f64, Error> {
        let entrant = self.enter(candidate)?;
        self.suite.contest.time(&[by_rule, &entrant], WARM_UP)?;
        let times = self.suite.contest.time(&[by_rule, &entrant], TRIALS)?;
        let [rule_s, candidate_s] = [0, 1].map(|position| median_s(&times[position]));
        Ok(candidate_s / rule_s)
    }
}

fn median_s(times: &[f64]) -> f64 {
    Timing::of(times.to_vec()).map_or(f64::INFINITY, |timing| timing.median_s)
}

impl Suite<'_> {
    fn tune(&self, case: &Case, budget: Duration) -> Result<ScheduleRecord, Error> {
        let start = Instant::now();
        let options = Options::new().for_device(Device::Cuda(self.request.ordinal)).assemble(Assemble::Never).by_rule();
        let [target] = options.targets()[..] else {
            return Err(Error::Request("the device here runs none of the targets".into()));
        };
        let lowered = Lowered::of_module(&case.to_string(), case.module()?, &options)?;
        let tunables = lowered.tunables(target)?;
        let [tunable] = &tunables[..] else {
            return Err(Error::Request(format!("{case} has {} kinds of contractions, not one", tunables.len())));
        };
        let inputs = data::inputs(case, self.request.seed)?;
        let check = Check::of(case, &inputs);
        let trials = Trials { suite: self, lowered: &lowered, options: &options, tunable, inputs: &inputs, check };

        let by_rule = trials.enter(0)?;
        let mut quotients = vec![(1.0, 0)];
        for candidate in 1..tunable.candidates.len() {
            if start.elapsed() >= budget {
                break;
            }
            quotients.push((trials.quotient(&by_rule, candidate)?, candidate));
        }
        let tried = quotients.len();
        quotients.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let finalists: Vec<usize> = quotients
            .iter()
            .map(|(_, candidate)| *candidate)
            .filter(|&candidate| candidate > 0)
            .take(FINALISTS)
            .collect();
        let others = finalists.iter().map(|&candidate| trials.enter(candidate)).collect::<Result<Vec<_>, _>>()?;
        let entrants: Vec<&Entrant> = std::iter::once(&by_rule).chain(&others).collect();
        let rounds = self.rounds(&entrants)?;
        let times: Vec<RecordedTime> = self.contest.time(&entrants, rounds)?.into_iter().filter_map(recorded).collect();
        let fastest = (1..times.len()).min_by(|&one, &other| times[one].median_s.total_cmp(&times[other].median_s));
        let winner = fastest.filter(|&one| times[one].median_s < times[0].median_s * (1.0 - GAIN));
        let chosen = winner.map_or(0, |winner| finalists[winner - 1]);
        let clocks = self.contest.clocks();
        Ok(ScheduleRecord {
            gable_version: VERSION.into(),
            gpu: self.circumstances.device.clone(),
            uuid: self.circumstances.uuid.clone(),
            driver: self.circumstances.driver.clone(),
            sm_mhz: clocks.map(|clocks| clocks.sm_mhz),
            memory_mhz: clocks.map(|clocks| clocks.memory_mhz),
            target: target.name().into(),
            problem: tunable.problem.clone(),
            region: tunable.key.clone(),
            schedule: tunable.candidates[chosen].clone(),
            time: times[winner.unwrap_or(0)],
            default_schedule: tunable.candidates[0].clone(),
            default_time: times[0],
            tried,
        })
    }
}

/// Summarises samples; none where there are none.
fn recorded(times: Vec<f64>) -> Option<RecordedTime> {
    let Timing { n, lower_quartile_s, median_s, upper_quartile_s, .. } = Timing::of(times)?;
    Some(RecordedTime { n, lower_quartile_s, median_s, upper_quartile_s })
}
