//! What a launch asks for, and what comes of it.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use crate::hazard::Hazard;
use crate::memory::GlobalMemory;
use crate::order::GlobalOrder;
use crate::profile::Profile;
use crate::program::Kernel;

/// When asynchronous operations finish, and in which order warps run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Schedule {
    /// Operations finish as they are issued; warps run in order.
    #[default]
    Eager,
    /// Operations finish only when nothing else can go on, the last issued first where no order is due; warps run in reverse.
    Lazy,
    /// Both by chance, from a seed.
    Random(u64),
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Eager => f.write_str("eager"),
            Schedule::Lazy => f.write_str("lazy"),
            Schedule::Random(seed) => write!(f, "random:{seed}"),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    /// `eager`, `lazy` or `random:SEED`.
    fn from_str(text: &str) -> Result<Schedule, String> {
        match text {
            "eager" => Ok(Schedule::Eager),
            "lazy" => Ok(Schedule::Lazy),
            _ => text
                .strip_prefix("random:")
                .and_then(|seed| seed.parse().ok())
                .map(Schedule::Random)
                .ok_or_else(|| format!("unknown schedule `{text}`, expected `eager`, `lazy` or `random:SEED`")),
        }
    }
}

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The schedule.
    pub schedule: Schedule,
    /// Whether accesses are checked for happens-before.
    pub races: bool,
    /// Whether instructions and traffic are counted.
    pub profile: bool,
    /// Warp instructions that one cluster may run.
    pub max_instructions: u64,
    /// Hazards after which a launch stops.
    pub max_hazards: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { schedule: Schedule::Eager, races: true, profile: false, max_instructions: 1 << 32, max_hazards: 16 }
    }
}

/// A grid of CTAs with its parameters.
#[derive(Clone, Debug)]
pub struct Launch {
    /// CTAs.
    pub grid: [u32; 3],
    /// Threads of a CTA.
    pub block: [u32; 3],
    /// CTAs of a cluster.
    pub cluster: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
    /// The parameter block, as `Kernel::params` lays it out.
    pub params: Vec<u8>,
}

/// The launch is not possible on the machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LaunchError(pub String);

/// What a launch did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What is wrong with the kernel, in the order of the CTAs; empty where it ran clean.
    pub hazards: Vec<Hazard>,
    /// Counts, where asked for.
    pub profile: Option<Profile>,
    /// What `vprintf` wrote.
    pub printed: String,
    /// Warp instructions that were run.
    pub instructions: u64,
    /// Thread instructions that were run.
    pub thread_instructions: u64,
}

/// What all clusters of a launch share.
pub(crate) struct Grid<'l> {
    pub kernel: &'l Kernel,
    pub launch: &'l Launch,
    pub options: &'l Options,
    pub memory: &'l GlobalMemory,
    pub order: Option<Arc<GlobalOrder>>,
    /// Address of the parameter block.
    pub param_base: u64,
    /// Clusters of the grid in each direction.
    pub clusters: [u32; 3],
    /// Clusters that have not started, for `clusterlaunchcontrol`.
    pub waiting: Mutex<std::ops::Range<u64>>,
    /// What `%globaltimer` gives next, so that it is monotonic.
    pub timer: AtomicU64,
}

impl Grid<'_> {
    /// Coordinates of a CTA, by its cluster and its rank there.
    pub fn cta_index(&self, cluster: u64, rank: u32) -> [u32; 3] {
        let index = self.cluster_index(cluster);
        let [sx, sy, sz] = self.launch.cluster;
        let place = [rank % sx, rank / sx % sy, rank / (sx * sy)];
        [0, 1, 2].map(|i| index[i] * [sx, sy, sz][i] + place[i])
    }

    /// Coordinates of a cluster.
    pub fn cluster_index(&self, number: u64) -> [u32; 3] {
        let [x, y, _] = self.clusters.map(u64::from);
        [number % x, number / x % y, number / (x * y)].map(|i| i as u32)
    }
}
