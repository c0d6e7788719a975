//! Rows of the grammar against `ptxas`: for spellings of each row, it takes on every target what the floors allow, and refuses the rest.
//!
//! Each spelling stands in an entry of its own with operands that fit it; a spelling whose operands depend on more than its words is
//! left out. The line of a complaint says which spelling it is about.

use std::collections::{BTreeMap, BTreeSet};

use gable_ptx::grammar::{self, Modifier, ModuleTarget, Op, Platform, floors};
use gable_ptx::ptxas::{Ptxas, PtxasError};
use gable_ptx::{PtxVersion, Target};

/// The assembler, or a visible skip; in CI its absence is a failure.
fn ptxas() -> Option<Ptxas> {
    match Ptxas::find() {
        Ok(ptxas) => Some(ptxas),
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The newest version that the pinned assembler reads.
const VERSION: PtxVersion = PtxVersion::new(9, 0);

/// Spellings tried of each row.
const SAMPLES: u64 = 3;

/// Bytes of a type in a register.
fn bytes(ty: Modifier) -> usize {
    use Modifier as M;
    match ty {
        M::Pred => 0,
        M::B128 => 16,
        M::B64 | M::U64 | M::S64 | M::F64 | M::F32x2 => 8,
        M::B8 | M::U8 | M::S8 | M::B16 | M::U16 | M::S16 | M::F16 | M::Bf16 => 2,
        M::E4m3x2 | M::E5m2x2 | M::E2m3x2 | M::E3m2x2 | M::Ue8m0x2 | M::S2f6x2 | M::E2m1x4 => 2,
        M::E2m1x2 | M::E4m3 | M::E5m2 => 1,
        _ => 4,
    }
}

/// The `index`-th register of a size; a byte has none of its own.
fn register(bytes: usize, index: usize) -> Option<String> {
    let letter = match bytes {
        0 => 'p',
        2 => 'h',
        4 => 'r',
        8 => 'd',
        16 => 'q',
        _ => return None,
    };
    Some(format!("%{letter}{index}"))
}

/// One register of each type, the first as the destination.
fn registers(types: &[Modifier]) -> Option<String> {
    let each = types.iter().enumerate().map(|(index, ty)| register(bytes(*ty), index));
    Some(each.collect::<Option<Vec<_>>>()?.join(", "))
}

/// `count` registers in braces; one without.
fn group(ty: Modifier, count: usize, first: usize) -> Option<String> {
    let each: Option<Vec<String>> = (0..count).map(|index| register(bytes(ty), first + index)).collect();
    let joined = each?.join(", ");
    Some(if count == 1 { joined } else { format!("{{{joined}}}") })
}

fn vector_length(modifiers: &[Modifier]) -> usize {
    use Modifier as M;
    let length = |modifier: &Modifier| match modifier {
        M::V2 | M::X2 => Some(2),
        M::V4 | M::X4 => Some(4),
        M::V8 | M::X8 => Some(8),
        M::X16 => Some(16),
        M::X32 => Some(32),
        M::X64 => Some(64),
        M::X128 => Some(128),
        _ => None,
    };
    modifiers.iter().find_map(length).unwrap_or(1)
}

/// An address in the space that the words name; 32 bits wide where it must be shared.
fn address(modifiers: &[Modifier]) -> &'static str {
    use Modifier as M;
    let space = modifiers.iter().rev().find(|modifier| modifier.is_space());
    match space {
        Some(M::Shared | M::SharedCta | M::SharedCluster) => "[%r0]",
        Some(M::Param | M::ParamEntry) => "[pointer]",
        Some(M::Const) => "[constants]",
        _ => "[%d0]",
    }
}

/// Operands that fit the spelling, where the words alone say which.
fn operands(op: Op, modifiers: &[Modifier]) -> Option<String> {
    use Modifier as M;
    let has = |modifier: M| modifiers.contains(&modifier);
    let types: Vec<M> = modifiers.iter().copied().filter(|modifier| modifier.is_type()).collect();
    let first = types.first().copied();
    let last = types.last().copied();
    let wide = |ty: M| if bytes(ty) == 2 { M::B32 } else { M::B64 };
    let hint = if has(M::L2CacheHint) { ", %d9" } else { "" };
    let at = address(modifiers);
    let text = match op {
        Op::Add | Op::Sub if types.len() == 2 => registers(&[M::F32, last?, M::F32])?,
        Op::Fma if types.len() == 2 => registers(&[M::F32, last?, last?, M::F32])?,
        Op::Min | Op::Max if has(M::Abs) && !has(M::Xorsign) => registers(&[first?; 4])?,
        Op::Mul if has(M::Wide) => registers(&[wide(first?), first?, first?])?,
        Op::Mad if has(M::Wide) => registers(&[wide(first?), first?, first?, wide(first?)])?,
        Op::Add | Op::AddCc | Op::Addc | Op::Sub | Op::SubCc | Op::Subc | Op::Mul | Op::Mul24 => {
            registers(&[first?; 3])?
        }
        Op::Div | Op::Rem | Op::Min | Op::Max | Op::And | Op::Or | Op::Xor | Op::Copysign => registers(&[first?; 3])?,
        Op::Mad | Op::MadCc | Op::Madc | Op::Mad24 | Op::Fma | Op::Sad => registers(&[first?; 4])?,
        Op::Abs | Op::Neg | Op::Brev | Op::Not | Op::Cnot | Op::Rcp | Op::Sqrt | Op::Rsqrt => registers(&[first?; 2])?,
        Op::Sin | Op::Cos | Op::Lg2 | Op::Ex2 | Op::Tanh | Op::Mov => registers(&[first?; 2])?,
        Op::Popc | Op::Clz | Op::Bfind => registers(&[M::B32, first?])?,
        Op::Fns => "%r0, %r1, %r2, %r3".into(),
        Op::Bfe => registers(&[first?, first?, M::B32, M::B32])?,
        Op::Bfi => registers(&[first?, first?, first?, M::B32, M::B32])?,
        Op::Szext | Op::Bmsk => "%r0, %r1, %r2".into(),
        Op::Dp2a | Op::Dp4a | Op::Shf | Op::Prmt => "%r0, %r1, %r2, %r3".into(),
        Op::Lop3 if types.len() == modifiers.len() => "%r0, %r1, %r2, %r3, 0x1b".into(),
        Op::Lop3 => "%r0|%p0, %r1, %r2, %r3, 0x1b, %p1".into(),
        Op::Testp => registers(&[M::Pred, first?])?,
        Op::Setp if [M::F16x2, M::Bf16x2].contains(&first?) || (modifiers.len() == 2 && bytes(first?) > 2) => {
            let combined = if has(M::And) || has(M::Or) || has(M::Xor) { ", %p3" } else { "" };
            format!("%p0|%p1, {}{combined}", registers(&[first?, first?])?)
        }
        Op::Setp if has(M::And) || has(M::Or) || has(M::Xor) => registers(&[M::Pred, first?, first?, M::Pred])?,
        Op::Setp => registers(&[M::Pred, first?, first?])?,
        Op::Set if has(M::And) || has(M::Or) || has(M::Xor) => registers(&[first?, last?, last?, M::Pred])?,
        Op::Set => registers(&[first?, last?, last?])?,
        Op::Selp => registers(&[first?, first?, first?, M::Pred])?,
        Op::Slct => registers(&[first?, first?, first?, last?])?,
        Op::Shl | Op::Shr => registers(&[first?, first?, M::B32])?,
        Op::Cvt if has(M::Rs) => match first? {
            M::F16x2 | M::Bf16x2 => "%r0, %r1, %r2, %r3".into(),
            ty => format!("{}, {{%r1, %r2, %r3, %r4}}, %r5", group(ty, 1, 0)?),
        },
        Op::Cvt if has(M::ScaledN2Ue8m0) => format!("{}, %h9", registers(&[first?, last?])?),
        Op::Cvt if last? == M::F32 && format!("{:?}", first?).ends_with("x2") => registers(&[first?, M::F32, M::F32])?,
        Op::Cvt => registers(&[first?, last?])?,
        Op::CvtPack if types.len() == 2 => "%r0, %r1, %r2".into(),
        Op::CvtPack => "%r0, %r1, %r2, %r3".into(),
        Op::Cvta if has(M::Param) || has(M::ParamEntry) || has(M::U32) => return None,
        Op::Cvta => registers(&[first?; 2])?,
        Op::Isspacep => "%p0, %d1".into(),
        // Without a space the address is generic, and so 64 bits wide.
        Op::Mapa | Op::Getctarank if has(M::U32) && !has(M::SharedCluster) => return None,
        Op::Mapa => registers(&[first?, first?, M::B32])?,
        Op::Getctarank => registers(&[M::B32, first?])?,
        // Parameters of functions need a function; a load from parameters takes no cache operator.
        Op::Ld | Op::St if has(M::ParamFunc) || has(M::Param) || has(M::ParamEntry) => return None,
        Op::Ld | Op::Ldu => format!("{}, {at}{hint}", group(last?, vector_length(modifiers), 10)?),
        Op::St => format!("{at}, {}{hint}", group(last?, vector_length(modifiers), 10)?),
        Op::Atom if has(M::Cas) => {
            format!("{}, {at}, {}, {}{hint}", group(last?, 1, 4)?, group(last?, 1, 5)?, group(last?, 1, 6)?)
        }
        Op::Atom => {
            let count = vector_length(modifiers);
            format!("{}, {at}, {}{hint}", group(last?, count, 2)?, group(last?, count, 10)?)
        }
        Op::Red => format!("{at}, {}{hint}", group(last?, vector_length(modifiers), 10)?),
        Op::StAsync if has(M::Global) => format!("[%d0], {}", group(last?, 1, 2)?),
        Op::StAsync => format!("[%r0], {}, [%r1]", group(last?, vector_length(modifiers), 2)?),
        Op::StBulk => "[%d0], 16, 0".into(),
        Op::RedAsync if has(M::Global) => format!("[%d0], {}", group(last?, 1, 2)?),
        Op::RedAsync => format!("[%r0], {}, [%r1]", group(last?, 1, 2)?),
        Op::MultimemLdReduce => format!("{}, [%d0]", group(last?, vector_length(modifiers), 10)?),
        Op::MultimemSt | Op::MultimemRed => format!("[%d0], {}", group(last?, vector_length(modifiers), 10)?),
        Op::Prefetch if has(M::Param) || has(M::Const) => return None,
        Op::Prefetch | Op::Prefetchu => "[%d0]".into(),
        Op::Applypriority | Op::Discard => "[%d0], 128".into(),
        Op::CpAsync if has(M::Cg) => format!("[%r0], [%d0], 16{hint}"),
        Op::CpAsync => format!("[%r0], [%d0], 4{hint}"),
        Op::CpAsyncWaitGroup | Op::CpAsyncBulkWaitGroup | Op::WgmmaWaitGroup => "1".into(),
        Op::CpAsyncCommitGroup | Op::CpAsyncWaitAll | Op::CpAsyncBulkCommitGroup => String::new(),
        Op::CpAsyncMbarrierArrive | Op::MbarrierInval => at.into(),
        Op::CpAsyncBulkPrefetch => format!("[%d0], %r1{hint}"),
        Op::CpAsyncBulk if has(M::BulkGroup) => {
            format!("[%d0], [%r0], %r1{hint}{}", if has(M::CpMask) { ", %h0" } else { "" })
        }
        Op::CpAsyncBulk => {
            let from = if has(M::Global) { "[%d0]" } else { "[%r2]" };
            let mask = if has(M::MulticastCluster) { ", %h0" } else { "" };
            format!("[%r0], {from}, %r1, [%r3]{mask}{hint}")
        }
        Op::CpReduceAsyncBulk if has(M::BulkGroup) => format!("[%d0], [%r0], %r1{hint}"),
        Op::CpReduceAsyncBulk => "[%r0], [%r2], %r1, [%r3]".into(),
        Op::TensormapReplace if has(M::Rank) || last? == M::B64 && has(M::GlobalAddress) => {
            format!("{at}, {}", group(last?, 1, 2)?)
        }
        Op::TensormapReplace
            if has(M::BoxDim) || has(M::GlobalDim) || has(M::ElementStride) || has(M::GlobalStride) =>
        {
            format!("{at}, 1, {}", group(last?, 1, 2)?)
        }
        Op::TensormapReplace => format!("{at}, 1"),
        Op::TensormapCpFenceproxy => "[%d0], [%r0], 128".into(),
        Op::BarSync | Op::BarrierClusterArrive | Op::BarrierClusterWait if has(M::Cluster) => String::new(),
        Op::BarSync => "1".into(),
        Op::BarArrive => "1, 64".into(),
        Op::BarRed if has(M::Popc) => "%r0, 1, %p1".into(),
        Op::BarRed => "%p0, 1, %p1".into(),
        Op::BarWarpSync => "%r0".into(),
        Op::Membar | Op::Fence | Op::FenceMbarrierInit => String::new(),
        Op::FenceProxy if has(M::TensormapGeneric) && has(M::Acquire) => "[%d0], 128".into(),
        Op::FenceProxy => String::new(),
        Op::MbarrierInit => format!("{at}, 1"),
        Op::MbarrierExpectTx | Op::MbarrierCompleteTx => format!("{at}, 16"),
        Op::MbarrierArrive | Op::MbarrierArriveDrop => {
            let state = if has(M::SharedCluster) { "_" } else { "%d1" };
            let count = if has(M::NoComplete) || has(M::ExpectTx) { ", 16" } else { "" };
            format!("{state}, {at}{count}")
        }
        Op::MbarrierTestWait | Op::MbarrierTryWait => {
            format!("%p0, {at}, {}", if has(M::Parity) { "%r1" } else { "%d1" })
        }
        Op::MbarrierPendingCount => "%r0, %d0".into(),
        Op::Griddepcontrol => String::new(),
        Op::ClusterlaunchcontrolTryCancel => {
            if has(M::SharedCta) {
                "[%r0], [%r1]".into()
            } else {
                "[%d0], [%d1]".into()
            }
        }
        Op::ClusterlaunchcontrolQueryCancel if has(M::IsCanceled) => "%p0, %q0".into(),
        Op::ClusterlaunchcontrolQueryCancel if has(M::V4) => "{%r0, %r1, %r2, %r3}, %q0".into(),
        Op::ClusterlaunchcontrolQueryCancel => "%r0, %q0".into(),
        Op::Setmaxnreg => "64".into(),
        Op::Nanosleep => "%r0".into(),
        Op::Activemask => "%r0".into(),
        Op::Vote if has(M::Ballot) => "%r0, %p1, %r1".into(),
        Op::Vote => "%p0, %p1, %r1".into(),
        Op::Match => format!("%r0, {}, %r5", group(last?, 1, 1)?),
        Op::Redux => "%r0, %r1, %r2".into(),
        Op::Shfl => "%r0|%p0, %r1, %r2, %r3, %r4".into(),
        Op::ElectSync => "%r0|%p0, %r1".into(),
        Op::Ldmatrix => {
            let count = vector_length(modifiers) * if has(M::Matrix { m: 16, n: 16, k: 0 }) { 2 } else { 1 };
            format!("{}, [%r0]", braced('r', count, 10))
        }
        Op::Stmatrix => format!("[%r0], {}", braced('r', vector_length(modifiers), 10)),
        Op::Mma => multiply(modifiers)?,
        Op::WgmmaMma => warpgroup_multiply(modifiers)?,
        Op::Tcgen05Ld | Op::Tcgen05St => {
            let per = if has(M::Shape16x128b) {
                2
            } else if has(M::Shape16x256b) {
                4
            } else {
                1
            };
            let count = vector_length(modifiers) * per;
            // 128 registers is the most that one holds.
            if count > 128 {
                return None;
            }
            let registers = braced('r', count, 10);
            let half = if has(M::Shape16x32bx2) { ", 16" } else { "" };
            if op == Op::Tcgen05Ld { format!("{registers}, [%r0]{half}") } else { format!("[%r0]{half}, {registers}") }
        }
        Op::Tcgen05LdRed if has(M::Shape32x32b) && !has(M::X1) => {
            format!("{}, %r1, [%r0]", braced('r', vector_length(modifiers), 10))
        }
        Op::CpAsyncBulkTensor | Op::CpReduceAsyncBulkTensor | Op::CpAsyncBulkPrefetchTensor => {
            tensor_copy(op, modifiers)?
        }
        Op::Movmatrix => "%r0, %r1".into(),
        Op::Tcgen05Alloc => format!("{}, 32", if has(M::SharedCta) { "[%r0]" } else { "[%d0]" }),
        Op::Tcgen05Dealloc => "%r0, 32".into(),
        Op::Tcgen05RelinquishAllocPermit | Op::Tcgen05WaitLd | Op::Tcgen05WaitSt | Op::Tcgen05Fence => String::new(),
        Op::Tcgen05Cp => "[%r0], %d0".into(),
        Op::Tcgen05Shift => "[%r0]".into(),
        Op::Tcgen05Commit => format!(
            "{}{}",
            if has(M::SharedCluster) { "[%r0]" } else { "[%d0]" },
            if has(M::MulticastCluster) { ", %h0" } else { "" }
        ),
        Op::Tcgen05Mma if has(M::BlockScale) => "[%r0], %d0, %d1, %r1, [%r2], [%r3], %p0".into(),
        Op::Tcgen05Mma if has(M::Ashift) => "[%r0], [%r4], %d1, %r1, %p0".into(),
        Op::Tcgen05Mma | Op::Tcgen05MmaWs => "[%r0], %d0, %d1, %r1, %p0".into(),
        Op::Tcgen05MmaSparse if has(M::BlockScale) => "[%r0], %d0, %d1, [%r5], %r1, [%r2], [%r3], %p0".into(),
        Op::Tcgen05MmaSparse if has(M::Ashift) => "[%r0], [%r4], %d1, [%r5], %r1, %p0".into(),
        Op::Tcgen05MmaSparse | Op::Tcgen05MmaWsSparse => "[%r0], %d0, %d1, [%r5], %r1, %p0".into(),
        Op::WgmmaFence | Op::WgmmaCommitGroup => String::new(),
        Op::Exit | Op::Trap | Op::Brkpt | Op::Ret => String::new(),
        Op::Vadd | Op::Vsub | Op::Vabsdiff | Op::Vmin | Op::Vmax | Op::Vset | Op::Vshl | Op::Vshr
            if !(has(M::Add) || has(M::Min) || has(M::Max)) =>
        {
            "%r0, %r1, %r2".into()
        }
        Op::Vadd | Op::Vsub | Op::Vabsdiff | Op::Vmin | Op::Vmax | Op::Vset | Op::Vshl | Op::Vshr => {
            "%r0, %r1, %r2, %r3".into()
        }
        Op::Vadd2 | Op::Vsub2 | Op::Vavrg2 | Op::Vabsdiff2 | Op::Vmin2 | Op::Vmax2 | Op::Vset2 => {
            "%r0, %r1, %r2, %r3".into()
        }
        Op::Vadd4 | Op::Vsub4 | Op::Vavrg4 | Op::Vabsdiff4 | Op::Vmin4 | Op::Vmax4 | Op::Vset4 => {
            "%r0, %r1, %r2, %r3".into()
        }
        _ => return None,
    };
    Some(text)
}

/// Registers in braces, also where there is one.
fn braced(letter: char, count: usize, first: usize) -> String {
    let each: Vec<String> = (first..first + count).map(|index| format!("%{letter}{index}")).collect();
    format!("{{{}}}", each.join(", "))
}

/// The shape that the words name.
fn shape(modifiers: &[Modifier]) -> Option<(usize, usize, usize)> {
    modifiers.iter().find_map(|modifier| match modifier {
        Modifier::Matrix { m, n, k } => Some((usize::from(*m), usize::from(*n), usize::from(*k))),
        _ => None,
    })
}

/// Bits of an element of a matrix.
fn element_bits(ty: Modifier) -> usize {
    use Modifier as M;
    match ty {
        M::B1 => 1,
        M::U4 | M::S4 => 4,
        M::U8 | M::S8 | M::E4m3 | M::E5m2 | M::E2m3 | M::E3m2 | M::E2m1 => 8,
        M::F16 | M::Bf16 => 16,
        M::F64 => 64,
        _ => 32,
    }
}

/// `mma.sync`: the registers that the fragments of a warp take.
fn multiply(modifiers: &[Modifier]) -> Option<String> {
    use Modifier as M;
    let (m, n, k) = shape(modifiers)?;
    let types: Vec<M> = modifiers.iter().copied().filter(|modifier| modifier.is_type()).collect();
    let [d, a, _, c] = types[..4] else { return None };
    // The oldest shape has rules of its own.
    if (m, n, k, a) == (8, 8, 4, M::F16) || (d == M::F16) != (c == M::F16) {
        return None;
    }
    let packed =
        if modifiers.contains(&M::KindMxf4) || modifiers.contains(&M::KindMxf4nvf4) { 4 } else { element_bits(a) };
    let fragment = |rows: usize, columns: usize, bits: usize, letter: char| {
        let each = if letter == 'd' { 64 } else { 32 };
        braced(letter, (rows * columns * bits).div_ceil(32 * each), 10)
    };
    let letter = if a == M::F64 { 'd' } else { 'r' };
    let mut text = [
        fragment(m, n, element_bits(d), letter),
        fragment(m, k, packed, letter),
        fragment(k, n, packed, letter),
        fragment(m, n, element_bits(c), letter),
    ]
    .join(", ");
    if modifiers.contains(&M::BlockScale) {
        text += ", %r1, {0, 0}, %r2, {0, 0}";
    }
    Some(text)
}

/// `wgmma.mma_async` with both operands in shared memory.
fn warpgroup_multiply(modifiers: &[Modifier]) -> Option<String> {
    use Modifier as M;
    let (_, n, _) = shape(modifiers)?;
    let types: Vec<M> = modifiers.iter().copied().filter(|modifier| modifier.is_type()).collect();
    let registers = n / 2 * element_bits(types[0]) / 32;
    let scales = match types[1] {
        M::F16 | M::Bf16 => ", 1, 1, 0, 0",
        M::Tf32 | M::E4m3 | M::E5m2 => ", 1, 1",
        _ => "",
    };
    Some(format!("{}, %d0, %d1, 1{scales}", braced('r', registers, 10)))
}

/// Tensor copies whose form and rank fit each other.
fn tensor_copy(op: Op, modifiers: &[Modifier]) -> Option<String> {
    use Modifier as M;
    let has = |modifier: M| modifiers.contains(&modifier);
    let rank = [M::D1, M::D2, M::D3, M::D4, M::D5].iter().position(|rank| has(*rank))? + 1;
    let is_window = has(M::Im2col) || has(M::Im2colW) || has(M::Im2colW128);
    let is_rows = has(M::TileGather4) || has(M::TileScatter4);
    if ((is_window || has(M::Im2colNoOffs)) && rank < 3) || (is_rows && rank != 2) {
        return None;
    }
    let coordinates = braced('r', if is_rows { 5 } else { rank }, 10);
    let offsets = match (is_window, has(M::Im2col)) {
        (true, true) => format!(", {}", braced('h', rank - 2, 1)),
        (true, false) => ", {%h1, %h2}".to_owned(),
        _ => String::new(),
    };
    let hint = if has(M::L2CacheHint) { ", %d9" } else { "" };
    let mask = if has(M::MulticastCluster) { ", %h0" } else { "" };
    Some(match op {
        Op::CpAsyncBulkPrefetchTensor => format!("[%d0, {coordinates}]{offsets}{hint}"),
        Op::CpAsyncBulkTensor if !has(M::BulkGroup) => {
            // A copy to the CTA itself goes to no other.
            if has(M::SharedCta) && (has(M::MulticastCluster)) {
                return None;
            }
            format!("[%r0], [%d0, {coordinates}], [%r1]{offsets}{mask}{hint}")
        }
        _ => format!("[%d0, {coordinates}], [%r0]{hint}"),
    })
}

/// Spellings of all rows with their operands, each once, and the words of each.
fn spellings() -> BTreeMap<String, (&'static grammar::Row, Vec<Modifier>)> {
    let mut spellings = BTreeMap::new();
    for row in grammar::rows() {
        for entropy in 0..SAMPLES {
            let modifiers = row.sample(entropy);
            let Some(operands) = operands(row.op, &modifiers) else { continue };
            let name = row.pattern.split(['.', '{', '(', '$']).next().unwrap_or_default();
            let words: String = modifiers.iter().map(|modifier| format!(".{modifier}")).collect();
            spellings.insert(format!("{name}{words} {operands};"), (row, modifiers));
        }
    }
    spellings
}

/// Targets of the assembler, ours and those before.
const TARGETS: &[&str] = &[
    "sm_75", "sm_80", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_100a", "sm_100f", "sm_103a", "sm_120", "sm_120a",
    "sm_120f",
];

/// One entry for each instruction, from line 4 on.
fn module(target: &str, instructions: &[&String]) -> String {
    let mut text =
        format!(".version {VERSION}\n.target {target}\n.address_size 64 .const .align 16 .b8 constants[64];\n");
    for (index, instruction) in instructions.iter().enumerate() {
        text += &format!(
            ".entry k{index}(.param .b64 pointer) {{ .reg .pred %p<8>; .reg .b16 %h<24>; .reg .b32 %r<144>; .reg .b64 %d<24>; "
        );
        // Registers of 128 bits came late.
        text += if instruction.contains("%q") { ".reg .b128 %q<24>; " } else { "" };
        text += &format!("{instruction} }}\n");
    }
    text
}

/// The instructions that the assembler complains about, with what it says.
fn complaints<'i>(ptxas: &Ptxas, target: &str, instructions: &[&'i String]) -> BTreeMap<&'i String, String> {
    let message = match ptxas.assemble_for(&module(target, instructions), target) {
        Ok(_) => return BTreeMap::new(),
        Err(PtxasError::Refused { message, .. }) => message,
        Err(error) => panic!("{error}"),
    };
    let mut found = BTreeMap::new();
    for complaint in message.lines().filter(|line| !line.contains("; warning")) {
        let Some((_, rest)) = complaint.split_once(", line ") else { continue };
        let line: usize = rest.split(';').next().and_then(|number| number.parse().ok()).expect("a line number");
        found.insert(instructions[line - 4], rest.to_owned());
    }

    assert!(!found.is_empty(), "{message}");
    found
}

