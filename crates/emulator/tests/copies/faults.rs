//! Kernels with one mistake each, and the same kernels without it.

use gable_emulator::tensor_map::map::{DataType, Swizzle};
use gable_emulator::{HazardKind, Schedule};

use crate::launch::{Buffer, Param, Run, dense};

/// A ring of one stage: thread 0 loads four tiles one after the other, all threads copy them out.
const RING: &str = "
.version 8.0
.target sm_90a
.address_size 64
.visible .entry k(.param .align 64 .b8 p_map[128], .param .u64 p_out)
.maxntid 128, 1, 1
{
    .reg .pred %p<8>;
    .reg .b32 %r<32>;
    .reg .b64 %rd<8>;
    .shared .align 1024 .b8 tile[4096];
    .shared .align 8 .b64 full;
    .shared .align 8 .b64 empty;
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, tile;
    mov.u32 %r2, full;
    mov.u32 %r3, empty;
    setp.ne.u32 %p0, %r0, 0;
    mov.b64 %rd0, p_map;
    cvta.param.u64 %rd0, %rd0;
    ld.param.u64 %rd1, [p_out];
    cvta.to.global.u64 %rd1, %rd1;
    @!%p0 mbarrier.init.shared::cta.b64 [%r2], 1;
    @!%p0 mbarrier.init.shared::cta.b64 [%r3], 128;
    @!%p0 fence.mbarrier_init.release.cluster;
    bar.sync 0;
    mov.u32 %r4, 0;
    mov.u32 %r16, 0;
    shl.b32 %r12, %r0, 4;
    add.u32 %r13, %r1, %r12;
LOOP:
    and.b32 %r5, %r4, 1;
    xor.b32 %r6, %r5, 1;
    shl.b32 %r7, %r4, 4;
    @%p0 bra WAIT;
EMPTY:
    mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r3], %r6;
    @!%p1 bra EMPTY;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 2048;
    cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd0, {%r16, %r7}], [%r2];
WAIT:
    mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], %r5;
    @!%p2 bra WAIT;
    ld.shared.v4.b32 {%r8, %r9, %r10, %r11}, [%r13];
    mbarrier.arrive.shared::cta.b64 _, [%r3];
    shl.b32 %r14, %r4, 11;
    add.u32 %r15, %r14, %r12;
    cvt.u64.u32 %rd2, %r15;
    add.s64 %rd3, %rd1, %rd2;
    st.global.v4.b32 [%rd3], {%r8, %r9, %r10, %r11};
    add.u32 %r4, %r4, 1;
    setp.lt.u32 %p3, %r4, 4;
    @%p3 bra LOOP;
    ret;
}";

/// Every thread writes sixteen bytes of a tile, thread 0 stores the tile.
const STORE: &str = "
.version 8.0
.target sm_90a
.address_size 64
.visible .entry k(.param .align 64 .b8 p_map[128])
.maxntid 128, 1, 1
{
    .reg .pred %p<4>;
    .reg .b32 %r<16>;
    .reg .b64 %rd<4>;
    .shared .align 1024 .b8 tile[2048];
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, tile;
    setp.ne.u32 %p0, %r0, 0;
    mov.b64 %rd0, p_map;
    cvta.param.u64 %rd0, %rd0;
    mov.u32 %r6, 0;
    shl.b32 %r2, %r0, 4;
    add.u32 %r3, %r1, %r2;
    st.shared.v4.b32 [%r3], {%r0, %r0, %r0, %r0};
    fence.proxy.async.shared::cta;
    bar.sync 0;
    @%p0 bra DONE;
    cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd0, {%r6, %r6}], [%r1];
    cp.async.bulk.commit_group;
    cp.async.bulk.wait_group.read 0;
    st.shared.b32 [%r3], %r6;
    cp.async.bulk.wait_group 0;
DONE:
    ret;
}";

/// `text` with `from`, which it has once, replaced.
fn with(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "`{from}` stands once");
    text.replace(from, to)
}

fn ring(text: &str) -> Run {
    let mut run = Run::new(text, "k");
    run.buffers = vec![Buffer::Holds((0..8192u32).map(|i| ((i * 13) >> 3) as u8).collect()), Buffer::Empty(8192)];
    run.params = vec![Param::Map(0, dense(DataType::U8, [128, 64], [128, 16], Swizzle::None)), Param::Address(1)];
    run
}

fn store(text: &str) -> Run {
    let mut run = Run::new(text, "k");
    run.buffers = vec![Buffer::Empty(2048)];
    run.params = vec![Param::Map(0, dense(DataType::U8, [128, 16], [128, 16], Swizzle::None))];
    run
}

#[test]
fn the_ring_without_a_mistake_is_clean() {
    let buffers = ring(RING).clean();
    assert!(buffers[0] == buffers[1]);
}

#[test]
fn the_store_without_a_mistake_is_clean() {
    let expected: Vec<u8> = (0..128u32).flat_map(|thread| [thread.to_le_bytes(); 4].concat()).collect();
    assert!(store(STORE).clean()[0] == expected);
}

#[test]
fn reading_before_the_wait_is_found() {
    let wait = "    mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], %r5;\n    @!%p2 bra WAIT;\n";
    // Threads that run ahead of the first load read what nobody wrote.
    let kinds = [HazardKind::NotWaitedFor, HazardKind::Race, HazardKind::Uninitialized];
    ring(&with(RING, wait, "")).finds_one_of(&kinds);
}

