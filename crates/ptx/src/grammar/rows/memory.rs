//! Loads, stores, atomics, reductions, hints to caches.

use super::{BASE, has, rows, sm};
use crate::target::Feature::NarrowMultimem;

rows! {
    Ld:
        "ld{.weak}{$SPACE}{$LOAD_CACHE}$DATA", BASE;
        "ld{.weak}{.global}{$LOAD_CACHE|$L1_EVICT}{.L2::cache_hint}{$PREFETCH}$DATA", BASE;
        "ld.volatile{.global|$SHARED}$DATA", BASE;
        "ld.volatile{.global}$PREFETCH$DATA", BASE;
        "ld(.relaxed|.acquire)$SCOPE{.global}{$L1_EVICT}{.L2::cache_hint}{$PREFETCH}$DATA", sm(70, 6, 0);
        "ld(.relaxed|.acquire)$SCOPE$SHARED$DATA", sm(70, 6, 0);
        "ld.mmio.relaxed.sys{.global}$SCALAR", sm(70, 8, 2);
        "ld.global{.ca|.cg|.cs}.nc{.L2::cache_hint}{$PREFETCH}$DATA", sm(32, 3, 1);
        "ld.global.nc{$L1_EVICT}{.L2::cache_hint}{$PREFETCH}$DATA", sm(32, 3, 1);
        "ld{.weak|.relaxed$SCOPE|.acquire$SCOPE}{.global}{$L1_EVICT}{$L2_EVICT}{.L2::cache_hint}{$PREFETCH}$DATA_256", sm(100, 8, 8);
        "ld.volatile{.global}$DATA_256", sm(100, 8, 8);
        "ld.global.nc{$L1_EVICT}{$L2_EVICT}{.L2::cache_hint}{$PREFETCH}$DATA_256", sm(100, 8, 8);
    Ldu:
        "ldu{.global}$DATA", BASE;
    St:
        "st{.weak}{$STORE_SPACE}{$STORE_CACHE}$DATA", BASE;
        "st{.weak}{.global}{$STORE_CACHE|$L1_EVICT}{.L2::cache_hint}$DATA", BASE;
        "st.volatile{.global|$SHARED}$DATA", BASE;
        "st(.relaxed|.release)$SCOPE{.global}{$L1_EVICT}{.L2::cache_hint}$DATA", sm(70, 6, 0);
        "st(.relaxed|.release)$SCOPE$SHARED$DATA", sm(70, 6, 0);
        "st.mmio.relaxed.sys{.global}$SCALAR", sm(70, 8, 2);
        "st{.weak|.relaxed$SCOPE|.release$SCOPE}{.global}{$L1_EVICT}{$L2_EVICT}{.L2::cache_hint}$DATA_256", sm(100, 8, 8);
        "st.volatile{.global}$DATA_256", sm(100, 8, 8);
    StAsync:
        "st.async{.weak}{.shared::cluster}.mbarrier::complete_tx::bytes{.v2|.v4}(.b32|.u32|.s32|.f32)", sm(90, 8, 1);
        "st.async{.weak}{.shared::cluster}.mbarrier::complete_tx::bytes{.v2}(.b64|.u64|.s64|.f64)", sm(90, 8, 1);
        "st.async{.mmio}.release(.gpu|.sys).global(.b16|.u16|.s16|$WORD|$LONG)", sm(100, 8, 7);
    StBulk:
        "st.bulk{.weak}{.shared::cta}", sm(100, 8, 6);
    Atom:
        "atom{$ATOM_ORDER}{$SCOPE}{.global}(.and|.or|.xor|.exch){.L2::cache_hint}(.b32|.b64)", BASE;
        "atom{$ATOM_ORDER}{$SCOPE}$SHARED(.and|.or|.xor|.exch)(.b32|.b64)", BASE;
        "atom{$ATOM_ORDER}{$SCOPE}{$ATOM_SPACE}.cas(.b32|.b64)", BASE;
        "atom{$ATOM_ORDER}{$SCOPE}{$ATOM_SPACE}.cas.b16", sm(70, 6, 3);
        "atom{$ATOM_ORDER}{$SCOPE}{.global}.exch{.L2::cache_hint}.b128", sm(90, 8, 3);
        "atom{$ATOM_ORDER}{$SCOPE}$SHARED.exch.b128", sm(90, 8, 3);
        "atom{$ATOM_ORDER}{$SCOPE}{$ATOM_SPACE}.cas.b128", sm(90, 8, 3);
        "atom{$ATOM_ORDER}{$SCOPE}{.global}.add{.L2::cache_hint}(.u32|.s32|.u64|.f32)", BASE;
        "atom{$ATOM_ORDER}{$SCOPE}$SHARED.add(.u32|.s32|.u64|.f32)", BASE;
        "atom{$ATOM_ORDER}{$SCOPE}{.global}.add{.L2::cache_hint}.f64", sm(60, 5, 0);
        "atom{$ATOM_ORDER}{$SCOPE}$SHARED.add.f64", sm(60, 5, 0);
        "atom{$ATOM_ORDER}{$SCOPE}{.global}.add.noftz{.L2::cache_hint}(.f16|.f16x2)", sm(60, 6, 2);
        "atom{$ATOM_ORDER}{$SCOPE}$SHARED.add.noftz(.f16|.f16x2)", sm(60, 6, 2);
        "atom{$ATOM_ORDER}{$SCOPE}{.global}.add.noftz{.L2::cache_hint}(.bf16|.bf16x2)", sm(90, 7, 8);
        "atom{$ATOM_ORDER}{$SCOPE}$SHARED.add.noftz(.bf16|.bf16x2)", sm(90, 7, 8);
        "atom{$ATOM_ORDER}{$SCOPE}{.global}(.inc|.dec){.L2::cache_hint}.u32", BASE;
        "atom{$ATOM_ORDER}{$SCOPE}$SHARED(.inc|.dec).u32", BASE;
        "atom{$ATOM_ORDER}{$SCOPE}{.global}(.min|.max){.L2::cache_hint}(.u32|.s32|.u64|.s64)", BASE;
        "atom{$ATOM_ORDER}{$SCOPE}$SHARED(.min|.max)(.u32|.s32|.u64|.s64)", BASE;
        "atom{$ATOM_ORDER}{$SCOPE}.global.add{.L2::cache_hint}(.v2|.v4).f32", sm(90, 8, 1);
        "atom{$ATOM_ORDER}{$SCOPE}.global(.add|.min|.max).noftz{.L2::cache_hint}(.v2|.v4|.v8)(.f16|.bf16)", sm(90, 8, 1);
        "atom{$ATOM_ORDER}{$SCOPE}.global(.add|.min|.max).noftz{.L2::cache_hint}(.v2|.v4)(.f16x2|.bf16x2)", sm(90, 8, 1);
    Red:
        "red{$RED_ORDER}{$SCOPE}{.global}(.and|.or|.xor){.L2::cache_hint}(.b32|.b64)", BASE;
        "red{$RED_ORDER}{$SCOPE}$SHARED(.and|.or|.xor)(.b32|.b64)", BASE;
        "red{$RED_ORDER}{$SCOPE}{.global}.add{.L2::cache_hint}(.u32|.s32|.u64|.f32)", BASE;
        "red{$RED_ORDER}{$SCOPE}$SHARED.add(.u32|.s32|.u64|.f32)", BASE;
        "red{$RED_ORDER}{$SCOPE}{.global}.add{.L2::cache_hint}.f64", sm(60, 5, 0);
        "red{$RED_ORDER}{$SCOPE}$SHARED.add.f64", sm(60, 5, 0);
        "red{$RED_ORDER}{$SCOPE}{.global}.add.noftz{.L2::cache_hint}(.f16|.f16x2)", sm(60, 6, 2);
        "red{$RED_ORDER}{$SCOPE}$SHARED.add.noftz(.f16|.f16x2)", sm(60, 6, 2);
        "red{$RED_ORDER}{$SCOPE}{.global}.add.noftz{.L2::cache_hint}(.bf16|.bf16x2)", sm(90, 7, 8);
        "red{$RED_ORDER}{$SCOPE}$SHARED.add.noftz(.bf16|.bf16x2)", sm(90, 7, 8);
        "red{$RED_ORDER}{$SCOPE}{.global}(.inc|.dec){.L2::cache_hint}.u32", BASE;
        "red{$RED_ORDER}{$SCOPE}$SHARED(.inc|.dec).u32", BASE;
        "red{$RED_ORDER}{$SCOPE}{.global}(.min|.max){.L2::cache_hint}(.u32|.s32|.u64|.s64)", BASE;
        "red{$RED_ORDER}{$SCOPE}$SHARED(.min|.max)(.u32|.s32|.u64|.s64)", BASE;
        "red{$RED_ORDER}{$SCOPE}.global.add{.L2::cache_hint}(.v2|.v4).f32", sm(90, 8, 1);
        "red{$RED_ORDER}{$SCOPE}.global(.add|.min|.max).noftz{.L2::cache_hint}(.v2|.v4|.v8)(.f16|.bf16)", sm(90, 8, 1);
        "red{$RED_ORDER}{$SCOPE}.global(.add|.min|.max).noftz{.L2::cache_hint}(.v2|.v4)(.f16x2|.bf16x2)", sm(90, 8, 1);
    RedAsync:
        "red.async.relaxed.cluster{.shared::cluster}.mbarrier::complete_tx::bytes(.inc|.dec).u32", sm(90, 8, 1);
        "red.async.relaxed.cluster{.shared::cluster}.mbarrier::complete_tx::bytes(.min|.max)(.u32|.s32)", sm(90, 8, 1);
        "red.async.relaxed.cluster{.shared::cluster}.mbarrier::complete_tx::bytes(.and|.or|.xor).b32", sm(90, 8, 1);
        "red.async.relaxed.cluster{.shared::cluster}.mbarrier::complete_tx::bytes.add(.u32|.s32|.u64)", sm(90, 8, 1);
        "red.async{.mmio}.release(.gpu|.sys).global.add(.u32|.s32|.u64|.s64)", sm(100, 8, 7);
    MultimemLdReduce:
        "multimem.ld_reduce{.weak|.relaxed$SCOPE|.acquire$SCOPE}{.global}(.min|.max|.add)(.u32|.s32|.u64)", sm(90, 8, 1);
        "multimem.ld_reduce{.weak|.relaxed$SCOPE|.acquire$SCOPE}{.global}(.min|.max).s64", sm(90, 8, 1);
        "multimem.ld_reduce{.weak|.relaxed$SCOPE|.acquire$SCOPE}{.global}(.and|.or|.xor)(.b32|.b64)", sm(90, 8, 1);
        "multimem.ld_reduce{.weak|.relaxed$SCOPE|.acquire$SCOPE}{.global}.add(.f32|.v2.f32|.v4.f32|.f64)", sm(90, 8, 1);
        "multimem.ld_reduce{.weak|.relaxed$SCOPE|.acquire$SCOPE}{.global}(.min|.max|.add)$HALF_DATA", sm(90, 8, 1);
        "multimem.ld_reduce{.weak|.relaxed$SCOPE|.acquire$SCOPE}{.global}.add.acc::f32$HALF_DATA", sm(90, 8, 2);
        "multimem.ld_reduce{.weak|.relaxed$SCOPE|.acquire$SCOPE}{.global}(.min|.max|.add|.add.acc::f16)$F8_DATA", has(NarrowMultimem, 8, 6);
    MultimemSt:
        "multimem.st{.weak|.relaxed$SCOPE|.release$SCOPE}{.global}(.u32|.s32|.u64|.s64|.b32|.b64|.f64)", sm(90, 8, 1);
        "multimem.st{.weak|.relaxed$SCOPE|.release$SCOPE}{.global}(.f32|.v2.f32|.v4.f32|$HALF_DATA)", sm(90, 8, 1);
        "multimem.st{.weak|.relaxed$SCOPE|.release$SCOPE}{.global}$F8_DATA", has(NarrowMultimem, 8, 6);
    MultimemRed:
        "multimem.red{.relaxed$SCOPE|.release$SCOPE}{.global}(.min|.max|.add)(.u32|.s32|.u64)", sm(90, 8, 1);
        "multimem.red{.relaxed$SCOPE|.release$SCOPE}{.global}(.min|.max).s64", sm(90, 8, 1);
        "multimem.red{.relaxed$SCOPE|.release$SCOPE}{.global}(.and|.or|.xor)(.b32|.b64)", sm(90, 8, 1);
        "multimem.red{.relaxed$SCOPE|.release$SCOPE}{.global}.add(.f32|.v2.f32|.v4.f32|.f64|$HALF_DATA)", sm(90, 8, 1);
        "multimem.red{.relaxed$SCOPE|.release$SCOPE}{.global}(.min|.max)(.v2|.v4|.v8)(.f16|.bf16)", sm(90, 8, 1);
    Prefetch:
        "prefetch{.global|.local}(.L1|.L2)", BASE;
        "prefetch.global(.L2::evict_last|.L2::evict_normal)", sm(80, 7, 4);
        "prefetch{.const|.param}.tensormap", sm(90, 8, 0);
    Prefetchu:
        "prefetchu.L1", BASE;
    Applypriority:
        "applypriority{.global}.L2::evict_normal", sm(80, 7, 4);
    Discard:
        "discard{.global}.L2", sm(80, 7, 4);
    Createpolicy:
        "createpolicy.fractional$POLICY{.L2::evict_first|.L2::evict_unchanged}.b64", sm(80, 7, 4);
        "createpolicy.range{.global}$POLICY{.L2::evict_first|.L2::evict_unchanged}.b64", sm(80, 7, 4);
        "createpolicy.cvt.L2.b64", sm(80, 7, 4);
}
