//! Kernels of asynchronous copies and multiplies, as a compiler writes them: printed, verified, assembled where there is
//! an assembler, and what is refused.

use gable_ptx::meaning::{
    BlockScaledMultiply, BlockScales, Collector, Element, MatrixMultiply, TensorAccess, TensorKind, TensorMultiply,
    TensorShape, WarpgroupMultiply,
};
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{
    Address, EmitError, F32, KernelBuilder, Module, R, Reg, ScaleOperand, Shared, Src, Target, Tcgen05Operand,
    WgmmaOperand, parse, verify,
};

/// The text of a module that the verifier and, where there is one, the assembler take, and that parses to itself.
fn accepted(target: Target, k: KernelBuilder) -> String {
    let module = Module::new(target, vec![k.finish()]);
    assert_eq!(verify(&module), Ok(()));
    let text = module.to_string();
    assert_eq!(parse(&text), Ok(module));
    match Ptxas::find() {
        Ok(ptxas) => drop(ptxas.assemble(&text, target).unwrap_or_else(|error| panic!("{error}\n{text}"))),
        Err(error) if std::env::var_os("CI").is_none() => eprintln!("SKIPPED: {error}"),
        Err(error) => panic!("{error}"),
    }
    text
}

/// Waits for the phase of a barrier.
fn wait(k: &mut KernelBuilder, barrier: impl Into<Address<Shared>> + Clone, parity: Src<gable_ptx::B32>) {
    let again = k.label("wait");
    k.place(&again);
    let ended = k.mbarrier_try_wait_parity(barrier, parity);
    k.bra_unless(ended, &again);
}

const BF16_8: WarpgroupMultiply = WarpgroupMultiply {
    n: 8,
    k: 16,
    a: Element::Bf16,
    b: Element::Bf16,
    accumulator: Element::F32,
    a_in_registers: false,
};

/// One tile of 64 x 8 of a bf16 product, 64 elements of K at a time: the first thread copies, all multiply. The tile is
/// stored as the threads hold it.
fn warpgroup_multiply() -> Result<KernelBuilder, EmitError> {
    let mut k = KernelBuilder::new("multiply", Target::Sm90a);
    k.required_threads(128, 1, 1);
    k.required_cluster(2, 1, 1);
    k.max_registers(168);
    let a_map = k.param_tensor_map("a");
    let b_map = k.param_tensor_map("b");
    let out = k.param_tensor_map("out");
    let steps = k.param_u32("steps");
    let tiles = k.dynamic_shared(1024);
    let base = k.address_of_shared(&tiles);
    let full = k.shared_array("full", 8, 8);
    let thread = k.tid_x();
    let is_first = k.setp_eq_u32(thread, 0);
    k.when(is_first, |k| {
        k.mbarrier_init(&full, 1);
        k.fence_mbarrier_init();
        k.prefetch_tensormap(a_map);
    });
    k.cluster_arrive_relaxed();
    k.cluster_wait();
    let rank = k.cluster_ctarank();
    let row = k.shl_b32(rank, 6);

    let sums: [R<F32>; 4] = std::array::from_fn(|_| k.mov_f32(0.0));
    let sums = sums.map(R::reg);
    let column = k.mov_b32(0);
    let b_tile = k.add_u32(base, 8192);
    // Addresses in units of 16 bytes, 128-byte swizzle, 1024 bytes between groups of eight rows.
    let descriptor = |k: &mut KernelBuilder, address| {
        let sixteenths = k.shr_u32(address, 4);
        let low = k.and_b32(sixteenths, 0x3fff);
        let wide = k.cvt_u64_u32(low);
        k.or_b64(wide, 0x4000_0040_0001_0000u64)
    };
    let (a_descriptor, b_descriptor) = (descriptor(&mut k, base), descriptor(&mut k, b_tile));
    k.for_u32(0, steps, 1, |k, step| -> Result<(), EmitError> {
        k.when(is_first, |k| {
            k.mbarrier_arrive_expect_tx(&full, 8192 + 1024);
            k.tma_load_2d(base, (a_map, [column, row]), &full);
            k.tma_load(b_tile, b_map, &[column.into(), 0.into()], &full, None, None, false)
        })?;
        let parity = k.and_b32(step, 1);
        wait(k, &full, parity.into());
        k.bar_warp_sync(-1);
        k.wgmma_fence();
        for quarter in 0..4u64 {
            let (a, b) = (k.add_u64(a_descriptor, 2 * quarter), k.add_u64(b_descriptor, 2 * quarter));
            k.wgmma(BF16_8, &sums, WgmmaOperand::Descriptor(a), b, true, (false, false))?;
        }
        k.wgmma_commit_group();
        k.wgmma_wait_group(0);
        k.set(column).add_u32(column, 64);
        k.bar_sync(0);
        Ok(())
    })?;
    let own = k.shl_b32(thread, 4);
    let at = k.add_u32(base, own);
    let values: Vec<Src<F32>> = sums.iter().map(|sum| sum.typed::<F32>().expect("they are f32").into()).collect();
    let values: [Src<F32>; 4] = values.try_into().expect("there are four");
    k.st_shared_v4_f32(at, values);
    k.fence_proxy_async_shared_cta();
    k.bar_sync(0);
    k.when(is_first, |k| {
        k.tma_store_2d((out, [Src::from(0), row.into()]), base);
        k.bulk_commit_group();
        k.bulk_wait_group(0);
    });
    k.exit();
    Ok(k)
}

