//! Runs a kernel in all three schedules.

use gable_emulator::{GlobalMemory, HazardKind, Launch, Module, Options, Outcome, Schedule};
use gable_ptx::Target;

/// A kernel with its launch.
pub struct Run {
    text: String,
    entry: String,
    grid: [u32; 3],
    block: [u32; 3],
    most: u64,
}

/// A value for a parameter.
pub enum Given {
    /// A buffer with bytes; its address is passed.
    In(Vec<u8>),
    /// A buffer of so many bytes that nobody wrote; its address is passed.
    Out(u64),
    /// The bytes themselves.
    Value(Vec<u8>),
}

const SCHEDULES: [Schedule; 3] = [Schedule::Eager, Schedule::Lazy, Schedule::Random(7)];

impl Run {
    pub fn new(text: &str, entry: &str) -> Self {
        Run { text: text.to_owned(), entry: entry.to_owned(), grid: [1; 3], block: [32, 1, 1], most: 1 << 24 }
    }

    pub fn grid(mut self, x: u32) -> Self {
        self.grid[0] = x;
        self
    }

    pub fn block(mut self, x: u32) -> Self {
        self.block[0] = x;
        self
    }

    pub fn most(mut self, instructions: u64) -> Self {
        self.most = instructions;
        self
    }

    fn once(&self, given: &[Given], schedule: Schedule) -> (Outcome, Vec<Vec<u8>>) {
        let module = Module::parse(&self.text).unwrap_or_else(|error| panic!("{error}"));
        let kernel = module.kernel(&self.entry, Target::Sm90a).unwrap_or_else(|error| panic!("{error}"));
        let mut memory = GlobalMemory::new();
        let mut outputs = Vec::new();
        let mut values = Vec::new();
        for given in given {
            values.push(match given {
                Given::In(data) => memory.allocate_with("input", data).to_le_bytes().to_vec(),
                Given::Out(bytes) => {
                    let address = memory.allocate("output", *bytes);
                    outputs.push(address);
                    address.to_le_bytes().to_vec()
                }
                Given::Value(bytes) => bytes.clone(),
            });
        }
        let params = kernel.pack(&values).unwrap_or_else(|error| panic!("{error}"));
        let launch = Launch { grid: self.grid, block: self.block, cluster: [1; 3], shared_bytes: 0, params };
        let options = Options { schedule, max_instructions: self.most, ..Options::default() };
        let outcome = kernel.run(&mut memory, &launch, &options).unwrap_or_else(|error| panic!("{error}"));
        let contents = outputs.iter().map(|address| memory.contents(*address).map_or(Vec::new(), |(data, _)| data));
        (outcome, contents.collect())
    }

    /// The outputs, the same in every schedule, of a run without hazards.
    pub fn clean(&self, given: &[Given]) -> Vec<Vec<u8>> {
        let mut first = None;
        for schedule in SCHEDULES {
            let (outcome, outputs) = self.once(given, schedule);
            if let Some(hazard) = outcome.hazards.first() {
                panic!("{schedule:?}: {hazard}");
            }
            assert_eq!(*first.get_or_insert_with(|| outputs.clone()), outputs, "{schedule:?}");
        }
        first.unwrap_or_default()
    }

    /// Checks that every schedule finds a hazard of the kind first; gives its message.
    pub fn finds(&self, given: &[Given], kind: HazardKind) -> String {
        let mut message = String::new();
        for schedule in SCHEDULES {
            let (outcome, _) = self.once(given, schedule);
            let Some(hazard) = outcome.hazards.first() else { panic!("{schedule:?}: ran clean, expected {kind:?}") };
            assert_eq!(hazard.kind, kind, "{schedule:?}: {hazard}");
            message = hazard.to_string();
        }
        message
    }
}
