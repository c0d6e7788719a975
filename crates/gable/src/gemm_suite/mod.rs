//! Matrix products of the shapes that matter, compiled as any model is, checked, and timed in turn with cuBLASLt.
//!
//! In: which problems. Out: one record for each, told as soon as it is there. A result that is wrong is not timed.

mod case;
mod data;
mod predict;
mod record;
mod reference;
mod tune;

pub use predict::{Prediction, measured, predict};
pub use record::{Circumstances, KernelUsed, Peer, Record, Spread};
pub use tune::tune;

use crate::{Error, Options};
use case::{BLOCK, Case, Form};
use gable_artifact::{Artifact, Signature};
use gable_ir::Unit;
use gable_roofline::Machine;
use gable_runtime::cuda::{self, contest::Contest, contest::Entrant};
use gable_tensor::DType;
use reference::{Sample, dequantised, relative_error};

/// Largest relative error of a right result: a few roundings to the 8 bits of bf16.
const ERROR_LIMIT: f64 = 1e-2;
/// The same where elements have the 4 bits of e4m3: a rounding, evenly spread, is a root of 12th of a step.
const ERROR_LIMIT_E4M3: f64 = 4e-2;
/// Rounds before any time counts.
const WARM_UP: usize = 3;
/// Rounds that choose among the library's proposals.
const TRIALS: usize = 5;
/// Rounds of a comparison, by how long one takes.
const ROUNDS: std::ops::RangeInclusive<usize> = 15..=200;
/// What a comparison may take on the device, in seconds.
const BUDGET_S: f64 = 0.4;
/// Reading the flush buffer takes about as long before each sample.
const FLUSH_S: f64 = 1e-4;

/// What is measured.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The CUDA device.
    pub ordinal: usize,
    /// Only problems whose name contains this.
    pub filter: Option<String>,
    /// Only problems of these types: `bf16`, `fp8`, `fp8w`, `fp4w`; all where empty.
    pub types: Vec<String>,
    /// How problems are compiled.
    pub options: Options,
    /// Whether cuBLASLt is measured too.
    pub library: bool,
    /// Seed of the data.
    pub seed: u64,
}