#[test]
fn a_multiply_fed_by_tensor_copies_prints_as_one_would_write_it() {
    insta::assert_snapshot!(accepted(Target::Sm90a, warpgroup_multiply().expect("every row exists")));
}

#[test]
fn registers_move_between_warpgroups_and_barriers_are_named_by_registers() {
    let mut k = KernelBuilder::new("k", Target::Sm90a);
    k.required_threads(384, 1, 1);
    k.max_registers(168);
    let thread = k.tid_x();
    let group = k.shr_u32(thread, 7);
    let copies = k.setp_eq_u32(group, 0);
    k.if_else(
        copies,
        |k| {
            k.setmaxnreg_dec(40);
            let (_, is_elected) = k.elect_sync(-1);
            k.when(is_elected, |k| k.fence_proxy_async());
            k.bar_arrive_reg(group, 256);
        },
        |k| {
            k.setmaxnreg_inc(232);
            k.bar_sync_count_reg(group, 256);
        },
    );
    k.exit();
    let text = accepted(Target::Sm90a, k);
    assert!(text.contains("setmaxnreg.dec.sync.aligned.u32 40;\n    elect.sync %r2|%p1, -1;\n"), "{text}");
    assert!(text.contains("bar.arrive %r1, 256;") && text.contains("bar.sync %r1, 256;"), "{text}");
}

