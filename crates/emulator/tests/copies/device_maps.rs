//! Tensor maps that a kernel makes: zeros and `tensormap.replace` in shared memory, then a copy to global memory with its fence.

use gable_emulator::HazardKind;

use crate::launch::{Buffer, Param, Run};

const BUILD: &str = "
.version 8.6
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 p_data, .param .u64 p_map, .param .u64 p_out)
.maxntid 32, 1, 1
{
    .reg .pred %p<4>;
    .reg .b32 %r<32>;
    .reg .b64 %rd<8>;
    .shared .align 1024 .b8 tile[2048];
    .shared .align 128 .b8 map[128];
    .shared .align 8 .b64 full;
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, tile;
    mov.u32 %r2, full;
    mov.u32 %r3, map;
    setp.ne.u32 %p0, %r0, 0;
    ld.param.u64 %rd0, [p_data];
    ld.param.u64 %rd1, [p_map];
    ld.param.u64 %rd2, [p_out];
    shl.b32 %r4, %r0, 2;
    add.u32 %r5, %r3, %r4;
    mov.u32 %r6, 0;
    st.shared.b32 [%r5], %r6;
    bar.warp.sync -1;
    @%p0 bra BUILT;
    tensormap.replace.tile.global_address.shared::cta.b1024.b64 [%r3], %rd0;
    tensormap.replace.tile.rank.shared::cta.b1024.b32 [%r3], 0x1;
    tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%r3], 0x0, 64;
    tensormap.replace.tile.box_dim.shared::cta.b1024.b32 [%r3], 0x1, 16;
    tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%r3], 0x0, 64;
    tensormap.replace.tile.global_dim.shared::cta.b1024.b32 [%r3], 0x1, 12;
    tensormap.replace.tile.global_stride.shared::cta.b1024.b64 [%r3], 0x0, 128;
    tensormap.replace.tile.element_stride.shared::cta.b1024.b32 [%r3], 0x0, 1;
    tensormap.replace.tile.element_stride.shared::cta.b1024.b32 [%r3], 0x1, 1;
    tensormap.replace.tile.elemtype.shared::cta.b1024.b32 [%r3], 0xa;
    tensormap.replace.tile.interleave_layout.shared::cta.b1024.b32 [%r3], 0x0;
    tensormap.replace.tile.swizzle_mode.shared::cta.b1024.b32 [%r3], 0x0;
    tensormap.replace.tile.fill_mode.shared::cta.b1024.b32 [%r3], 0x1;
BUILT:
    bar.warp.sync -1;
    tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned [%rd1], [%r3], 0x80;
    fence.proxy.tensormap::generic.acquire.gpu [%rd1], 0x80;
    @!%p0 mbarrier.init.shared::cta.b64 [%r2], 1;
    @!%p0 fence.mbarrier_init.release.cluster;
    bar.warp.sync -1;
    @%p0 bra WAIT;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], 2048;
    cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r6, %r6}], [%r2];
WAIT:
    mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r2], 0;
    @!%p1 bra WAIT;
    shl.b32 %r7, %r0, 6;
    add.u32 %r8, %r1, %r7;
    cvt.u64.u32 %rd3, %r7;
    add.s64 %rd4, %rd2, %rd3;
    mov.u32 %r9, 0;
COPY:
    ld.shared.v4.b32 {%r10, %r11, %r12, %r13}, [%r8];
    st.global.v4.b32 [%rd4], {%r10, %r11, %r12, %r13};
    add.u32 %r8, %r8, 16;
    add.s64 %rd4, %rd4, 16;
    add.u32 %r9, %r9, 1;
    setp.lt.u32 %p2, %r9, 4;
    @%p2 bra COPY;
    ret;
}";

fn run(text: &str) -> Run {
    let mut run = Run::new(text, "k");
    run.block = 32;
    let data: Vec<u8> = (0..12 * 128u32).map(|i| ((i * 5) >> 1) as u8).collect();
    run.buffers = vec![Buffer::Holds(data), Buffer::Empty(128), Buffer::Empty(2048)];
    run.params = vec![Param::Address(0), Param::Address(1), Param::Address(2)];
    run
}

#[test]
fn a_map_made_by_the_kernel_loads_its_tile() {
    let buffers = run(BUILD).clean();
    assert!(buffers[2][..12 * 128] == buffers[0]);
    // Rows beyond the tensor hold the NaN of the fill mode.
    assert!(buffers[2][12 * 128..].chunks_exact(2).all(|word| word == [0xf7, 0x7f]));
}

#[test]
fn using_a_new_map_without_the_acquiring_fence_is_found() {
    let fence = "    fence.proxy.tensormap::generic.acquire.gpu [%rd1], 0x80;\n";
    assert!(BUILD.contains(fence));
    run(&BUILD.replace(fence, "")).finds(HazardKind::MissingProxyFence);
}

#[test]
fn a_field_that_cannot_hold_its_value_is_named() {
    let text =
        BUILD.replace("box_dim.shared::cta.b1024.b32 [%r3], 0x1, 16", "box_dim.shared::cta.b1024.b32 [%r3], 0x1, 300");
    let message = run(&text).finds(HazardKind::Descriptor);
    assert_eq!(message, "tensor map: `box_dim[1]` is 300, expected 1 to 256");
}

#[test]
fn a_map_that_breaks_a_limit_is_found_when_it_is_used() {
    let text = BUILD.replace(
        "global_stride.shared::cta.b1024.b64 [%r3], 0x0, 128",
        "global_stride.shared::cta.b1024.b64 [%r3], 0x0, 132",
    );
    let message = run(&text).finds(HazardKind::Descriptor);
    assert!(message.contains("globalStrides[0]"), "{message}");
}
