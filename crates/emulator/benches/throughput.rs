//! Thread-instructions a second, with happens-before checked and not: arithmetic in a loop, a copy, a tree through shared memory,
//! lanes that take different branches. The goal: 100 million a second on 2 cores, and at most ten times slower when checked.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gable_emulator::{GlobalMemory, Kernel, Launch, Module, Options, Target};

const HEAD: &str = ".version 8.0\n.target sm_90a\n.address_size 64\n";

/// Threads of a CTA.
const BLOCK: u32 = 256;

/// CTAs, enough for every core.
const GRID: u32 = 32;

/// 16 instructions a round, none of them memory.
const ARITHMETIC: &str = "
.visible .entry k(.param .u64 from, .param .u64 to)
{
    .reg .pred %p;
    .reg .b32 %r<8>;
    .reg .f32 %f<12>;
    mov.u32 %r0, %tid.x;
    cvt.rn.f32.u32 %f0, %r0;
    mov.f32 %f1, 0f3F000000;
    mov.f32 %f2, 0f3F800000;
    mov.u32 %r1, 0;
LOOP:
    fma.rn.f32 %f3, %f0, %f1, %f2;
    fma.rn.f32 %f4, %f3, %f1, %f2;
    fma.rn.f32 %f5, %f4, %f1, %f2;
    fma.rn.f32 %f6, %f5, %f1, %f2;
    add.f32 %f7, %f3, %f4;
    add.f32 %f8, %f5, %f6;
    mul.f32 %f9, %f7, %f1;
    max.f32 %f0, %f8, %f9;
    add.s32 %r2, %r0, %r1;
    xor.b32 %r3, %r2, %r0;
    shl.b32 %r4, %r3, 3;
    and.b32 %r5, %r4, 1023;
    mad.lo.s32 %r6, %r5, 5, %r2;
    add.s32 %r1, %r1, 1;
    setp.lt.u32 %p, %r1, 200;
    @%p bra LOOP;
    ret;
}";

/// Each thread copies 16 bytes 16 times.
const COPY: &str = "
.visible .entry k(.param .u64 from, .param .u64 to)
{
    .reg .pred %p;
    .reg .b32 %r<12>;
    .reg .b64 %rd<8>;
    ld.param.u64 %rd0, [from];
    ld.param.u64 %rd1, [to];
    mov.u32 %r0, %ctaid.x;
    mov.u32 %r1, %tid.x;
    mad.lo.u32 %r2, %r0, 4096, %r1;
    mul.wide.u32 %rd2, %r2, 16;
    add.s64 %rd0, %rd0, %rd2;
    add.s64 %rd1, %rd1, %rd2;
    mov.u32 %r3, 0;
LOOP:
    ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%rd0];
    st.global.v4.u32 [%rd1], {%r4, %r5, %r6, %r7};
    add.s64 %rd0, %rd0, 4096;
    add.s64 %rd1, %rd1, 4096;
    add.s32 %r3, %r3, 1;
    setp.lt.u32 %p, %r3, 16;
    @%p bra LOOP;
    ret;
}";

/// Sums of a CTA in shared memory, a barrier between any two steps.
const TREE: &str = "
.visible .entry k(.param .u64 from, .param .u64 to)
{
    .reg .pred %p;
    .reg .b32 %r<12>;
    .shared .align 4 .b8 sums[1024];
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, sums;
    shl.b32 %r2, %r0, 2;
    add.u32 %r1, %r1, %r2;
    mov.u32 %r3, 0;
LOOP:
    st.shared.u32 [%r1], %r0;
    bar.sync 0;
    mov.u32 %r4, 128;
HALF:
    setp.ge.u32 %p, %r0, %r4;
    @%p bra NEXT;
    shl.b32 %r5, %r4, 2;
    add.u32 %r6, %r1, %r5;
    ld.shared.u32 %r7, [%r6];
    ld.shared.u32 %r8, [%r1];
    add.u32 %r8, %r8, %r7;
    st.shared.u32 [%r1], %r8;
NEXT:
    bar.sync 0;
    shr.u32 %r4, %r4, 1;
    setp.gt.u32 %p, %r4, 0;
    @%p bra HALF;
    add.u32 %r3, %r3, 1;
    setp.lt.u32 %p, %r3, 8;
    @%p bra LOOP;
    ret;
}";

/// Each lane counts down a number of its own, halving or tripling it.
const BRANCHES: &str = "
.visible .entry k(.param .u64 from, .param .u64 to)
{
    .reg .pred %p;
    .reg .b32 %r<8>;
    mov.u32 %r0, %tid.x;
    add.u32 %r0, %r0, 27;
LOOP:
    and.b32 %r1, %r0, 1;
    setp.eq.u32 %p, %r1, 0;
    @%p bra EVEN;
    mad.lo.u32 %r0, %r0, 3, 1;
    bra NEXT;
EVEN:
    shr.u32 %r0, %r0, 1;
NEXT:
    setp.gt.u32 %p, %r0, 1;
    @%p bra LOOP;
    ret;
}";

/// Runs a kernel over two fresh buffers; thread-instructions.
fn run(kernel: &Kernel, races: bool) -> u64 {
    let bytes = GRID * 4096 * 16;
    let mut memory = GlobalMemory::new();
    let from = memory.allocate_with("from", &vec![1; bytes as usize]);
    let to = memory.allocate("to", bytes.into());
    let params = [from, to].iter().flat_map(|address| address.to_le_bytes()).collect();
    let launch = Launch { grid: [GRID, 1, 1], block: [BLOCK, 1, 1], cluster: [1; 3], shared_bytes: 0, params };
    let options = Options { races, ..Options::default() };
    let outcome = kernel.run(&mut memory, &launch, &options).expect("the launch is possible");
    assert_eq!(outcome.hazards, []);
    outcome.thread_instructions
}

fn throughput(criterion: &mut Criterion) {
    let kernels = [("arithmetic", ARITHMETIC), ("copy", COPY), ("tree", TREE), ("branches", BRANCHES)];
    for (name, text) in kernels {
        let module = Module::parse(&format!("{HEAD}{text}")).expect("the text is right");
        let kernel = module.kernel("k", Target::Sm90a).expect("the kernel is right");
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(run(&kernel, true))).sample_size(10);
        group.bench_function("checked", |bench| bench.iter(|| run(&kernel, true)));
        group.bench_function("unchecked", |bench| bench.iter(|| run(&kernel, false)));
        group.finish();
    }
}

criterion_group!(benches, throughput);
criterion_main!(benches);