#[test]
fn copies_and_arrivals_reach_the_cluster() -> Result<(), EmitError> {
    let mut k = KernelBuilder::new("k", Target::Sm100a);
    k.required_cluster(2, 1, 1);
    let map = k.param_tensor_map("map");
    let tile = k.shared_array("tile", 4096, 1024);
    let barrier = k.shared_array("barrier", 8, 8);
    let local = k.address_of_shared(&barrier);
    let remote = k.mapa_shared_cluster(local, 0);
    k.mbarrier_arrive_cluster(remote);
    let policy = k.createpolicy_evict_last();
    let corner = [0, 0, 0].map(Src::from);
    k.tma_load(&tile, map, &corner, &barrier, Some(3.into()), Some(policy.into()), true)?;
    k.tma_load(&tile, map, &corner, &barrier, None, None, false)?;
    k.tma_store(map, &corner, &tile, Some(policy.into()), true)?;
    k.st_shared_cluster_b32(remote, 1);
    k.exit();
    let text = accepted(Target::Sm100a, k);
    let multicast = "complete_tx::bytes.multicast::cluster.cta_group::2.L2::cache_hint \
        [tile], [%rd1, {0, 0, 0}], [barrier], 3, %rd2;";
    assert!(text.contains(multicast), "{text}");
    assert!(text.contains("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%r1];"), "{text}");

    // The own CTA is named where memory of the cluster does not take every type.
    let mut k = KernelBuilder::new("k", Target::Sm120f);
    let map = k.param_tensor_map("map");
    let tile = k.shared_array("tile", 4096, 1024);
    let barrier = k.shared_array("barrier", 8, 8);
    k.tma_load(&tile, map, &corner, &barrier, None, None, false)?;
    k.exit();
    let text = accepted(Target::Sm120f, k);
    assert!(text.contains("cp.async.bulk.tensor.3d.shared::cta.global.tile"), "{text}");
    Ok(())
}

#[test]
fn a_multiply_in_tensor_memory_is_begun_by_one_thread_and_read_by_warps() -> Result<(), EmitError> {
    let mut k = KernelBuilder::new("k", Target::Sm100f);
    let address = k.shared_array("address", 4, 4);
    let done = k.shared_array("done", 8, 8);
    k.tcgen05_alloc(&address, 128);
    k.tcgen05_relinquish_alloc_permit();
    let sums = k.ld_shared_b32(&address);
    let descriptor = k.mov_b64(0x4000_4040_0001_0000u64);
    let scales = k.add_u32(sums, 64);
    let kind = TensorKind::Mxf4nvf4Block16;
    let collector = Collector::Default;
    let multiply = TensorMultiply { kind, cta_pair: false, a_in_tensor_memory: false, collector };
    let a = Tcgen05Operand::Descriptor(descriptor);
    k.tcgen05_mma(multiply, sums, a, descriptor, 0x0820_0480, Some((scales, scales)), false)?;
    k.tcgen05_commit(&done);
    wait(&mut k, &done, 0.into());
    k.tcgen05_fence_after_thread_sync();
    let access = TensorAccess { shape: TensorShape::Lanes32Bits32, count: 4, packed: false };
    let values = k.tcgen05_ld(access, sums, None)?;
    k.tcgen05_wait_ld();
    k.tcgen05_st(access, sums, None, &values)?;
    k.tcgen05_wait_st();
    k.tcgen05_dealloc(sums, 128);
    k.exit();
    let text = accepted(Target::Sm100f, k);
    let line = "tcgen05.mma.cta_group::1.kind::mxf4nvf4.block_scale.block16 \
        [%r0], %rd0, %rd0, 136316032, [%r1], [%r1], 0;";
    assert!(text.contains(line), "{text}");
    assert!(text.starts_with(".version 8.8\n"), "{text}");

    let mut k = KernelBuilder::new("k", Target::Sm100f);
    let (sums, descriptor) = (k.mov_b32(0), k.mov_b64(0));
    let a = Tcgen05Operand::Descriptor(descriptor);
    let error = k.tcgen05_mma(multiply, sums, a, descriptor, 0, None, true).unwrap_err();
    assert_eq!(error.to_string(), "`tcgen05_mma_mxf4nvf4_block16` takes 7 operands, found 5");
    Ok(())
}