#[test]
fn a_wait_whose_answer_nobody_looks_at_is_found() {
    // `try_wait` may give up. It does so where operations are late; where they finish at once there is nothing to see.
    let text = with(RING, "    @!%p2 bra WAIT;\n", "");
    for schedule in [Schedule::Lazy, Schedule::Random(7)] {
        let (outcome, _) = ring(&text).once(schedule);
        assert!(!outcome.hazards.is_empty(), "{schedule:?}");
    }
}

#[test]
fn waiting_for_the_wrong_parity_is_found() {
    // The wait passes before the first tile, and not after it.
    let text = with(RING, "%p2, [%r2], %r5", "%p2, [%r2], %r6");
    ring(&text).finds_one_of(&[HazardKind::NotWaitedFor, HazardKind::Race, HazardKind::Deadlock]);
}

#[test]
fn overwriting_a_stage_that_is_still_read_is_found() {
    let wait = "    mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r3], %r6;\n    @!%p1 bra EMPTY;\n";
    ring(&with(RING, wait, "")).finds_one_of(&[HazardKind::Race, HazardKind::NotWaitedFor, HazardKind::Barrier]);
}

#[test]
fn expecting_too_many_bytes_is_a_standstill_that_names_them() {
    let text = with(RING, "[%r2], 2048", "[%r2], 2064");
    let message = ring(&text).finds(HazardKind::Deadlock);
    assert!(message.contains("0 of 1 arrivals and 16 bytes are missing"), "{message}");
}

#[test]
fn expecting_too_few_arrivals_is_found() {
    let text = with(RING, "[%r3], 128", "[%r3], 96");
    ring(&text).finds_one_of(&[HazardKind::Barrier, HazardKind::Race]);
}

#[test]
fn expecting_too_many_arrivals_is_a_standstill() {
    let text = with(RING, "[%r3], 128", "[%r3], 129");
    let message = ring(&text).finds(HazardKind::Deadlock);
    assert!(message.contains("1 of 129 arrivals and 0 bytes are missing"), "{message}");
}

#[test]
fn a_coordinate_that_is_no_multiple_of_16_bytes_is_found() {
    let text = with(RING, "mov.u32 %r16, 0", "mov.u32 %r16, 8");
    let message = ring(&text).finds(HazardKind::Misaligned);
    assert!(message.contains("innermost coordinate 8"), "{message}");
}

#[test]
fn a_tile_that_is_not_aligned_is_found() {
    let text = with(RING, "mov.u32 %r1, tile", "mov.u32 %r1, tile+64");
    ring(&text).finds(HazardKind::Misaligned);
}

#[test]
fn a_barrier_that_nobody_made_is_found() {
    let text = with(RING, "    @!%p0 mbarrier.init.shared::cta.b64 [%r2], 1;\n", "");
    ring(&text).finds(HazardKind::Barrier);
}

#[test]
fn a_map_of_another_rank_is_found() {
    let text = with(
        RING,
        "tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd0, {%r16, %r7}]",
        "tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd0, {%r16, %r7, %r16}]",
    );
    let message = ring(&text).finds(HazardKind::Descriptor);
    assert!(message.contains("tensor map of rank 2"), "{message}");
}

#[test]
fn a_tile_larger_than_its_array_is_found() {
    let mut run = ring(&with(RING, "tile[4096]", "tile[1024]"));
    run.params[0] = Param::Map(0, dense(DataType::U8, [128, 64], [128, 16], Swizzle::None));
    run.finds(HazardKind::OutOfBounds);
}

#[test]
fn a_store_without_the_proxy_fence_is_found() {
    let text = with(STORE, "    fence.proxy.async.shared::cta;\n", "");
    store(&text).finds(HazardKind::MissingProxyFence);
}

#[test]
fn a_store_before_the_other_threads_wrote_is_found() {
    // Depending on who comes first, the tile is read before it is written, or while it is.
    let text = with(STORE, "    bar.sync 0;\n", "");
    for schedule in crate::launch::SCHEDULES {
        let (outcome, _) = store(&text).once(schedule);
        let kinds: Vec<HazardKind> = outcome.hazards.iter().map(|hazard| hazard.kind).collect();
        let named = [HazardKind::Race, HazardKind::NotWaitedFor, HazardKind::Uninitialized];
        assert!(kinds.iter().any(|kind| named.contains(kind)), "{schedule:?}: {kinds:?}");
    }
}

#[test]
fn writing_a_tile_that_a_store_still_reads_is_found() {
    let text = with(STORE, "    cp.async.bulk.wait_group.read 0;\n", "");
    store(&text).finds(HazardKind::NotWaitedFor);
}

#[test]
fn waiting_for_an_empty_group_waits_for_nothing() {
    let text = with(STORE, "    cp.async.bulk.commit_group;\n", "");
    store(&text).finds(HazardKind::NotWaitedFor);
}

#[test]
fn exiting_while_a_store_still_reads_the_tile_is_found() {
    let text = with(
        STORE,
        "    cp.async.bulk.wait_group.read 0;\n    st.shared.b32 [%r3], %r6;\n    cp.async.bulk.wait_group 0;\n",
        "",
    );
    let message = store(&text).finds(HazardKind::NotWaitedFor);
    assert!(message.contains("exits"), "{message}");
}

#[test]
fn a_negative_coordinate_of_a_store_is_found() {
    let text = with(STORE, "mov.u32 %r6, 0", "mov.u32 %r6, -16");
    store(&text).finds(HazardKind::Descriptor);
}
