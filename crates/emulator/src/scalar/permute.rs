//! `prmt`: four bytes picked out of eight.

use gable_ptx::grammar::Modifier as M;

use super::lanes::lanes;
use super::{Compute, Spelled};

pub(super) fn prmt(spelled: &Spelled<'_>) -> Option<Compute> {
    let mode = [M::F4e, M::B4e, M::Rc8, M::Ecl, M::Ecr, M::Rc16].into_iter().find(|&mode| spelled.has(mode));
    // In the modes the low two bits of `c` say at which byte the picture starts: byte `i` of the result from there.
    Some(match mode {
        None => lanes!(|a, b, c| pick(a, b, |i| c >> (4 * i) & 15)),
        Some(M::F4e) => lanes!(|a, b, c| pick(a, b, |i| (c & 3) + i)),
        Some(M::B4e) => lanes!(|a, b, c| pick(a, b, |i| ((c & 3) + 8 - i) & 7)),
        Some(M::Rc8) => lanes!(|a, b, c| pick(a, b, |_| c & 3)),
        Some(M::Ecl) => lanes!(|a, b, c| pick(a, b, |i| i.max(c & 3))),
        Some(M::Ecr) => lanes!(|a, b, c| pick(a, b, |i| i.min(c & 3))),
        Some(M::Rc16) => lanes!(|a, b, c| pick(a, b, |i| (c & 1) * 2 + (i & 1))),
        Some(_) => return None,
    })
}

/// Bytes of `b:a` by the selector of each byte of the result: three bits for the byte, the fourth to take its sign eight times.
#[inline(always)]
fn pick(a: u64, b: u64, selector: impl Fn(u64) -> u64) -> u64 {
    let bytes = b << 32 | a & 0xffff_ffff;
    (0..4).fold(0, |result, i| {
        let selector = selector(i);
        let byte = bytes >> (8 * (selector & 7)) & 0xff;
        let byte = if selector & 8 == 0 { byte } else { (byte >> 7) * 0xff };
        result | byte << (8 * i)
    })
}