#[test]
fn narrow_floats_are_multiplied_with_and_without_scales() -> Result<(), EmitError> {
    let mut k = KernelBuilder::new("k", Target::Sm120f);
    let out = k.param_pointer("out");
    let word = k.ld_global_b32(out);
    let sums: [R<F32>; 4] = std::array::from_fn(|_| k.mov_f32(0.0));
    let scale = ScaleOperand { register: word, byte: 2, thread: 1 };
    let e2m1 = BlockScaledMultiply { k: 64, a: Element::E2m1, b: Element::E2m1, scales: BlockScales::Ue8m0Per32 };
    k.mma_block_scaled(e2m1, sums, ([word; 4], scale), ([word; 2], scale))?;
    let error = k
        .mma_block_scaled(
            BlockScaledMultiply { scales: BlockScales::Ue4m3Per16, ..e2m1 },
            sums,
            ([word; 4], scale),
            ([word; 2], scale),
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`mma_nvf4_m16n8k64_f32_e2m1`: operand 4 is `{2, 1}`, \
         expected one of the constants [0] and one of [0, 1] in braces"
    );
    let registers = sums.map(R::reg);
    let shape = |a, b| MatrixMultiply { m: 16, n: 8, k: 32, a, b, accumulator: Element::F32 };
    k.mma_f8f6f4(shape(Element::E2m3, Element::E4m3), &registers, [word; 4], [word; 2])?;
    k.mma_f8f6f4(shape(Element::E5m2, Element::E4m3), &registers, [word; 4], [word; 2])?;
    let low = k.cvt_e2m1x2_f32(sums[0], sums[1]);
    let high = k.cvt_e2m1x2_f32(sums[2], sums[3]);
    let pairs = k.pack_b8x2([low, high]);
    k.st_global_b16(out, pairs);
    k.exit();
    let text = accepted(Target::Sm120f, k);
    assert!(text.contains("{%f0, %f1, %f2, %f3}, %r0, {2, 1}, %r0, {2, 1};"), "{text}");
    assert!(text.contains("m16n8k32.row.col.f32.e5m2.e4m3.f32 "), "two 8-bit floats have rows of their own: {text}");
    Ok(())
}

#[test]
fn sums_and_transposes_that_a_warpgroup_multiply_does_not_take_are_errors() {
    let mut k = KernelBuilder::new("k", Target::Sm90a);
    let descriptor = k.mov_b64(0);
    let a = WgmmaOperand::Descriptor(descriptor);
    let sums: Vec<Reg> = (0..4).map(|_| k.mov_f32(0.0).reg()).collect();
    let mut refused = |shape, sums: &[Reg], transposed| {
        k.wgmma(shape, sums, a, descriptor, true, transposed).unwrap_err().to_string()
    };
    let none = (false, false);
    assert_eq!(refused(BF16_8, &sums[..3], none), "`wgmma_m64n8k16_f32_bf16` takes 4 results, found 3");
    let f8 = WarpgroupMultiply { k: 32, a: Element::E4m3, b: Element::E4m3, ..BF16_8 };
    let message = "transposes no operand other than 16-bit floats in shared memory";
    assert_eq!(refused(f8, &sums, (false, true)), format!("`wgmma_m64n8k32_f32_e4m3` {message}"));
    let in_registers = WarpgroupMultiply { a_in_registers: true, ..BF16_8 };
    let name = "wgmma_m64n8k16_f32_bf16_a_in_registers";
    assert_eq!(refused(in_registers, &sums, (true, false)), format!("`{name}` {message}"));
    assert!(refused(in_registers, &sums, none).starts_with(&format!("`{name}`: operand 0 is `%rd0`, expected 4 b32")));
    let n = WarpgroupMultiply { n: 12, ..BF16_8 };
    assert!(refused(n, &sums, none).starts_with("no instruction of the table computes WarpgroupMultiply("));
}

/// The faults of a kernel for sm_90a with this head and body.
fn faults(head: &str, body: &str) -> Vec<String> {
    let registers =
        ".reg .pred %p<2>; .reg .b32 %r<4>; .reg .b64 %rd<2>; .reg .f32 %f<8>; .shared .align 128 .b8 s[128];
        mov.b32 %r0, 1; mov.b64 %rd0, 1; setp.eq.u32 %p0, %r0, 1;";
    let text = format!(
        ".version 8.0 .target sm_90a .address_size 64 .entry k(.param .align 64 .b8 map[128], .param .u32 n) {head}
        {{ {registers} {body} exit; }}"
    );
    let module = parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let faults = verify(&module).err().map_or(vec![], |faults| faults.0);
    faults.iter().map(|fault| fault.message.clone()).collect()
}

