//! A warp: registers of 32 lanes, and the groups of lanes that run together.

use crate::memory::SharedMemory;
use crate::program::{Address, Condition, Destination, Kernel, Source};
use crate::scalar::Register;

use super::{LANES, lanes};

/// Why a group does not go on by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// What the instruction needs to know when it runs again.
    pub token: u64,
    /// What it waits for, for reports.
    pub on: String,
    /// Whether it may give up waiting and say so: `try_wait`, `test_wait`.
    pub may_time_out: bool,
    /// `Cluster::progress` when it was tried last.
    pub tried: u64,
}

/// Lanes at one instruction.
#[derive(Clone, Debug)]
pub struct Group {
    /// Index of the next instruction.
    pub pc: u32,
    /// Its lanes.
    pub mask: u32,
    /// Why it waits, if it does.
    pub parked: Option<Parked>,
    /// It may stop waiting with a negative answer, once.
    pub timed_out: bool,
    /// It waits for other lanes of its warp before a collective instruction.
    pub converging: bool,
}

/// Lanes that meet at a `bar.warp.sync`.
#[derive(Clone, Copy, Debug)]
pub struct Meeting {
    /// Who is expected.
    pub members: u32,
    /// Who has come.
    pub arrived: u32,
    /// Who has gone on.
    pub left: u32,
    /// Whether all have come.
    pub over: bool,
}

/// A return address of one lane.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Where to go on.
    pub pc: u32,
    /// Which function was called: its label.
    pub function: u32,
}

/// A warp.
pub struct Warp {
    /// Rank of its CTA in the cluster.
    pub cta: usize,
    /// Its number in the CTA.
    pub number: u32,
    /// Lanes that exist: the last warp of a CTA may be partial.
    pub present: u32,
    /// Lanes that have exited.
    pub exited: u32,
    /// Values of registers.
    pub registers: Vec<Register>,
    /// Predicates, a bit per lane.
    pub predicates: Vec<u32>,
    /// Carry of the extended-precision instructions, a bit per lane.
    pub carry: u32,
    /// Local memory of each lane; empty where the kernel has none.
    pub local: Vec<SharedMemory>,
    /// Return addresses of each lane.
    pub calls: Vec<Vec<Frame>>,
    /// The function that each lane returned from last.
    pub returned: [u32; LANES],
    /// Lanes that go on, by what they do next. Disjoint.
    pub groups: Vec<Group>,
    /// Meetings at `bar.warp.sync` that are not over.
    pub meetings: Vec<Meeting>,
    /// The phase of the cluster barrier that each lane waits for.
    pub cluster_phase: [u64; LANES],
    /// What `setmaxnreg` set.
    pub max_registers: Option<u32>,
    /// Groups of `cp.async` copies of each lane.
    pub copies: Vec<crate::exec::copy::LaneCopies>,
    /// Waits for mbarriers, by instruction, that have not been successful since they gave up.
    pub vain_waits: Vec<u32>,
    /// Groups of bulk copies of each lane.
    pub bulk: Vec<crate::exec::bulk_group::LaneBulk>,
    /// Multiplies of the warp as part of a warpgroup.
    pub multiplies: crate::exec::wgmma::WarpMultiplies,
    /// What the warpgroup that begins with this warp has multiplied.
    pub warpgroup: crate::exec::wgmma::WarpgroupLog,
    /// Operations on tensor memory.
    pub tensor: crate::exec::tcgen05::WarpTensor,
    /// Instructions that the group furthest behind ran since another had a turn.
    pub apart: u64,
    /// Registers that an asynchronous operation of this warp still reads or writes, and why.
    pub in_flight: Vec<(u32, &'static str)>,
    /// The first use of such a register before the wait: the instruction, the register, and why.
    pub early_use: Option<(u32, u32, &'static str)>,
}

impl Warp {
    pub(super) fn new(kernel: &Kernel, cta: usize, number: u32, present: u32) -> Self {
        let local = match kernel.local_bytes {
            0 => Vec::new(),
            bytes => vec![SharedMemory::new("local", 0, bytes); LANES],
        };
        Warp {
            cta,
            number,
            present,
            exited: 0,
            registers: vec![[0; LANES]; kernel.registers as usize],
            predicates: vec![0; kernel.predicates as usize],
            carry: 0,
            local,
            calls: vec![Vec::new(); LANES],
            returned: [0; LANES],
            groups: vec![Group { pc: 0, mask: present, parked: None, timed_out: false, converging: false }],
            meetings: Vec::new(),
            cluster_phase: [0; LANES],
            max_registers: None,
            copies: vec![crate::exec::copy::LaneCopies::default(); LANES],
            vain_waits: Vec::new(),
            bulk: vec![crate::exec::bulk_group::LaneBulk::default(); LANES],
            multiplies: crate::exec::wgmma::WarpMultiplies::default(),
            warpgroup: crate::exec::wgmma::WarpgroupLog::default(),
            tensor: crate::exec::tcgen05::WarpTensor::default(),
            apart: 0,
            in_flight: Vec::new(),
            early_use: None,
        }
    }

    /// Lanes that have not exited.
    pub fn alive(&self) -> u32 {
        self.present & !self.exited
    }

    /// Writes a register in the lanes of a mask, cut to its width.
    pub fn set(&mut self, to: Destination, mask: u32, values: &Register) {
        let Some(index) = to.register else { return };
        let register = &mut self.registers[index as usize];
        let keep = if to.bits >= 64 { u64::MAX } else { (1 << to.bits) - 1 };
        if mask == u32::MAX {
            for lane in 0..LANES {
                register[lane] = values[lane] & keep;
            }
        } else {
            for lane in lanes(mask) {
                register[lane] = values[lane] & keep;
            }
        }
    }

    /// Writes a predicate in the lanes of a mask.
    pub fn set_predicate(&mut self, index: Option<u32>, mask: u32, bits: u32) {
        if let Some(index) = index {
            let predicate = &mut self.predicates[index as usize];
            *predicate = *predicate & !mask | bits & mask;
        }
    }

    /// A predicate, a bit per lane.
    pub fn condition(&self, condition: Condition) -> u32 {
        match condition {
            Condition::Constant(true) => u32::MAX,
            Condition::Constant(false) => 0,
            Condition::Predicate { index, negated } => {
                let bits = self.predicates[index as usize];
                if negated { !bits } else { bits }
            }
        }
    }

    /// The values of a source.
    pub fn source<'a>(&'a self, kernel: &'a Kernel, source: Source) -> &'a Register {
        match source.place() {
            (index, true) => &kernel.constants[index],
            (index, false) => &self.registers[index],
        }
    }

    /// The addresses that an operand gives.
    pub fn addresses(&self, kernel: &Kernel, address: Address) -> Register {
        let mut addresses = *self.source(kernel, address.base);
        if address.offset != 0 {
            addresses.iter_mut().for_each(|a| *a = a.wrapping_add_signed(address.offset));
        }
        addresses
    }
}
