//! Kernels in the emulator: on every target, in every schedule, with every check. A hazard is a failure of the test, as is a
//! byte of a result that nobody wrote.

use gable_emulator::{GlobalMemory, Kernel, Launch, Module, Options, Schedule};
use gable_ptx::Target;

/// The targets that there are machines for.
pub const TARGETS: [Target; 5] = [Target::Sm90a, Target::Sm100a, Target::Sm103a, Target::Sm120a, Target::Sm121a];

/// All orders in which asynchronous work and warps may run.
pub const SCHEDULES: [Schedule; 3] = [Schedule::Eager, Schedule::Lazy, Schedule::Random(1)];

/// The printed kernel, read by the emulator.
pub fn decode(kernel: &gable_ptx::Kernel, target: Target) -> Kernel {
    let text = gable_ptx::Module::new(target, vec![kernel.clone()]).to_string();
    let module = Module::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    module.kernel(&kernel.name, target).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Memory of the kernels of one run.
pub struct Machine {
    /// All allocations.
    pub memory: GlobalMemory,
    options: Options,
}

impl Machine {
    /// An empty one.
    pub fn new(schedule: Schedule) -> Machine {
        Machine { memory: GlobalMemory::new(), options: Options { schedule, ..Options::default() } }
    }

    /// Bytes that kernels may only read; their address.
    pub fn input(&mut self, name: &str, bytes: &[u8]) -> u64 {
        let address = self.memory.allocate_with(name, bytes);
        self.memory.protect(address);
        address
    }

    /// Bytes that nobody wrote; their address.
    pub fn output(&mut self, name: &str, bytes: usize) -> u64 {
        self.memory.allocate(name, bytes as u64)
    }

    /// Runs a kernel.
    pub fn run(&mut self, kernel: &Kernel, launch: &Launch) -> Result<(), String> {
        let outcome = kernel.run(&mut self.memory, launch, &self.options).map_err(|error| error.to_string())?;
        let hazards: Vec<String> = outcome.hazards.iter().map(ToString::to_string).collect();
        if hazards.is_empty() { Ok(()) } else { Err(format!("{}: {}", self.options.schedule, hazards.join("\n"))) }
    }

    /// What kernels wrote, all of it.
    pub fn bytes(&self, address: u64) -> Result<Vec<u8>, String> {
        let (bytes, whole) = self.memory.contents(address).expect("an allocation begins there");
        let unwritten = || self.memory.first_unwritten(address, bytes.len() as u64);
        if whole { Ok(bytes) } else { Err(format!("not all was written: {:?}", unwritten())) }
    }
}