#[test]
fn accumulators_are_read_unless_a_constant_says_that_they_are_not() {
    let multiply = |accumulate: &str| {
        format!(
            "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {{%f0, %f1, %f2, %f3}}, %rd0, %rd0, {accumulate}, 1, 1, 0, 0;"
        )
    };
    assert_eq!(faults("", &multiply("0")), [""; 0]);
    assert_eq!(faults("", &(multiply("0") + &multiply("1"))), [""; 0]);
    let unwritten: Vec<String> = (0..4).map(|i| format!("`%f{i}` is read where nothing has written it")).collect();
    assert_eq!(faults("", &multiply("1")), unwritten);
    assert_eq!(faults("", &multiply("%p0")), unwritten);
    assert_eq!(faults("", &format!("L: {} @%p0 bra L;", multiply("%p0"))), [""; 0], "a loop writes them itself");
}

#[test]
fn tensor_maps_and_addresses_of_other_spaces_are_told_apart() {
    assert_eq!(faults("", "mov.b64 %rd1, map; cvta.param.u64 %rd1, %rd1; prefetch.tensormap [%rd1];"), [""; 0]);
    assert_eq!(
        faults("", "mov.b64 %rd1, maps; ld.param.u32 %r1, [map];"),
        ["the kernel has no parameter `maps`", "parameter `map` is a tensor map, expected type u32"]
    );
    assert_eq!(
        faults("", "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [s]; prefetch.tensormap [s];"),
        [
            "operand `[s]`: expected address in shared::cluster memory",
            "operand `[s]`: expected address in generic memory"
        ]
    );
    let load = "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes";
    assert_eq!(
        faults("", &format!("{load} [s], [%rd0, {{%r0}}], [s]; {load} [s], [%r0, {{%r0, %rd0}}], [s];")),
        [
            "operand `[%rd0, {%r0}]`: expected tensor map and 2 coordinates in brackets",
            "operand `[%r0, {%r0, %rd0}]`: expected tensor map and 2 coordinates in brackets",
        ]
    );
}

#[test]
fn constants_beside_registers_have_bounds() {
    assert_eq!(
        faults(
            "",
            "mbarrier.init.shared::cta.b64 [s], 0; mbarrier.try_wait.parity.shared::cta.b64 %p1, [s], 2;
             setmaxnreg.inc.sync.aligned.u32 60;"
        )
        .iter()
        .map(|message| message.split(", ").next().unwrap_or_default())
        .collect::<Vec<_>>(),
        [
            "operand `0`: expected b32 register or constant from 1 to 1048575",
            "operand `2`: expected b32 register or constant from 0 to 1",
            "operand `60`: expected one of the constants [24",
        ]
    );
}

#[test]
fn clusters_and_register_bounds_are_possible() {
    assert_eq!(faults(".maxnreg 168 .reqnctapercluster 2, 1, 1", ""), [""; 0]);
    assert_eq!(
        faults(".maxnreg 256 .reqnctapercluster 4, 5, 1", ""),
        ["`.maxnreg 256` is not 1 to 255 registers", "`.reqnctapercluster 4, 5, 1` is not 1 to 16 CTAs"]
    );
    assert_eq!(faults(".maxnreg 0 .reqnctapercluster 65536, 65536, 2", "").len(), 2);
}

#[test]
fn a_parameter_of_bytes_is_a_tensor_map() {
    let text = ".version 8.0 .target sm_90a .address_size 64 .entry k(.param .align 64 .b8 x[64]) { exit; }";
    let message = "1:62: a parameter of bytes is a tensor map, `.align 64 .b8 x[128]`";
    assert_eq!(parse(text).unwrap_err().to_string(), message);
}
