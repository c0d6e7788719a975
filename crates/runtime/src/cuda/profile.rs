//! Measured times of a plan and of its steps.
//!
//! Steps are timed inside graphs: an event before and after each step is a part of the graph, so the device takes the
//! times while the graph runs, and the processor's speed in launching does not show. Every run executes the whole plan
//! in order, so that each step sees the values that it would see in use.

use super::context::Context;
use super::memory::DeviceBuffer;
use super::nvml;
use super::plan::LoadedPlan;
use super::stream::{Event, Graph, RecordPlace, Stream};
use crate::error::{CudaError, RuntimeError};
use crate::timing::{Profile, ProfileOptions, RepeatedTiming, StepTiming, Timing};
use std::sync::Arc;

/// Resolution as the driver's reference gives it for `cuEventElapsedTime`.
const TIMER: &str = "CUDA events recorded by the device, resolution about 0.5 us";
/// Below this, a step is also timed over several runs back to back.
const SHORT_S: f64 = 20e-6;
/// Most runs back to back.
const MAX_RUNS: u32 = 32;
/// How often the cache's size is written to push everything else out of it.
const FLUSH_FACTOR: u64 = 2;

/// Measures the plan, whose inputs are on the device.
pub fn profile(
    context: &Arc<Context>,
    stream: &Stream,
    loaded: &LoadedPlan,
    options: ProfileOptions,
) -> Result<Profile, RuntimeError> {
    let options = ProfileOptions { repetitions: options.repetitions.max(1), ..options };
    let flush_bytes = context.cuda().l2_bytes.saturating_mul(FLUSH_FACTOR).max(1 << 20) as usize;
    let flush_buffer = DeviceBuffer::new(context, flush_bytes, || "overwriting the L2 cache".to_string())?;
    let flush = || stream.fill(flush_buffer.address(), 0x5a5a_5a5a, flush_bytes / 4);
    let bench = Bench { context, stream, options };

    let whole = stream.capture(|| loaded.submit_all(stream))?;
    // The replay before keeps the device busy while the timed one is being launched.
    let total = bench.time_replays(&whole, || stream.replay(&whole))?;
    let total_cold = bench.time_replays(&whole, flush)?;
    let timer_overhead = bench.time_marks(1, |mark| {
        mark.record(0)?;
        mark.record(1)
    })?;

    let steps = loaded.len();
    let in_sequence = bench.time_marks(steps, |mark| {
        mark.record(0)?;
        (0..steps).try_for_each(|step| {
            loaded.submit(stream, step)?;
            mark.record(step + 1)
        })
    })?;
    // Marks come in pairs here: the flush lies between the end of one step and the start of the next.
    let cold = bench.time_marks((2 * steps).saturating_sub(1), |mark| {
        (0..steps).try_for_each(|step| {
            flush()?;
            mark.record(2 * step)?;
            loaded.submit(stream, step)?;
            mark.record(2 * step + 1)
        })
    })?;
    let runs: Vec<u32> =
        in_sequence.iter().enumerate().map(|(step, time)| runs_of(loaded, step, time.median_s)).collect();
    let repeated = bench.time_marks(steps, |mark| {
        mark.record(0)?;
        (0..steps).try_for_each(|step| {
            (0..runs[step]).try_for_each(|_| loaded.submit(stream, step))?;
            mark.record(step + 1)
        })
    })?;
    let step_timing = |step: usize| StepTiming {
        step,
        label: loaded.plan.steps[step].label.clone(),
        kernel: loaded.plan.steps[step].launch().map(|launch| loaded.plan.kernels[launch.kernel].name.clone()),
        in_sequence: in_sequence[step],
        cold: cold[2 * step],
        repeated: (runs[step] > 1)
            .then(|| RepeatedTiming { runs: runs[step], per_run: per_run(repeated[step], runs[step]) }),
    };
    Ok(Profile {
        device: context.info.clone(),
        clocks: nvml::clocks(&context.cuda().uuid),
        options,
        timer: TIMER,
        timer_overhead_s: timer_overhead[0].median_s,
        total,
        total_cold: Some(total_cold),
        steps: (0..steps).map(step_timing).collect(),
    })
}

