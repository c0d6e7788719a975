//! Runs a kernel on the CPU, as plainly as possible: what the kernel tests compare with when there is no GPU.
//!
//! Warps run one after the other up to a barrier, forward before one and backward before the next; lanes of a warp run in
//! lock step, the lowest instruction first where they diverge. Asynchronous copies land as late as the waits allow, so that
//! a missing wait shows; shared memory starts as NaN. Accesses outside a buffer, or not aligned to their size, panic. There
//! is no timing, and a race is seen only where it changes the result in one of these orders.

mod meaning;

use gable_ptx::meaning::{Access, Element, Meaning, Shuffle, SpecialRegister, Vote};
use gable_ptx::{Base, Class, DYNAMIC_SHARED, Inst, Kernel, Operand, Place, Reg, ScalarType, Space, Statement, Value};
use half::{bf16, f16};
use std::collections::BTreeMap;

const LANES: usize = 32;

/// Global memory: buffer `i` starts at address `(i + 1) << 36`.
pub struct Memory {
    pub buffers: Vec<Vec<u8>>,
}

struct Copy {
    to: usize,
    from: u64,
    read: usize,
    bytes: usize,
}

struct Thread {
    registers: Vec<u64>,
    pc: usize,
    done: bool,
    open: Vec<Copy>,
    groups: Vec<Vec<Copy>>,
}

struct Machine<'a> {
    code: Vec<&'a Inst>,
    labels: BTreeMap<String, usize>,
    first: [usize; Class::ALL.len()],
    arrays: BTreeMap<String, u64>,
    shared: Vec<u8>,
    memory: &'a mut Memory,
    params: BTreeMap<String, u64>,
    block: u32,
    cta: [u32; 2],
    grid: [u32; 2],
}

/// Runs `grid` CTAs of `block` threads. Parameter `i` is the address of buffer `i`.
pub fn run(kernel: &Kernel, grid: [u32; 2], block: u32, shared_bytes: usize, memory: &mut Memory) {
    let mut code = Vec::new();
    let mut labels = BTreeMap::new();
    for statement in &kernel.body {
        match statement {
            Statement::Inst(inst) => code.push(inst),
            Statement::Label(label) => drop(labels.insert(label.to_string(), code.len())),
            Statement::Comment(_) | Statement::NoUnroll => {}
        }
    }
    let mut first = [0; Class::ALL.len()];
    let mut count = 0;
    for class in Class::ALL {
        first[class as usize] = count;
        count += kernel.register_count(class) as usize;
    }
    let params = kernel.params.iter().enumerate().map(|(i, p)| (p.name.to_string(), (i as u64 + 1) << 36)).collect();
    let mut arrays = BTreeMap::new();
    let mut end = 0;
    for array in &kernel.shared {
        let start = u64::from(end).next_multiple_of(array.align.into());
        arrays.insert(array.name.to_string(), start);
        end = start as u32 + array.bytes;
    }
    let start = u64::from(end).next_multiple_of(kernel.dynamic_shared_align.unwrap_or(1).into());
    arrays.insert(DYNAMIC_SHARED.to_string(), start);
    let shared_bytes = start as usize + shared_bytes;
    let mut machine =
        Machine { code, labels, first, arrays, shared: Vec::new(), memory, params, block, cta: [0; 2], grid };
    for cta in (0..grid[1]).flat_map(|y| (0..grid[0]).map(move |x| [x, y])) {
        machine.cta = cta;
        machine.shared = vec![0xff; shared_bytes];
        machine.run_cta(count);
    }
}