#[test]
fn the_assembler_takes_on_each_target_what_the_floors_allow() {
    let Some(ptxas) = ptxas() else { return };
    let spellings = spellings();
    let covered: BTreeSet<Op> = spellings.values().map(|(row, _)| row.op).collect();
    assert!(spellings.len() > 500 && covered.len() > 100, "{} spellings of {} ops", spellings.len(), covered.len());
    let mut faults = Vec::new();
    for target in TARGETS {
        let declared = ModuleTarget::of(target).expect("it is a target");
        let machine = *Target::ALL.iter().find(|machine| declared.runs_on(**machine)).expect("a machine runs it");
        let exact = target.parse().unwrap_or(machine);
        let platform = Platform { version: VERSION, declared, machine: exact };
        // Another row may allow the same spelling there.
        let is_allowed = |modifiers: &[Modifier], name: &str| {
            grammar::rows().any(|row| {
                row.pattern.split(['.', '{', '(', '$']).next() == Some(name)
                    && floors(row, modifiers).all(|floor| platform.fault(&floor).is_none())
                    && grammar::Pattern::new(row.pattern).matches(modifiers)
            })
        };
        let mut allowed = Vec::new();
        let mut refused = Vec::new();
        for (instruction, (_, modifiers)) in &spellings {
            let name = instruction.split(['.', ' ']).next().unwrap_or_default();
            if is_allowed(modifiers, name) { allowed.push(instruction) } else { refused.push(instruction) }
        }
        for (instruction, complaint) in complaints(&ptxas, target, &allowed) {
            faults.push(format!("{target}: `{instruction}` is allowed here, but: {complaint}"));
        }
        if refused.is_empty() {
            continue;
        }
        let complained = complaints(&ptxas, target, &refused);
        for instruction in refused.iter().filter(|instruction| !complained.contains_key(*instruction)) {
            faults.push(format!("{target}: `{instruction}` is refused here, but not by the assembler"));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