/// How many runs of a step make its time long enough to measure; 1 when once is enough, or all that is safe: a step
/// that reads what it writes would see other values the second time.
fn runs_of(loaded: &LoadedPlan, step: usize, seconds: f64) -> u32 {
    let step = &loaded.plan.steps[step];
    let reads = step.reads();
    let in_place = step.writes().iter().any(|write| reads.iter().any(|read| read.overlaps(write)));
    if in_place || seconds >= SHORT_S {
        return 1;
    }
    ((SHORT_S / seconds.max(1e-7)).ceil() as u32).clamp(2, MAX_RUNS)
}

fn per_run(time: Timing, runs: u32) -> Timing {
    let share = |seconds: f64| seconds / f64::from(runs);
    Timing {
        n: time.n,
        min_s: share(time.min_s),
        lower_quartile_s: share(time.lower_quartile_s),
        median_s: share(time.median_s),
        upper_quartile_s: share(time.upper_quartile_s),
        max_s: share(time.max_s),
    }
}

struct Bench<'a> {
    context: &'a Arc<Context>,
    stream: &'a Stream,
    options: ProfileOptions,
}

/// Records moments while a graph is captured.
struct Marks<'a> {
    stream: &'a Stream,
    events: &'a [Event],
}

impl Marks<'_> {
    fn record(&self, moment: usize) -> Result<(), CudaError> {
        self.stream.record(&self.events[moment], RecordPlace::Capture)
    }
}

impl Bench<'_> {
    /// Times replays of `graph`; `before` comes right before each.
    fn time_replays(&self, graph: &Graph, before: impl Fn() -> Result<(), CudaError>) -> Result<Timing, RuntimeError> {
        let (start, end) = (Event::new(self.context)?, Event::new(self.context)?);
        self.collect(|| {
            before()?;
            self.stream.record(&start, RecordPlace::Stream)?;
            self.stream.replay(graph)?;
            self.stream.record(&end, RecordPlace::Stream)?;
            self.stream.synchronize()?;
            Ok(vec![start.seconds_until(&end)?])
        })
        .map(|times| times[0])
    }

    /// Captures what `submit` does, which records `intervals + 1` moments in order, and times the intervals between
    /// neighbours over replays of it.
    fn time_marks(
        &self,
        intervals: usize,
        submit: impl FnOnce(&Marks<'_>) -> Result<(), CudaError>,
    ) -> Result<Vec<Timing>, RuntimeError> {
        if intervals == 0 {
            return Ok(Vec::new());
        }
        let events = (0..=intervals).map(|_| Event::new(self.context)).collect::<Result<Vec<_>, _>>()?;
        let graph = self.stream.capture(|| submit(&Marks { stream: self.stream, events: &events }))?;
        self.collect(|| {
            self.stream.replay(&graph)?;
            self.stream.synchronize().map_err(|error| error.during(|| "timing the plan's steps".to_string()))?;
            events.windows(2).map(|pair| pair[0].seconds_until(&pair[1])).collect()
        })
    }

    /// Takes samples, each a list of times, and summarises each position of the lists.
    fn collect(&self, mut sample: impl FnMut() -> Result<Vec<f64>, CudaError>) -> Result<Vec<Timing>, RuntimeError> {
        for _ in 0..self.options.warm_up {
            sample()?;
        }
        let mut columns: Vec<Vec<f64>> = Vec::new();
        for _ in 0..self.options.repetitions {
            let times = sample()?;
            columns.resize(times.len(), Vec::new());
            columns.iter_mut().zip(times).for_each(|(column, time)| column.push(time));
        }
        Ok(columns.into_iter().map(|column| Timing::of(column).expect("there is at least one repetition")).collect())
    }
}
