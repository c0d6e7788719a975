//! Forms of tcgen05 that the modules of the notes only spell: each fills shared and tensor memory, runs a few instructions, and shows
//! all of tensor memory's first columns.

use gable_emulator::HazardKind;
use gable_ptx::Target;

use crate::launch::*;

/// Where the bytes of a test lie in shared memory.
const SHARED: u64 = 1024;

/// Tensor memory of 128 lanes before and after.
struct Scene {
    target: Target,
    shared: Vec<u8>,
    /// Columns that are filled before and shown after; a multiple of 32.
    columns: usize,
    before: Vec<u32>,
    /// What thread 0 runs: `%t` is the address of tensor memory, `%i` an instruction descriptor, `%a`, `%b` shared-memory descriptors.
    text: String,
    instruction: u32,
    a: u64,
    b: u64,
}

/// A descriptor of K-major rows of 16-byte pieces without swizzle: groups of 8 rows follow each other, then the next 16 bytes of k.
fn plain(offset: usize, rows: usize) -> u64 {
    let start = (SHARED + offset as u64) >> 4;
    let leading = (rows as u64 * 16) >> 4;
    start | leading << 16 | (128 >> 4) << 32 | 1 << 46
}

/// Rows of bytes as `plain` describes them.
fn tiled(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut tile = vec![0; rows.len() * rows[0].len()];
    for (r, row) in rows.iter().enumerate() {
        for (k, byte) in row.iter().enumerate() {
            tile[k / 16 * rows.len() * 16 + r / 8 * 128 + r % 8 * 16 + k % 16] = *byte;
        }
    }
    tile
}

fn rows_of(bytes: &[u8], count: usize) -> Vec<Vec<u8>> {
    bytes.chunks_exact(bytes.len() / count).map(<[u8]>::to_vec).collect()
}

impl Scene {
    fn new(columns: usize) -> Self {
        let before = (0..128 * columns as u32).map(|i| 0x4000_0000 | i).collect();
        let (target, shared, text) = (Target::Sm100a, Vec::new(), String::new());
        Scene { target, shared, columns, before, text, instruction: 0, a: 0, b: 0 }
    }

    /// Puts a matrix into shared memory; gives its descriptor.
    fn add(&mut self, rows: &[Vec<u8>]) -> u64 {
        let offset = self.shared.len();
        self.shared.extend(tiled(rows));
        self.shared.resize(self.shared.len().next_multiple_of(1024), 0);
        plain(offset, rows.len())
    }

    fn set(&mut self, lane: usize, column: usize, value: u32) {
        self.before[lane * self.columns + column] = value;
    }

