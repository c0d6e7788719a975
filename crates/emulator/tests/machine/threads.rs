//! The number of the host's threads changes nothing: not the results, not the counts, not what chance decides in a random schedule.

use gable_emulator::{GlobalMemory, Launch, Module, Options, Schedule, Target};

/// Each CTA sums its threads' numbers in shared memory, in a loop whose length differs from CTA to CTA.
const TEXT: &str = "
.version 8.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 to)
{
    .reg .pred %p;
    .reg .b32 %r<12>;
    .reg .b64 %rd<4>;
    .shared .align 4 .b8 sums[256];
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, sums;
    shl.b32 %r3, %r0, 2;
    add.u32 %r4, %r2, %r3;
    xor.b32 %r5, %r3, 128;
    add.u32 %r5, %r2, %r5;
    mov.u32 %r6, %r0;
    mov.u32 %r7, 0;
LOOP:
    st.shared.u32 [%r4], %r6;
    bar.sync 0;
    ld.shared.u32 %r8, [%r5];
    bar.sync 0;
    mad.lo.u32 %r6, %r8, 3, %r6;
    add.u32 %r7, %r7, 1;
    setp.le.u32 %p, %r7, %r1;
    @%p bra LOOP;
    ld.param.u64 %rd0, [to];
    mad.lo.u32 %r9, %r1, 64, %r0;
    mul.wide.u32 %rd1, %r9, 4;
    add.s64 %rd2, %rd0, %rd1;
    st.global.u32 [%rd2], %r6;
    ret;
}";

#[test]
fn the_number_of_host_threads_changes_nothing() {
    let module = Module::parse(TEXT).expect("the text is right");
    let kernel = module.kernel("k", Target::Sm90a).expect("the kernel is right");
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
        pool.install(|| {
            let mut memory = GlobalMemory::new();
            let to = memory.allocate("to", 40 * 64 * 4);
            let launch = Launch {
                grid: [40, 1, 1],
                block: [64, 1, 1],
                cluster: [1; 3],
                shared_bytes: 0,
                params: to.to_le_bytes().to_vec(),
            };
            let options = Options { schedule: Schedule::Random(9), profile: true, ..Options::default() };
            let outcome = kernel.run(&mut memory, &launch, &options).expect("the launch is possible");
            assert_eq!(outcome.hazards, []);
            (memory.contents(to), outcome.instructions, outcome.thread_instructions, outcome.profile)
        })
    };
    let one = run(1);
    assert!(one.0.as_ref().is_some_and(|(_, whole)| *whole));
    for threads in [2, 7] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}
