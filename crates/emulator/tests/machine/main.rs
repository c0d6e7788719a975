//! The machine itself: branches, barriers, exchange, calls, memory checks, standstills. Every kernel runs in all three schedules.

mod launch;
mod threads;

use gable_emulator::HazardKind;
use launch::{Given, Run};

fn ints(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn words(values: impl IntoIterator<Item = u32>) -> Given {
    Given::In(values.into_iter().flat_map(u32::to_le_bytes).collect())
}

const HEAD: &str = ".version 8.0\n.target sm_90a\n.address_size 64\n";

#[test]
fn threads_add_two_arrays() {
    let body = "
.visible .entry k(.param .u64 a, .param .u64 b, .param .u64 d, .param .u32 n)
{
    .reg .pred %p;
    .reg .b32 %r<8>;
    .reg .b64 %rd<8>;
    mov.u32 %r0, %ctaid.x;
    mov.u32 %r1, %ntid.x;
    mov.u32 %r2, %tid.x;
    mad.lo.s32 %r3, %r0, %r1, %r2;
    ld.param.u32 %r4, [n];
    setp.ge.u32 %p, %r3, %r4;
    @%p bra DONE;
    ld.param.u64 %rd0, [a];
    ld.param.u64 %rd1, [b];
    ld.param.u64 %rd2, [d];
    cvta.to.global.u64 %rd0, %rd0;
    mul.wide.u32 %rd3, %r3, 4;
    add.s64 %rd4, %rd0, %rd3;
    add.s64 %rd5, %rd1, %rd3;
    add.s64 %rd6, %rd2, %rd3;
    ld.global.u32 %r5, [%rd4];
    ld.global.u32 %r6, [%rd5];
    add.u32 %r7, %r5, %r6;
    st.global.u32 [%rd6], %r7;
DONE:
    ret;
}";
    let run = Run::new(&format!("{HEAD}{body}"), "k").grid(4).block(64);
    let given =
        [words(0..200), words((0..200).map(|i| 3 * i)), Given::Out(800), Given::Value(200u32.to_le_bytes().to_vec())];
    let expected: Vec<u32> = (0..200).map(|i| 4 * i).collect();
    assert_eq!(ints(&run.clean(&given)[0]), expected);
}

/// A sum over a CTA through shared memory; `barrier` stands between the two halves.
fn tree(barrier: &str) -> String {
    format!(
        "{HEAD}
.visible .entry k(.param .u64 a, .param .u64 d)
{{
    .reg .pred %p;
    .reg .b32 %r<12>;
    .reg .b64 %rd<6>;
    .shared .align 4 .b8 buffer[1024];
    mov.u32 %r0, %tid.x;
    ld.param.u64 %rd0, [a];
    mul.wide.u32 %rd1, %r0, 4;
    add.s64 %rd2, %rd0, %rd1;
    ld.global.u32 %r1, [%rd2];
    mov.u32 %r2, buffer;
    shl.b32 %r3, %r0, 2;
    add.u32 %r4, %r2, %r3;
    st.shared.u32 [%r4], %r1;
    mov.u32 %r5, 128;
LOOP:
    {barrier}
    setp.ge.u32 %p, %r0, %r5;
    @%p bra SKIP;
    shl.b32 %r6, %r5, 2;
    add.u32 %r7, %r4, %r6;
    ld.shared.u32 %r8, [%r7];
    ld.shared.u32 %r9, [%r4];
    add.u32 %r9, %r9, %r8;
    st.shared.u32 [%r4], %r9;
SKIP:
    shr.u32 %r5, %r5, 1;
    setp.ne.u32 %p, %r5, 0;
    @%p bra LOOP;
    setp.ne.u32 %p, %r0, 0;
    @%p bra DONE;
    ld.param.u64 %rd3, [d];
    ld.shared.u32 %r10, [%r2];
    st.global.u32 [%rd3], %r10;
DONE:
    ret;
}}"
    )
}

#[test]
fn a_tree_sum_with_barriers_is_clean() {
    let run = Run::new(&tree("bar.sync 0;"), "k").block(256);
    assert_eq!(ints(&run.clean(&[words(1..257), Given::Out(4)])[0]), [256 * 257 / 2]);
}

#[test]
fn a_tree_sum_without_barriers_is_a_race() {
    let run = Run::new(&tree(""), "k").block(256);
    run.finds(&[words(1..257), Given::Out(4)], HazardKind::Race);
}

#[test]
fn lanes_that_part_meet_again() {
    let body = "
.visible .entry k(.param .u64 d)
{
    .reg .pred %p;
    .reg .b32 %r<8>;
    .reg .b64 %rd<3>;
    mov.u32 %r0, %laneid;
    mov.u32 %r1, 0;
LOOP:
    add.u32 %r1, %r1, 1;
    setp.lt.u32 %p, %r1, %r0;
    @%p bra LOOP;
    shfl.sync.bfly.b32 %r2, %r1, 1, 31, -1;
    vote.sync.ballot.b32 %r3, %p, -1;
    add.u32 %r4, %r2, %r3;
    ld.param.u64 %rd0, [d];
    mul.wide.u32 %rd1, %r0, 4;
    add.s64 %rd2, %rd0, %rd1;
    st.global.u32 [%rd2], %r4;
    ret;
}";
    let run = Run::new(&format!("{HEAD}{body}"), "k").block(32);
    let expected: Vec<u32> = (0..32u32).map(|lane| (lane ^ 1).max(1)).collect();
    assert_eq!(ints(&run.clean(&[Given::Out(128)])[0]), expected);
}

#[test]
fn functions_are_called_and_branch_tables_taken() {
    let body = "
.func (.param .b32 result) triple(.param .b32 x)
{
    .reg .b32 %r<2>;
    ld.param.b32 %r0, [x];
    mul.lo.u32 %r1, %r0, 3;
    st.param.b32 [result], %r1;
    ret;
}
.visible .entry k(.param .u64 d)
{
    .reg .b32 %r<8>;
    .reg .b64 %rd<3>;
    mov.u32 %r0, %tid.x;
    {
        .param .b32 argument;
        .param .b32 back;
        st.param.b32 [argument], %r0;
        call.uni (back), triple, (argument);
        ld.param.b32 %r1, [back];
    }
    and.b32 %r2, %r0, 3;
    ts: .branchtargets A, B, C, A;
    brx.idx %r2, ts;
A:
    add.u32 %r1, %r1, 100;
    bra END;
B:
    add.u32 %r1, %r1, 200;
    bra END;
C:
    add.u32 %r1, %r1, 300;
END:
    ld.param.u64 %rd0, [d];
    mul.wide.u32 %rd1, %r0, 4;
    add.s64 %rd2, %rd0, %rd1;
    st.global.u32 [%rd2], %r1;
    ret;
}";
    let run = Run::new(&format!("{HEAD}{body}"), "k").block(40);
    let expected: Vec<u32> = (0..40).map(|i| 3 * i + [100, 200, 300, 100][i as usize % 4]).collect();
    assert_eq!(ints(&run.clean(&[Given::Out(160)])[0]), expected);
}

/// One thread, one instruction between declarations and the end.
fn single(declarations: &str, body: &str) -> String {
    format!(
        "{HEAD}
.visible .entry k(.param .u64 d)
{{
    .reg .pred %p<4>;
    .reg .b32 %r<8>;
    .reg .b64 %rd<8>;
    {declarations}
    ld.param.u64 %rd0, [d];
    {body}
    ret;
}}"
    )
}

#[test]
fn what_memory_does_not_allow_is_named() {
    let shared = ".shared .align 8 .b8 s[16];";
    let cases = [
        ("", "ld.global.u32 %r0, [%rd0+16];", HazardKind::OutOfBounds),
        ("", "ld.global.u32 %r0, [%rd0];", HazardKind::Uninitialized),
        ("", "st.global.u32 [%rd0+2], %r0;", HazardKind::Misaligned),
        (shared, "mov.u32 %r1, s; ld.shared.u32 %r0, [%r1];", HazardKind::Uninitialized),
        (shared, "mov.u32 %r1, s; st.shared.u32 [%r1+16], 1;", HazardKind::OutOfBounds),
        (shared, "mov.u32 %r1, s; st.shared.v2.u32 [%r1+4], {1, 2};", HazardKind::Misaligned),
        (".local .align 4 .b8 l[8];", "mov.u32 %r1, l; ld.local.u32 %r0, [%r1];", HazardKind::Uninitialized),
        ("", "trap;", HazardKind::Trap),
    ];
    for (declarations, body, kind) in cases {
        Run::new(&single(declarations, body), "k").block(32).finds(&[Given::Out(16)], kind);
    }
}

#[test]
fn a_standstill_says_who_waits_for_what() {
    let body = "
    mov.u32 %r0, %tid.x;
    setp.ge.u32 %p0, %r0, 32;
    @%p0 bra OTHER;
    bar.sync 1, 64;
OTHER:";
    let run = Run::new(&single("", body), "k").block(64);
    let message = run.finds(&[Given::Out(16)], HazardKind::Deadlock);
    assert!(message.contains("barrier 1") && message.contains("32 of 64"), "{message}");
}

#[test]
fn a_barrier_in_one_branch_of_a_warp_is_divergence() {
    let body = "
    mov.u32 %r0, %tid.x;
    setp.ge.u32 %p0, %r0, 16;
    @%p0 bar.sync 0;";
    Run::new(&single("", body), "k").block(32).finds(&[Given::Out(16)], HazardKind::Divergence);
}

#[test]
fn an_endless_loop_ends() {
    let run = Run::new(&single("", "L: bra L;"), "k").block(32).most(100_000);
    run.finds(&[Given::Out(16)], HazardKind::Endless);
}

#[test]
fn lanes_meet_at_a_warp_barrier_again_and_again() {
    // Half of the lanes come to each barrier by another way, so that some leave one before others do.
    let body = "
.visible .entry k(.param .u64 d)
{
    .reg .pred %p<2>;
    .reg .b32 %r<12>;
    .reg .b64 %rd<3>;
    .shared .align 4 .b8 s[128];
    mov.u32 %r0, %laneid;
    mov.u32 %r1, s;
    shl.b32 %r2, %r0, 2;
    add.u32 %r3, %r1, %r2;
    xor.b32 %r4, %r2, 64;
    add.u32 %r5, %r1, %r4;
    mov.u32 %r6, 0;
    mov.u32 %r7, 0;
    setp.lt.u32 %p0, %r0, 16;
LOOP:
    add.u32 %r8, %r6, %r0;
    st.shared.u32 [%r3], %r8;
    @%p0 bra OTHER;
    bar.warp.sync -1;
    bra READ;
OTHER:
    bar.warp.sync -1;
READ:
    ld.shared.u32 %r9, [%r5];
    add.u32 %r7, %r7, %r9;
    bar.warp.sync -1;
    add.u32 %r6, %r6, 1;
    setp.lt.u32 %p1, %r6, 8;
    @%p1 bra LOOP;
    ld.param.u64 %rd0, [d];
    mul.wide.u32 %rd1, %r0, 4;
    add.s64 %rd2, %rd0, %rd1;
    st.global.u32 [%rd2], %r7;
    ret;
}";
    let run = Run::new(&format!("{HEAD}{body}"), "k").block(32);
    let expected: Vec<u32> = (0..32u32).map(|lane| (0..8).map(|i| i + (lane ^ 16)).sum()).collect();
    assert_eq!(ints(&run.clean(&[Given::Out(128)])[0]), expected);
}