    fn text(&self) -> String {
        let registers = (0..32).map(|i| format!("%d{i}")).collect::<Vec<_>>().join(", ");
        let (bytes, stride) = (self.shared.len().max(2048), self.columns * 4);
        let version = if self.target == Target::Sm103a { "8.8" } else { "8.7" };
        let mut fill = String::new();
        let mut show = String::new();
        for chunk in 0..self.columns / 32 {
            fill += &format!("    add.u32 %r3, %q, {};\n", chunk * 32);
            show += &format!(
                "    add.u32 %r3, %q, {};\n    tcgen05.ld.sync.aligned.32x32b.x32.b32 {{{registers}}}, [%r3];\n    tcgen05.wait::ld.sync.aligned;\n",
                chunk * 32
            );
            for i in 0..32 {
                let at = chunk * 128 + i * 4;
                fill += &format!("    ld.global.b32 %d{i}, [%rd2+{at}];\n");
                show += &format!("    st.global.b32 [%rd3+{at}], %d{i};\n");
            }
            fill += &format!("    tcgen05.st.sync.aligned.32x32b.x32.b32 [%r3], {{{registers}}};\n");
        }
        format!(
            ".version {version}
.target {target}
.address_size 64
.visible .entry k(.param .u64 p_shared, .param .u64 p_before, .param .u64 p_after, .param .u32 p_i, .param .u64 p_a, .param .u64 p_b)
.maxntid 128, 1, 1
{{
    .reg .pred %p<4>, %no, %yes;
    .reg .b32 %r<16>, %t, %q, %i, %zero;
    .reg .b32 %d<32>;
    .reg .b64 %rd<12>, %a, %b;
    .shared .align 1024 .b8 data[{bytes}];
    .shared .align 8 .b64 done;
    .shared .align 4 .b32 place;
    mov.u32 %r0, %tid.x;
    shr.u32 %r1, %r0, 5;
    mov.u32 %zero, 0;
    setp.ne.u32 %no, %zero, 0;
    setp.eq.u32 %yes, %zero, 0;
    setp.ne.u32 %p0, %r0, 0;
    setp.ne.u32 %p1, %r1, 0;
    ld.param.u64 %rd0, [p_shared];
    ld.param.u64 %rd2, [p_before];
    ld.param.u64 %rd3, [p_after];
    ld.param.u32 %i, [p_i];
    ld.param.u64 %a, [p_a];
    ld.param.u64 %b, [p_b];
    mul.wide.u32 %rd4, %r0, {stride};
    add.s64 %rd2, %rd2, %rd4;
    add.s64 %rd3, %rd3, %rd4;
    mov.u32 %r5, done;
    @%p0 bra COPY;
    mbarrier.init.shared::cta.b64 [%r5], 1;
COPY:
    shl.b32 %r6, %r0, 4;
    mov.u32 %r7, data;
    add.u32 %r7, %r7, %r6;
    cvt.u64.u32 %rd5, %r6;
    add.s64 %rd0, %rd0, %rd5;
NEXT:
    ld.global.v4.b32 {{%d0, %d1, %d2, %d3}}, [%rd0];
    st.shared.v4.b32 [%r7], {{%d0, %d1, %d2, %d3}};
    add.s64 %rd0, %rd0, 2048;
    add.u32 %r7, %r7, 2048;
    add.u32 %r6, %r6, 2048;
    setp.lt.u32 %p2, %r6, {bytes};
    @%p2 bra NEXT;
    fence.proxy.async.shared::cta;
    @%p1 bra NOALLOC;
    mov.u32 %r8, place;
    tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [%r8], 512;
NOALLOC:
    tcgen05.fence::before_thread_sync;
    bar.sync 0;
    tcgen05.fence::after_thread_sync;
    ld.shared.b32 %t, [place];
    shl.b32 %q, %r1, 21;
    add.u32 %q, %q, %t;
{fill}    tcgen05.wait::st.sync.aligned;
    tcgen05.fence::before_thread_sync;
    bar.sync 0;
    tcgen05.fence::after_thread_sync;
    @%p0 bra WAIT;
{text}    tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [%r5];
WAIT:
    mbarrier.try_wait.parity.shared::cta.b64 %p3, [%r5], 0;
    @!%p3 bra WAIT;
    bar.warp.sync 0xffffffff;
    tcgen05.fence::after_thread_sync;
{show}    tcgen05.fence::before_thread_sync;
    bar.sync 0;
    @%p1 bra DONE;
    tcgen05.dealloc.cta_group::1.sync.aligned.b32 %t, 512;
DONE:
    ret;
}}",
            target = self.target.name(),
            text = self.text,
        )
    }

    fn given(&self) -> Vec<Given> {
        let mut shared = self.shared.clone();
        shared.resize(shared.len().max(2048), 0);
        let before = self.before.iter().flat_map(|word| word.to_le_bytes()).collect();
        vec![
            Given::In(shared),
            Given::In(before),
            Given::Out(self.before.len() as u64 * 4),
            Given::U32(self.instruction),
            Given::U64(self.a),
            Given::U64(self.b),
        ]
    }

    fn run(&self) -> Run {
        Run::new(&self.text(), self.target, 128)
    }

