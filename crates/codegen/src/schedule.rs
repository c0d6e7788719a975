//! Schedules: how the work of a region is cut up. Plain data, chosen by a few rules from sizes and the machine.

use gable_ptx::Target;
use gable_roofline::Machine;
use std::fmt;

/// What was chosen for one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Elements on their own.
    Map {
        /// Neighbouring elements of one thread.
        lanes: u32,
        /// Vectors of one thread, far apart.
        vectors: u32,
        /// Threads of one CTA.
        threads: u32,
    },
    /// Elements on their own, through square tiles of shared memory.
    Transpose {
        /// Elements of a side of the tile.
        side: u32,
        /// Threads of one CTA.
        threads: u32,
    },
    /// Rows in registers.
    Row {
        /// Neighbouring elements of one thread.
        lanes: u32,
        /// Vectors of one thread; with `streamed`, more are read in a loop.
        vectors: u32,
        /// Threads that share a row.
        threads_per_row: u32,
        /// Rows of one CTA.
        rows: u32,
        /// Whether rows are read again for each phase instead of kept in registers.
        streamed: bool,
    },
    /// Reductions.
    Reduction {
        /// Neighbouring elements of one thread.
        lanes: u32,
        /// Whether neighbouring threads take neighbouring reduced elements, or neighbouring results.
        along_reduced: bool,
        /// Threads that share a result.
        threads_per_result: u32,
        /// Results of one CTA.
        results: u32,
        /// Parts of the reduced elements, each of its own CTA.
        parts: u32,
    },
    /// One thread for each result, or vector of results.
    PerThread {
        /// Neighbouring results of one thread.
        lanes: u32,
        /// Threads of one CTA.
        threads: u32,
    },
    /// A contraction's tiles, in its own words.
    Tiles(String),
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Tiles(text) => f.write_str(text),
            other => write!(f, "{other:?}"),
        }
    }
}

/// What schedules ask of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Hardware {
    /// The target.
    pub target: Target,
    /// Streaming multiprocessors.
    pub n_sms: u32,
}

impl Hardware {
    /// The machine that the roofline table gives for a target; of a family, its first.
    pub fn of(target: Target) -> Hardware {
        let n_sms = Machine::for_target(target.name()).map_or(FEWEST_SMS, |machine| machine.multiprocessors);
        Hardware { target, n_sms }
    }
}

/// For targets without a row in the table of machines.
const FEWEST_SMS: u32 = 48;