/// What is told while the suite runs.
pub enum Event<'a> {
    /// Before the first problem.
    Begins(&'a Circumstances),
    /// A problem was measured.
    Measured(&'a Record),
    /// A problem could not be.
    Failed {
        /// Its name.
        case: String,
        /// Why.
        error: Error,
    },
}

/// Measures; an error where nothing can be. `tell` is called as results come.
pub fn run(request: &Request, tell: &mut dyn FnMut(Event<'_>) -> Result<(), Error>) -> Result<(), Error> {
    let cases = chosen(request)?;
    let contest = Contest::open(request.ordinal)?;
    let circumstances = circumstances(request, &contest)?;
    tell(Event::Begins(&circumstances))?;
    let suite = Suite { request, contest, circumstances };
    let mut records: Vec<Record> = Vec::new();
    for case in cases {
        match suite.measure(&case, &records) {
            Ok(record) => {
                tell(Event::Measured(&record))?;
                records.push(record);
            }
            Err(error) => tell(Event::Failed { case: case.to_string(), error })?,
        }
    }
    Ok(())
}

/// The problems that the request names.
fn chosen(request: &Request) -> Result<Vec<Case>, Error> {
    let cases = case::cases();
    let known: std::collections::BTreeSet<&str> = cases.iter().map(Case::types).collect();
    if let Some(unknown) = request.types.iter().find(|types| !known.contains(types.as_str())) {
        let known: Vec<&str> = known.into_iter().collect();
        return Err(Error::Request(format!("the suite has no types `{unknown}`; it has {}", known.join(", "))));
    }
    let has_types = |case: &Case| request.types.is_empty() || request.types.iter().any(|types| types == case.types());
    let fits = |case: &Case| request.filter.as_ref().is_none_or(|filter| case.to_string().contains(filter));
    let chosen: Vec<Case> = cases.into_iter().filter(|case| has_types(case) && fits(case)).collect();
    if chosen.is_empty() {
        let filter = request.filter.as_deref().unwrap_or_default();
        return Err(Error::Request(format!(
            "no problem's name contains `{filter}`, such as bf16/plain/8192x8192x8192"
        )));
    }
    Ok(chosen)
}

fn circumstances(request: &Request, contest: &Contest) -> Result<Circumstances, Error> {
    let info = contest.device();
    let machine = Machine::of_device(&info.name).ok_or_else(|| {
        Error::Request(format!("the table of machines has no {}: its roofs are not known", info.name))
    })?;
    let device = info.cuda.as_ref().expect("a contest is on a cuda device");
    let sheet = |input| machine.flops_per_s(Unit::Contraction { input, acc: DType::F32 });
    Ok(Circumstances {
        gable_version: env!("CARGO_PKG_VERSION"),
        device: info.name.clone(),
        uuid: device.uuid.clone(),
        driver: device.driver_version.clone(),
        cublaslt: request.library.then(cuda::cublaslt_version).flatten(),
        copy_bytes_per_s: cuda::measure_copy_bandwidth(request.ordinal)?.bytes_per_second,
        read_bytes_per_s: cuda::measure_read_bandwidth(request.ordinal)?.bytes_per_second,
        sheet_bf16_flops_per_s: sheet(DType::BF16),
        sheet_fp8_flops_per_s: sheet(DType::E4M3),
        method: format!(
            "each sample: {} MiB read, an event, the work, an event, in one graph; entrants in turn; random data; \
             median and deciles",
            contest.flush_bytes() >> 20
        ),
    })
}

struct Suite<'a> {
    request: &'a Request,
    contest: Contest,
    circumstances: Circumstances,
}

impl Suite<'_> {
    fn measure(&self, case: &Case, before: &[Record]) -> Result<Record, Error> {
        let device = crate::Device::Cuda(self.request.ordinal);
        let options = self.request.options.clone().for_device(device);
        let compiled = options.optimize_module(&case.to_string(), case.module()?)?;
        let artifact = compiled.artifact();
        let inputs = data::inputs(case, self.request.seed)?;
        let ours = self.contest.plan(artifact, &inputs)?;

        let check = Check::of(case, &inputs);
        let error = self.error(&check, &ours)?;
        let right = error <= check.limit();

        let peer = match case.product().filter(|_| self.request.library) {
            Some((product, does)) => self.fastest(self.contest.library(&product, &ours)?)?.map(|found| (found, does)),
            None => None,
        };
        let entrants: Vec<&Entrant> = std::iter::once(&ours).chain(peer.as_ref().map(|((best, _), _)| best)).collect();
        let mut times = if right { self.compare(&entrants)? } else { Vec::new() }.into_iter();
        let time = times.next();
        let peer = match (peer, times.next()) {
            (Some(((best, proposals), does)), Some(time)) => {
                let whole = does == "all" || case.form == Form::Residual;
                let error = || Ok::<_, Error>(check.error(&self.sampled(&check, &best, 0)?));
                let error = whole.then(error).transpose()?;
                Some(Peer { name: "cublaslt".into(), does, proposals, time, error })
            }
            _ => similar_peer(case, before),
        };
        let (read, written) = (bytes_of(&artifact.inputs), bytes_of(&artifact.outputs));
        let (bound_s, bound) = self.circumstances.bound(case, (read, written));
        Ok(Record {
            case: case.to_string(),
            sizes: case.sizes,
            batch: case.batch,
            flops: case.flops(),
            bytes: read + written,
            kernels: kernels(artifact),
            error,
            ratio: time.zip(peer.as_ref()).map(|(time, peer)| peer.time.median_s / time.median_s),
            time,
            bound_s,
            bound,
            peer,
            clocks: self.contest.clocks(),
        })
    }

    /// The relative error of our result.
    fn error(&self, check: &Check<'_>, ours: &Entrant) -> Result<f64, Error> {
        Ok(check.error(&self.sampled(check, ours, check.case.result())?))
    }

    fn sampled(&self, check: &Check<'_>, entrant: &Entrant, position: usize) -> Result<Vec<f64>, Error> {
        let Check { case, sample, .. } = check;
        let columns = if case.form == Form::Swiglu { case.sizes[1] / 2 } else { case.sizes[1] };
        let rows = |position: usize, row_bytes: usize| {
            let offsets: Vec<usize> = sample.rows.iter().map(|row| row * row_bytes).collect();
            self.contest.result(entrant, position, &offsets, row_bytes)
        };
        let dtype = case.result_type();
        let found = sample.found(dtype, &rows(position, columns * dtype.bytes())?);
        Ok(match case.scales() {
            None => found,
            Some(scales) => dequantised(sample, found, &rows(scales, columns / BLOCK * DType::F32.bytes())?),
        })
    }

    /// The library's best proposal by a few rounds, and how many there are.
    fn fastest(&self, proposals: Vec<Entrant>) -> Result<Option<(Entrant, usize)>, Error> {
        let all: Vec<&Entrant> = proposals.iter().collect();
        self.contest.time(&all, WARM_UP)?;
        let medians: Vec<f64> =
            self.contest.time(&all, TRIALS)?.into_iter().map(|times| Spread::of(times).median_s).collect();
        let count = proposals.len();
        let fastest = proposals.into_iter().zip(medians).min_by(|(_, one), (_, other)| one.total_cmp(other));
        Ok(fastest.map(|(entrant, _)| (entrant, count)))
    }

    fn compare(&self, entrants: &[&Entrant]) -> Result<Vec<Spread>, Error> {
        let rounds = self.rounds(entrants)?;
        Ok(self.contest.time(entrants, rounds)?.into_iter().map(Spread::of).collect())
    }

    /// Warms up, and tells how many rounds the budget allows.
    fn rounds(&self, entrants: &[&Entrant]) -> Result<usize, Error> {
        let trial = self.contest.time(entrants, WARM_UP)?;
        let last = |times: &Vec<f64>| times.last().copied().unwrap_or_default();
        let round_s: f64 = trial.iter().map(last).sum::<f64>() + entrants.len() as f64 * FLUSH_S;
        Ok(((BUDGET_S / round_s) as usize).clamp(*ROUNDS.start(), *ROUNDS.end()))
    }
}

