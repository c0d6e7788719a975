//! Runs a kernel with buffers and tensor maps, in all three schedules.

use gable_emulator::tensor_map::encode::{Tensor, Traversal, encode_tiled};
use gable_emulator::tensor_map::map::{DataType, Fill, Interleave, Swizzle, TensorMap};
use gable_emulator::{GlobalMemory, HazardKind, Launch, Module, Options, Outcome, Schedule};
use gable_ptx::Target;

/// A buffer of the launch.
pub enum Buffer {
    /// With content.
    Holds(Vec<u8>),
    /// Of so many bytes that nobody wrote.
    Empty(u64),
}

/// What makes a tensor map of the address of its buffer.
pub type MakeMap = Box<dyn Fn(u64) -> TensorMap>;

/// A value for a parameter.
pub enum Param {
    /// The address of a buffer.
    Address(usize),
    /// A tensor map over a buffer.
    Map(usize, MakeMap),
    /// 16 bits.
    U16(u16),
    /// 32 bits.
    U32(u32),
}

/// A kernel with its launch.
pub struct Run {
    pub text: String,
    pub entry: String,
    pub target: Target,
    pub grid: u32,
    pub block: u32,
    pub cluster: u32,
    pub buffers: Vec<Buffer>,
    pub params: Vec<Param>,
}

pub const SCHEDULES: [Schedule; 4] = [Schedule::Eager, Schedule::Lazy, Schedule::Random(7), Schedule::Random(1234)];

impl Run {
    pub fn new(text: &str, entry: &str) -> Self {
        Run {
            text: text.to_owned(),
            entry: entry.to_owned(),
            target: Target::Sm90a,
            grid: 1,
            block: 128,
            cluster: 1,
            buffers: Vec::new(),
            params: Vec::new(),
        }
    }

    /// Runs in one schedule; gives the buffers as they are afterwards.
    pub fn once(&self, schedule: Schedule) -> (Outcome, Vec<Vec<u8>>) {
        let module = Module::parse(&self.text).unwrap_or_else(|error| panic!("{error}"));
        let kernel = module.kernel(&self.entry, self.target).unwrap_or_else(|error| panic!("{error}"));
        let mut memory = GlobalMemory::new();
        let addresses: Vec<u64> = self
            .buffers
            .iter()
            .map(|buffer| match buffer {
                Buffer::Holds(data) => memory.allocate_with("input", data),
                Buffer::Empty(bytes) => memory.allocate("output", *bytes),
            })
            .collect();
        let values: Vec<Vec<u8>> = self
            .params
            .iter()
            .map(|param| match param {
                Param::Address(buffer) => addresses[*buffer].to_le_bytes().to_vec(),
                Param::Map(buffer, make) => make(addresses[*buffer]).to_bytes().to_vec(),
                Param::U16(value) => value.to_le_bytes().to_vec(),
                Param::U32(value) => value.to_le_bytes().to_vec(),
            })
            .collect();
        let params = kernel.pack(&values).unwrap_or_else(|error| panic!("{error}"));
        let launch = Launch {
            grid: [self.grid, 1, 1],
            block: [self.block, 1, 1],
            cluster: [self.cluster, 1, 1],
            shared_bytes: 0,
            params,
        };
        let options = Options { schedule, max_instructions: 1 << 24, ..Options::default() };
        let outcome = kernel.run(&mut memory, &launch, &options).unwrap_or_else(|error| panic!("{error}"));
        let contents = addresses.iter().map(|address| memory.contents(*address).expect("it was allocated").0);
        (outcome, contents.collect())
    }

    /// The buffers after a run without hazards, the same in every schedule.
    pub fn clean(&self) -> Vec<Vec<u8>> {
        let mut first = None;
        for schedule in SCHEDULES {
            let (outcome, buffers) = self.once(schedule);
            if let Some(hazard) = outcome.hazards.first() {
                panic!("{schedule:?}: {hazard}");
            }
            assert!(*first.get_or_insert_with(|| buffers.clone()) == buffers, "{schedule:?} gives other results");
        }
        first.expect("there is a schedule")
    }

    /// Checks that every schedule finds a hazard of one of the kinds: which comes first depends on who runs first.
    pub fn finds_one_of(&self, kinds: &[HazardKind]) {
        for schedule in SCHEDULES {
            let (outcome, _) = self.once(schedule);
            let found: Vec<HazardKind> = outcome.hazards.iter().map(|hazard| hazard.kind).collect();
            assert!(
                found.iter().any(|kind| kinds.contains(kind)),
                "{schedule:?}: {found:?}, expected one of {kinds:?}"
            );
        }
    }

    /// Checks that every schedule finds a hazard of the kind first; gives its message in the first.
    pub fn finds(&self, kind: HazardKind) -> String {
        let mut message = None;
        for schedule in SCHEDULES {
            let (outcome, _) = self.once(schedule);
            let Some(hazard) = outcome.hazards.first() else { panic!("{schedule:?}: ran clean, expected {kind:?}") };
            assert_eq!(hazard.kind, kind, "{schedule:?}: {hazard}");
            message.get_or_insert(hazard.message.clone());
        }
        message.expect("there is a schedule")
    }
}

/// A map of boxes over a dense tensor of two dimensions.
pub fn dense(data_type: DataType, dims: [u64; 2], box_dims: [u32; 2], swizzle: Swizzle) -> MakeMap {
    Box::new(move |address| {
        let stride = data_type.bytes(dims[0]);
        let tensor = Tensor { data_type, address, dims: &dims, strides: &[stride] };
        let (interleave, fill) = (Interleave::None, Fill::Zeros);
        let traversal = Traversal { element_strides: &[1, 1], interleave, swizzle, fill };
        encode_tiled(&tensor, &box_dims, &traversal).expect("a valid map")
    })
}