fn float(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn bits(value: f32) -> u64 {
    u64::from(value.to_bits())
}

impl Machine<'_> {
    fn run_cta(&mut self, registers: usize) {
        let warps = self.block as usize / LANES;
        let thread = || Thread { registers: vec![0; registers], pc: 0, done: false, open: vec![], groups: vec![] };
        let mut threads: Vec<Vec<Thread>> = (0..warps).map(|_| (0..LANES).map(|_| thread()).collect()).collect();
        let mut backward = false;
        while threads.iter().flatten().any(|t| !t.done) {
            for i in 0..warps {
                let warp = if backward { warps - 1 - i } else { i };
                while self.step(warp, &mut threads[warp]) {}
            }
            backward = !backward;
        }
    }

    /// One instruction of a warp. False where it ended or met a barrier, which it has passed then: every warp runs up to
    /// the barrier before any runs on.
    fn step(&mut self, warp: usize, lanes: &mut [Thread]) -> bool {
        let Some(pc) = lanes.iter().filter(|t| !t.done).map(|t| t.pc).min() else { return false };
        let inst = self.code[pc];
        let at: Vec<usize> = (0..LANES).filter(|&l| !lanes[l].done && lanes[l].pc == pc).collect();
        let runs = |m: &Self, t: &Thread| inst.guard.is_none_or(|g| (t.registers[m.slot(g.pred)] != 0) != g.negated);
        let active: Vec<usize> = at.iter().copied().filter(|&l| runs(self, &lanes[l])).collect();
        for &lane in &at {
            lanes[lane].pc += 1;
        }
        match inst.op.form().meaning {
            Meaning::Branch { .. } => {
                let Operand::Label(label) = &inst.src[0] else { unreachable!() };
                for &lane in &active {
                    lanes[lane].pc = self.labels[&label.to_string()];
                }
            }
            Meaning::Exit => active.iter().for_each(|&lane| lanes[lane].done = true),
            Meaning::BarrierSync { .. } => {
                assert_eq!(active.len(), LANES, "a barrier of the CTA is met by whole warps");
                return false;
            }
            Meaning::WarpBarrier => assert_eq!(active.len(), LANES, "a barrier of the warp is met by all lanes"),
            Meaning::LoadMatrix { count, transposed } => {
                assert_eq!(active.len(), LANES, "ldmatrix is run by whole warps");
                self.load_matrix(inst, lanes, count.into(), transposed);
            }
            Meaning::MatrixMultiply(shape) => {
                assert_eq!(active.len(), LANES, "mma is run by whole warps");
                self.multiply(inst, lanes, shape.a);
            }
            Meaning::Vote(Vote::Ballot) => {
                assert_eq!(active.len(), LANES, "votes are run by whole warps");
                let votes = lanes.iter().map(|t| self.value(t, &inst.src[0]));
                let ballot = votes.zip(0..).fold(0, |ballot, (vote, lane)| ballot | vote << lane);
                for thread in lanes.iter_mut() {
                    thread.registers[self.slot(inst.dst[0])] = ballot;
                }
            }
            Meaning::Shuffle { mode, .. } => {
                assert_eq!(active.len(), LANES, "shuffles are run by whole warps");
                let values: Vec<u64> = lanes.iter().map(|t| self.value(t, &inst.src[0])).collect();
                for (lane, thread) in lanes.iter_mut().enumerate() {
                    let by = self.value(thread, &inst.src[1]) as usize;
                    let from = match mode {
                        Shuffle::Butterfly => lane ^ by,
                        Shuffle::Down => (lane + by).min(LANES - 1),
                        Shuffle::Up => lane.saturating_sub(by),
                        Shuffle::Index => by,
                    };
                    thread.registers[self.slot(inst.dst[0])] = values[from];
                }
            }
            _ => active.iter().for_each(|&lane| self.execute(inst, warp * LANES + lane, &mut lanes[lane])),
        }
        true
    }

    fn slot(&self, reg: Reg) -> usize {
        self.first[reg.class as usize] + reg.index as usize
    }

    fn constant_or(&self, thread: &Thread, value: Value) -> u64 {
        match value {
            Value::Reg(reg) => thread.registers[self.slot(reg)],
            Value::Int(int) => int as u64,
            Value::F32(bits) => bits.into(),
            Value::F64(bits) => bits,
        }
    }

    fn value(&self, thread: &Thread, operand: &Operand) -> u64 {
        match operand {
            Operand::Value(value) => self.constant_or(thread, *value),
            other => panic!("`{other}` is not a value"),
        }
    }

    /// Where an array of shared memory starts; the one that the launch sizes comes after the others.
    fn array(&self, name: &str) -> u64 {
        self.arrays.get(name).copied().unwrap_or_else(|| panic!("`{name}` is no shared array"))
    }

    fn values(&self, thread: &Thread, operand: &Operand) -> Vec<u64> {
        match operand {
            Operand::Vector(values) => values.iter().map(|v| self.constant_or(thread, *v)).collect(),
            single => vec![self.value(thread, single)],
        }
    }

    fn address(&self, thread: &Thread, operand: &Operand) -> u64 {
        let Operand::Address(Place { base, offset }) = operand else { panic!("`{operand}` is not an address") };
        let base = match base {
            Base::Reg(reg) => thread.registers[self.slot(*reg)],
            Base::Symbol(name) => self.array(&name.to_string()),
        };
        base.wrapping_add_signed((*offset).into())
    }

    fn bytes_at(&mut self, space: Space, address: u64, bytes: usize) -> &mut [u8] {
        assert_eq!(address % bytes as u64, 0, "{bytes} bytes at {address:#x} are not aligned");
        match space {
            Space::Global => {
                let (buffer, offset) = ((address >> 36) as usize, (address & ((1 << 36) - 1)) as usize);
                let buffer = buffer.checked_sub(1).and_then(|b| self.memory.buffers.get_mut(b));
                let buffer = buffer.unwrap_or_else(|| panic!("{address:#x} is in no buffer"));
                let size = buffer.len();
                buffer.get_mut(offset..offset + bytes).unwrap_or_else(|| panic!("{bytes} bytes at {offset} of {size}"))
            }
            _ => {
                let size = self.shared.len();
                let at = (address & 0xffff_ffff) as usize;
                self.shared.get_mut(at..at + bytes).unwrap_or_else(|| panic!("{bytes} shared bytes at {at} of {size}"))
            }
        }
    }

    fn execute(&mut self, inst: &Inst, number: usize, thread: &mut Thread) {
        let meaning = inst.op.form().meaning;
        let source = |m: &Self, t: &Thread, i: usize| m.value(t, &inst.src[i]);
        let results: Vec<u64> = match meaning {
            Meaning::Load(Access { space: Space::Param, .. }) => {
                let Operand::Address(Place { base: Base::Symbol(name), .. }) = &inst.src[0] else { unreachable!() };
                vec![self.params[&name.to_string()]]
            }
            Meaning::Load(access) => {
                let address = self.address(thread, &inst.src[0]);
                let width = access.ty.bytes() as usize;
                let bytes = self.bytes_at(access.space, address, width * usize::from(access.count)).to_vec();
                bytes.chunks(width).map(|b| extend(b, access.ty)).collect()
            }
            Meaning::Store(access) => {
                let address = self.address(thread, &inst.src[0]);
                let width = access.ty.bytes() as usize;
                let values = self.values(thread, &inst.src[1]);
                let to = self.bytes_at(access.space, address, width * values.len());
                for (to, value) in to.chunks_mut(width).zip(values) {
                    to.copy_from_slice(&value.to_le_bytes()[..width]);
                }
                return;
            }
            Meaning::AsyncCopy { zero_fill, .. } => {
                let to = self.address(thread, &inst.src[0]) as usize;
                let from = self.address(thread, &inst.src[1]);
                let bytes = source(self, thread, 2) as usize;
                let read = if zero_fill { source(self, thread, 3) as u32 as usize } else { bytes };
                assert!(
                    from.is_multiple_of(bytes as u64) && to.is_multiple_of(bytes) && read <= bytes,
                    "cp.async {from:#x} {to:#x} {read}"
                );
                thread.open.push(Copy { to, from, read, bytes });
                return;
            }
            Meaning::AsyncCommit => return thread.groups.push(std::mem::take(&mut thread.open)),
            Meaning::AsyncWait => {
                let pending = source(self, thread, 0) as usize;
                let ready = thread.groups.len().saturating_sub(pending);
                for copy in thread.groups.drain(..ready).flatten() {
                    let mut data = vec![0; copy.bytes];
                    if copy.read > 0 {
                        data[..copy.read]
                            .copy_from_slice(&self.bytes_at(Space::Global, copy.from, copy.bytes)[..copy.read]);
                    }
                    self.shared[copy.to..copy.to + copy.bytes].copy_from_slice(&data);
                }
                return;
            }
            Meaning::Special(register) => vec![match register {
                SpecialRegister::TidX => number as u64,
                SpecialRegister::NtidX => self.block.into(),
                SpecialRegister::CtaidX => self.cta[0].into(),
                SpecialRegister::CtaidY => self.cta[1].into(),
                SpecialRegister::NctaidX => self.grid[0].into(),
                SpecialRegister::NctaidY => self.grid[1].into(),
                SpecialRegister::LaneId => (number % LANES) as u64,
                other => panic!("special register {other:?}"),
            }],
            Meaning::AddressOf(_) => {
                let Operand::Symbol(name) = &inst.src[0] else { unreachable!() };
                vec![self.array(&name.to_string())]
            }
            Meaning::Unpack(ty) => {
                let (wide, half) = (source(self, thread, 0), ty.bytes() * 4);
                vec![wide & ((1 << half) - 1), wide >> half]
            }
            Meaning::Pack(ty) => {
                let (halves, half) = (self.values(thread, &inst.src[0]), ty.bytes() * 4);
                vec![halves[0] & ((1 << half) - 1) | halves[1] << half]
            }
            Meaning::Convert(convert) => {
                let values: Vec<u64> = (0..inst.src.len()).map(|i| source(self, thread, i)).collect();
                vec![meaning::convert(convert, &values)]
            }
            _ => {
                let values: Vec<u64> = (0..inst.src.len()).map(|i| source(self, thread, i)).collect();
                vec![meaning::compute(meaning, &values)]
            }
        };
        for (&reg, value) in inst.dst.iter().zip(results) {
            let width = reg.class.bits();
            let slot = self.slot(reg);
            thread.registers[slot] = if width >= 64 { value } else { value & ((1 << width) - 1) };
        }
    }

    fn load_matrix(&mut self, inst: &Inst, lanes: &mut [Thread], count: usize, transposed: bool) {
        let addresses: Vec<u64> = lanes.iter().map(|t| self.address(t, &inst.src[0])).collect();
        for matrix in 0..count {
            let mut rows = Vec::new();
            for row in 0..8 {
                let bytes = self.bytes_at(Space::Shared, addresses[matrix * 8 + row], 16);
                rows.push(bytes.chunks(2).map(|b| u64::from(u16::from_le_bytes([b[0], b[1]]))).collect::<Vec<_>>());
            }
            for (lane, thread) in lanes.iter_mut().enumerate() {
                let (major, minor) = (lane / 4, lane % 4 * 2);
                let pick = |i: usize| if transposed { rows[minor + i][major] } else { rows[major][minor + i] };
                thread.registers[self.slot(inst.dst[matrix])] = pick(0) | pick(1) << 16;
            }
        }
    }

    /// Fragments as the manual draws them, 32 bits of consecutive k per register; sums in f64, rounded once.
    fn multiply(&mut self, inst: &Inst, lanes: &mut [Thread], element: Element) {
        let decode = |word: u64| -> Vec<f64> {
            match element {
                Element::F16 => [word, word >> 16].iter().map(|&h| f16::from_bits(h as u16).to_f64()).collect(),
                Element::Bf16 => [word, word >> 16].iter().map(|&h| bf16::from_bits(h as u16).to_f64()).collect(),
                Element::Tf32 => vec![f64::from(f32::from_bits(word as u32 & !0x1fff))],
                other => panic!("mma of {other:?}"),
            }
        };
        let read = |i: usize| -> Vec<Vec<u64>> { lanes.iter().map(|t| self.values(t, &inst.src[i])).collect() };
        let (a, b, c) = (read(0), read(1), read(2));
        let row_of_a = |row: usize| -> Vec<f64> {
            let words = (0..8).map(|q| a[row % 8 * 4 + q % 4][row / 8 + q / 4 * 2]);
            words.flat_map(decode).collect()
        };
        let column_of_b = |n: usize| -> Vec<f64> { (0..8).flat_map(|q| decode(b[n * 4 + q % 4][q / 4])).collect() };
        let (rows, columns): (Vec<_>, Vec<_>) = ((0..16).map(row_of_a).collect(), (0..8).map(column_of_b).collect());
        for (lane, thread) in lanes.iter_mut().enumerate() {
            for i in 0..4 {
                let (row, column) = (lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2);
                let products: f64 = rows[row].iter().zip(&columns[column]).map(|(x, y)| x * y).sum();
                thread.registers[self.slot(inst.dst[i])] = bits((f64::from(float(c[lane][i])) + products) as f32);
            }
        }
    }
}

fn extend(bytes: &[u8], ty: ScalarType) -> u64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let value = u64::from_le_bytes(wide);
    match ty {
        ScalarType::S8 => value as i8 as u64,
        ScalarType::S16 => value as i16 as u64,
        _ => value,
    }
}