/// What results of a problem are held against.
struct Check<'a> {
    case: &'a Case,
    sample: Sample,
    expected: Vec<f64>,
}

impl<'a> Check<'a> {
    fn of(case: &'a Case, inputs: &[gable_tensor::Tensor]) -> Check<'a> {
        let sample = Sample::of(case);
        let expected = sample.expected(case, inputs);
        Check { case, sample, expected }
    }

    fn error(&self, found: &[f64]) -> f64 {
        relative_error(found, &self.expected)
    }

    /// Largest relative error of a right result.
    fn limit(&self) -> f64 {
        if self.case.scales().is_some() { ERROR_LIMIT_E4M3 } else { ERROR_LIMIT }
    }
}

/// Where the library has no such product, one of the same sizes that was measured before: for weights of 8 or 4 bits the
/// library's with weights of 16, for scales of blocks ours with scales of rows and columns.
fn similar_peer(case: &Case, before: &[Record]) -> Option<Peer> {
    let measured = |form| {
        let name = Case { form, ..*case }.to_string();
        before.iter().find(|record| record.case == name)
    };
    match case.form {
        Form::Weights | Form::Weights4 => {
            let peer = measured(Form::Plain)?.peer.clone()?;
            Some(Peer { does: "weights of 16 bits", error: None, ..peer })
        }
        Form::Blocks => {
            let time = measured(Form::Scaled)?.time?;
            Some(Peer { name: "gable".into(), does: "scales of rows and columns", proposals: 1, time, error: None })
        }
        _ => None,
    }
}

fn bytes_of(ports: &[Signature]) -> f64 {
    let bytes =
        |port: &Signature| port.dtype.bytes() as f64 * port.shape.iter().map(|&size| size as f64).product::<f64>();
    ports.iter().map(bytes).sum()
}

/// The kernels of the one target that was compiled for, in the order of the steps.
fn kernels(artifact: &Artifact) -> Vec<KernelUsed> {
    let plans = artifact.plans.iter();
    plans
        .flat_map(|plan| plan.steps.iter().filter_map(|step| step.launch()).map(|launch| &plan.kernels[launch.kernel]))
        .map(|kernel| KernelUsed { name: kernel.name.clone(), class: kernel.class.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(types: &[&str], filter: &str) -> Request {
        Request {
            types: types.iter().map(ToString::to_string).collect(),
            filter: Some(filter.into()),
            ..Request::default()
        }
    }

    #[test]
    fn problems_are_chosen_by_types_and_name() {
        let names = |request| chosen(&request).map(|cases| cases.iter().map(ToString::to_string).collect::<Vec<_>>());
        let both = ["fp8/scaled/8192x8192x8192", "fp8/blocks/8192x8192x8192"];
        assert_eq!(names(request(&["fp8"], "8192x8192x8192")).expect("there are two"), both);
        let decode = names(request(&["fp8w"], "/1x")).expect("there are some");
        assert_eq!(decode.len(), 4);
        let error = names(request(&["int3"], "")).expect_err("there are none").to_string();
        assert_eq!(error, "the suite has no types `int3`; it has bf16, fp4w, fp8, fp8w");
        assert!(names(request(&[], "7x7x7")).is_err());
    }

    #[test]
    fn what_a_product_needs_counts_with_the_kernel_that_multiplies() {
        let case = Case { form: Form::Plain, sizes: [4095, 4097, 4093], batch: 1 };
        let options = Options::new().target(crate::Target::Sm90a).assemble(crate::Assemble::Never).by_rule();
        let module = case.module().expect("the graph is right");
        let compiled = options.optimize_module("odd", module).expect("it compiles");
        let plan = &compiled.artifact().plans[0];
        let class = |step: &gable_artifact::Step| step.launch().map(|launch| plan.kernels[launch.kernel].class.clone());
        let steps: Vec<_> = plan.steps.iter().map(|step| (class(step), step.cost.flops.len())).collect();
        let [copies @ .., product] = &steps[..] else { panic!("there are steps") };
        assert_eq!(product, &(Some("wgmma".to_string()), 1));
        assert!(copies.len() == 2 && copies.iter().all(|copy| copy == &(Some("none".to_string()), 0)), "{copies:?}");
    }

    /// Each is of a problem of the suite, and names a schedule that is written for it.
    #[test]
    fn every_bundled_record_chooses_for_a_problem_of_the_suite() {
        let records = crate::records::Records::bundled().expect("they can be read");
        let options = Options::new().target(crate::Target::Sm90a).assemble(crate::Assemble::Never);
        let mut unused: std::collections::BTreeMap<String, String> =
            records.iter().map(|record| (record.region.clone(), record.schedule.clone())).collect();
        assert_eq!(unused.len(), records.iter().count(), "one record for each region");
        for case in case::cases() {
            let module = case.module().expect("the graph is right");
            let compiled = options.optimize_module("case", module).unwrap_or_else(|error| panic!("{case}: {error}"));
            for (option, schedule) in &compiled.artifact().provenance.options {
                let region = option.strip_prefix("schedule sm_90a ").and_then(|region| unused.remove(region));
                assert!(region.is_none_or(|recorded| recorded == *schedule), "{case}: {schedule}");
            }
        }
        assert_eq!(unused.into_keys().collect::<Vec<_>>(), Vec::<String>::new());
        assert!(records.check(&[crate::Target::Sm90a], None).is_ok(), "of this version");
    }

    #[test]
    fn weights_of_8_bits_are_held_against_those_of_16() {
        let case = Case { form: Form::Weights, sizes: [1, 6144, 4096], batch: 1 };
        assert_eq!(similar_peer(&case, &[]), None);
        let time = Spread::of(vec![3.0, 1.0, 2.0]);
        let peer = Peer { name: "cublaslt".into(), does: "all", proposals: 3, time, error: Some(0.0) };
        let record = Record {
            case: "bf16/plain/1x6144x4096".into(),
            sizes: case.sizes,
            batch: 1,
            flops: case.flops(),
            bytes: 1.0,
            kernels: Vec::new(),
            error: 0.0,
            time: Some(time),
            bound_s: 1.0,
            bound: "memory",
            peer: Some(peer),
            ratio: Some(1.0),
            clocks: None,
        };
        let found = similar_peer(&case, &[record]).expect("it was measured before");
        assert_eq!((found.does, found.time.median_s), ("weights of 16 bits", 2.0));
    }
}