    /// Tensor memory after, which must be the same in all schedules.
    fn after(&self) -> Vec<u32> {
        let bytes = self.run().clean(&self.given());
        bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    /// Checks that D of m rows of n is where `place` says and that nothing else has changed.
    fn check(&self, d: &[i32], n: usize, place: impl Fn(usize, usize) -> (usize, usize)) {
        let mut expected = self.before.clone();
        for (i, value) in d.iter().enumerate() {
            let (lane, column) = place(i / n, i % n);
            expected[lane * self.columns + column] = (*value as f32).to_bits();
        }
        self.check_words(&expected);
    }

    fn check_words(&self, expected: &[u32]) {
        let after = self.after();
        for (i, (found, wanted)) in after.iter().zip(expected).enumerate() {
            let (lane, column) = (i / self.columns, i % self.columns);
            assert_eq!(found, wanted, "lane {lane}, column {column}: {found:#x}, expected {wanted:#x}");
        }
    }
}

/// The bf16 into f32 descriptor.
fn bf16_into_f32(m: u32, n: u32) -> u32 {
    0x490 | n >> 3 << 17 | m >> 4 << 24
}

fn halves(words: &[u8]) -> impl Iterator<Item = u32> + '_ {
    words.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

#[test]
fn a_may_be_in_tensor_memory() {
    let (m, n, k) = (128, 64, 16);
    let (a, b) = (small(m * k, 1, -8, 8), small(n * k, 2, -8, 8));
    let mut scene = Scene::new(96);
    scene.b = scene.add(&rows_of(&bf16(&b), n));
    for (i, word) in halves(&bf16(&a)).enumerate() {
        scene.set(i / 8, 64 + i % 8, word);
    }
    scene.instruction = bf16_into_f32(128, 64);
    scene.text = "add.u32 %r9, %t, 64;\ntcgen05.mma.cta_group::1.kind::f16 [%t], [%r9], %b, %i, %no;\n".to_owned();
    scene.check(&product(&a, &b, k), n, |row, column| (row, column));
}

#[test]
fn sixty_four_rows_take_half_of_each_quarter() {
    let (m, n, k) = (64, 40, 16);
    let (a, b) = (small(m * k, 1, -8, 8), small(n * k, 2, -8, 8));
    for half in [0, 16] {
        let mut scene = Scene::new(64);
        scene.a = scene.add(&rows_of(&bf16(&a), m));
        scene.b = scene.add(&rows_of(&bf16(&b), n));
        scene.instruction = bf16_into_f32(64, n as u32);
        scene.text =
            format!("add.u32 %r9, %t, {};\ntcgen05.mma.cta_group::1.kind::f16 [%r9], %a, %b, %i, %no;\n", half << 16);
        scene.check(&product(&a, &b, k), n, |row, column| (row / 16 * 32 + half + row % 16, column));
    }
}

#[test]
fn weight_stationary_multiplies_split_n_over_lanes() {
    let (n, k) = (128, 16);
    let b = small(n * k, 2, -8, 8);
    for m in [32usize, 64, 128] {
        let a = small(m * k, 1, -8, 8);
        let mut scene = Scene::new(128);
        scene.a = scene.add(&rows_of(&bf16(&a), m));
        scene.b = scene.add(&rows_of(&bf16(&b), n));
        scene.instruction = bf16_into_f32(m as u32, n as u32);
        scene.text = "tcgen05.mma.ws.cta_group::1.kind::f16 [%t], %a, %b, %i, %no;\n".to_owned();
        let width = n * m / 128;
        scene.check(&product(&a, &b, k), n, |row, column| (column / width * m + row, column % width));
    }
}

#[test]
fn masked_columns_count_as_zero_and_may_hold_anything() {
    let (m, n, k) = (128, 64, 16);
    let (a, b) = (small(m * k, 1, -8, 8), small(n * k, 2, -8, 8));
    // Three zeros after four columns that are used.
    let mask = 1u64 << 39 | 2 << 40 | 3 << 48;
    let masked: Vec<i32> = b.iter().enumerate().map(|(i, v)| if i / k % 7 >= 4 { 0 } else { *v }).collect();
    let mut scene = Scene::new(64);
    scene.a = scene.add(&rows_of(&bf16(&a), m));
    scene.b = scene.add(&rows_of(&bf16(&b), n));
    scene.instruction = bf16_into_f32(128, 64);
    scene.text = format!("mov.b64 %rd6, {mask};\ntcgen05.mma.ws.cta_group::1.kind::f16 [%t], %a, %b, %i, %no, %rd6;\n");
    scene.check(&product(&a, &masked, k), n, |row, column| (row, column));
}

#[test]
fn lanes_can_be_disabled_and_d_scaled() {
    let (m, n, k) = (128, 32, 16);
    let (a, b, d) = (small(m * k, 1, -8, 8), small(n * k, 2, -8, 8), small(m * n, 3, -8, 8));
    let mut scene = Scene::new(32);
    scene.a = scene.add(&rows_of(&bf16(&a), m));
    scene.b = scene.add(&rows_of(&bf16(&b), n));
    for (i, value) in d.iter().enumerate() {
        scene.set(i / n, i % n, ((8 * value) as f32).to_bits());
    }
    scene.instruction = bf16_into_f32(128, 32);
    scene.text =
        "mov.u32 %r9, 0x80000001;\ntcgen05.mma.cta_group::1.kind::f16 [%t], %a, %b, %i, {%zero, %r9, %zero, %zero}, %yes, 3;\n"
            .to_owned();
    let sums: Vec<i32> = product(&a, &b, k).iter().zip(&d).map(|(p, d)| p + d).collect();
    let mut expected: Vec<u32> = sums.iter().map(|&value| (value as f32).to_bits()).collect();
    for lane in [32, 63] {
        expected[lane * n..(lane + 1) * n].copy_from_slice(&scene.before[lane * n..(lane + 1) * n]);
    }
    scene.check_words(&expected);
}

/// 16 codes of so many bits in 16 bytes, with the gap full of ones.
fn padded(codes: &[u8], bits: usize) -> Vec<u8> {
    codes
        .chunks_exact(16)
        .flat_map(|codes| {
            let packed: u128 = codes.iter().enumerate().map(|(i, code)| u128::from(*code) << (bits * i)).sum();
            (packed | u128::MAX << (16 * bits)).to_le_bytes()
        })
        .collect()
}

#[test]
fn four_and_six_bit_operands_are_padded_in_shared_memory() {
    let (m, n, k) = (128, 32, 32);
    let (a, b) = (small(m * k, 1, -2, 2), small(n * k, 2, -2, 2));
    let sign = |v: &i32, bit: u8| if *v < 0 { 1 << bit } else { 0 };
    // e2m1: 1 is 2, 2 is 4. e3m2: 1 is 0x0c, 2 is 0x10.
    let fours: Vec<u8> = a.iter().map(|v| [0, 2, 4][v.unsigned_abs() as usize] | sign(v, 3)).collect();
    let sixes: Vec<u8> = b.iter().map(|v| [0, 0x0c, 0x10][v.unsigned_abs() as usize] | sign(v, 5)).collect();
    let mut scene = Scene::new(32);
    scene.a = scene.add(&rows_of(&padded(&fours, 4), m));
    scene.b = scene.add(&rows_of(&padded(&sixes, 6), n));
    scene.instruction = 0x10 | 5 << 7 | 4 << 10 | 4 << 17 | 8 << 24;
    scene.text = "tcgen05.mma.cta_group::1.kind::f8f6f4 [%t], %a, %b, %i, %no;\n".to_owned();
    scene.check(&product(&a, &b, k), n, |row, column| (row, column));
}

#[test]
fn sparse_rows_are_expanded_by_their_metadata() {
    let (m, n, k) = (128, 32, 32);
    let (stored, b) = (small(m * k / 2, 1, -8, 8), small(n * k, 2, -8, 8));
    let codes = [0b0100u32, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110];
    let mut scene = Scene::new(64);
    let mut a = vec![0; m * k];
    let mut metadata = vec![0u32; 128];
    for row in 0..m {
        for chunk in 0..8 {
            let code = codes[(row * 5 + chunk * 3) % 6];
            a[row * k + chunk * 4 + (code & 3) as usize] = stored[row * 16 + chunk * 2];
            a[row * k + chunk * 4 + (code >> 2) as usize] = stored[row * 16 + chunk * 2 + 1];
            // Lanes of 16 rows hold rows r and r + 8 in halves of a cell, chunks 0-3 and 4-7 in lanes 8 apart.
            let lane = row / 16 * 16 + chunk / 4 * 8 + row % 8;
            metadata[lane] |= code << (16 * (row / 8 % 2) + 4 * (chunk % 4));
        }
    }
    scene.a = scene.add(&rows_of(&bf16(&stored), m));
    scene.b = scene.add(&rows_of(&bf16(&b), n));
    for (lane, word) in metadata.iter().enumerate() {
        scene.set(lane, 33, *word);
    }
    // Sparse, selector 1: the second of two columns.
    scene.instruction = bf16_into_f32(128, 32) | 0b101;
    scene.text =
        "add.u32 %r9, %t, 32;\ntcgen05.mma.sp.cta_group::1.kind::f16 [%t], %a, %b, [%r9], %i, %no;\n".to_owned();
    scene.check(&product(&a, &b, k), n, |row, column| (row, column));
    for lane in 0..4 {
        scene.set(lane, 33, 0);
    }
    scene.run().finds(&scene.given(), HazardKind::Descriptor, "sparsity metadata");
}

#[test]
fn k_of_96_takes_six_scales_of_a_row() {
    let (m, n, k) = (128, 32, 96);
    let (a, b) = (small(m * k, 1, -2, 2), small(n * k, 2, -2, 2));
    let (sa, sb) = (small(m * 6, 3, 1, 2), small(n * 6, 4, 1, 2));
    let mut scene = Scene::new(96);
    scene.target = Target::Sm103a;
    scene.a = scene.add(&rows_of(&e2m1(&a), m));
    scene.b = scene.add(&rows_of(&e2m1(&b), n));
    for (scales, rows, first) in [(&sa, m, 32), (&sb, n, 64)] {
        for row in 0..rows {
            let code = |i: usize| u32::from([0x38u8, 0x40][scales[row * 6 + i] as usize - 1]);
            for lane in (0..4).map(|quarter| quarter * 32 + row % 32) {
                scene.set(lane, first + row / 32, (0..4).map(|i| code(i) << (8 * i)).sum());
                scene.set(lane, first + 4 + row / 32, code(4) | code(5) << 8);
            }
        }
    }
    scene.instruction = 1 << 31 | 8 << 24 | 4 << 17 | 0x480;
    scene.text = "add.u32 %r9, %t, 32;\nadd.u32 %r10, %t, 64;\n\
        tcgen05.mma.cta_group::1.kind::mxf4nvf4.block_scale.block16 [%t], %a, %b, %i, [%r9], [%r10], %no;\n"
        .to_owned();
    let apply = |m: &[i32], s: &[i32]| -> Vec<i32> {
        m.iter().enumerate().map(|(i, v)| v * s[i / k * 6 + i % k / 16]).collect()
    };
    scene.check(&product(&apply(&a, &sa), &apply(&b, &sb), k), n, |row, column| (row, column));
    // A copy of a scale that differs from the others.
    scene.set(96 + 5, 32, 0);
    scene.run().finds(&scene.given(), HazardKind::TensorMemory, "must hold the same");
}

#[test]
fn copies_put_rows_in_the_lanes_of_their_shape() {
    let words: Vec<u32> = (0..128 * 8).map(|i| 0x1000_0000 | (i * 7)).collect();
    type Lanes = fn(usize) -> Vec<usize>;
    let shapes: [(&str, usize, usize, Lanes); 6] = [
        ("128x256b", 128, 8, |row| vec![row]),
        ("4x256b", 4, 8, |row| vec![32 * row]),
        ("128x128b", 128, 4, |row| vec![row]),
        ("64x128b.warpx2::02_13", 64, 4, |row| vec![row, row + 64]),
        ("64x128b.warpx2::01_23", 64, 4, |row| vec![row / 32 * 64 + row % 32, row / 32 * 64 + row % 32 + 32]),
        ("32x128b.warpx4", 32, 4, |row| (0..4).map(|quarter| 32 * quarter + row).collect()),
    ];
    for (shape, rows, columns, lanes) in shapes {
        let mut scene = Scene::new(32);
        let row = |r: usize| words[r * columns..(r + 1) * columns].iter().flat_map(|w| w.to_le_bytes()).collect();
        let padded_rows: Vec<Vec<u8>> = (0..rows.max(8)).map(|r| row(r % rows)).collect();
        scene.a = scene.add(&padded_rows);
        scene.text = format!("add.u32 %r9, %t, 16;\ntcgen05.cp.cta_group::1.{shape} [%r9], %a;\n");
        let mut expected = scene.before.clone();
        for r in 0..rows {
            for lane in lanes(r) {
                let cells = lane * 32 + 16..lane * 32 + 16 + columns;
                expected[cells].copy_from_slice(&words[r * columns..(r + 1) * columns]);
            }
        }
        scene.check_words(&expected);
    }
}

#[test]
fn a_shift_moves_the_rows_of_a_quarter() {
    let mut scene = Scene::new(32);
    let lane = 32 << 16;
    scene.text = format!("add.u32 %r9, %t, {};\ntcgen05.shift.cta_group::1.down [%r9];\n", lane + 8);
    let mut expected = scene.before.clone();
    for lane in 32..63 {
        for column in 8..16 {
            expected[lane * 32 + column] = scene.before[(lane + 1) * 32 + column];
        }
    }
    scene.check_words(&expected);
    scene.text = "add.u32 %r9, %t, 0x100000;\ntcgen05.shift.cta_group::1.down [%r9];\n".to_owned();
    scene.run().finds(&scene.given(), HazardKind::TensorMemory, "multiple of 32");
}

#[test]
fn multiplies_are_in_order_and_what_no_commit_tells_is_not_over() {
    let mut scene = Scene::new(32);
    let (a, b) = (small(128 * 16, 1, -8, 8), small(32 * 16, 2, -8, 8));
    scene.a = scene.add(&rows_of(&bf16(&a), 128));
    scene.b = scene.add(&rows_of(&bf16(&b), 32));
    scene.instruction = bf16_into_f32(128, 32);
    let multiply = "tcgen05.mma.cta_group::1.kind::f16 [%t], %a, %b, %i, %no;\n";
    scene.text = multiply.repeat(2);
    scene.check(&product(&a, &b, 16), 32, |row, column| (row, column));
    // A commit before the multiply says nothing of it.
    let early = "tcgen05.commit.cta_group::1.mbarrier::arrive::one.shared::cluster.b64 [%r5];\n";
    scene.text = format!("{early}{multiply}@%yes bra WAIT;\n");
    scene.run().finds(&scene.given(), HazardKind::NotWaitedFor, "TensorMma");
}
