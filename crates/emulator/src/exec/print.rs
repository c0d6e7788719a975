//! Functions that the driver provides: `vprintf` and `__assertfail`.

use gable_ptx::syntax::Operand;

use super::{Decoded, Flow, step};
use crate::hazard::{Fault, HazardKind};
use crate::machine::{Cluster, lanes};
use crate::memory::{Target, resolve};
use crate::program::{Decoder, LoadError};

/// The longest text that is read: a missing end must not run through memory.
const MOST: usize = 4096;

/// A call of a function that the driver provides.
pub(super) fn builtin(
    d: &mut Decoder<'_>,
    name: &str,
    results: &[Operand],
    arguments: &[Operand],
) -> Result<Option<Decoded>, LoadError> {
    let mut places = Vec::new();
    match name {
        "vprintf" | "__assertfail" => {
            for argument in arguments {
                let Operand::Name { name, .. } = argument else { return Err(d.error("an argument is a name")) };
                places.push(d.local(name).ok_or_else(|| d.error(format!("`{name}` is no `.param` variable")))?);
            }
        }
        _ => return Ok(None),
    }
    let result = match results.first() {
        Some(Operand::Name { name, .. }) => d.local(name),
        _ => None,
    };
    if name == "__assertfail" {
        return Ok(Some(Decoded::free(step(move |c, at| {
            let lane = at.mask.trailing_zeros() as usize;
            let message = places.first().and_then(|place| pointer(c, at.warp, lane, *place).ok());
            let message = message.and_then(|address| text(c, at.warp, lane, address).ok()).unwrap_or_default();
            Err(Fault::new(HazardKind::Trap, format!("assertion failed: {message}")).lane(lane))
        }))));
    }
    let (Some(&format), Some(&values)) = (places.first(), places.get(1)) else {
        return Err(d.error("`vprintf` takes a format and a pointer to the values"));
    };
    Ok(Some(Decoded::free(step(move |c, at| {
        for lane in lanes(at.mask) {
            let format = pointer(c, at.warp, lane, format)?;
            let format = text(c, at.warp, lane, format)?;
            let values = pointer(c, at.warp, lane, values)?;
            let line = formatted(c, at.warp, lane, &format, values)?;
            c.printed.push_str(&line);
            if let Some(result) = result {
                let count = line.len() as u32;
                c.warps[at.warp].local[lane].write(result, &count.to_le_bytes())?;
            }
        }
        Ok(Flow::Next)
    }))))
}

fn bytes(c: &Cluster<'_>, warp: usize, lane: usize, address: u64, into: &mut [u8]) -> Result<(), Fault> {
    match resolve(address) {
        Target::Global(address) => c.grid.memory.read(address, into),
        Target::Local(offset) => {
            let local = c.warps[warp].local.get(lane);
            let local = local.ok_or_else(|| Fault::new(HazardKind::OutOfBounds, "no local memory"))?;
            into.copy_from_slice(local.read(offset, into.len())?);
            Ok(())
        }
        Target::Shared(_) => Err(Fault::new(HazardKind::Unsupported, "`vprintf` with shared memory")),
    }
}

fn pointer(c: &Cluster<'_>, warp: usize, lane: usize, place: u32) -> Result<u64, Fault> {
    let local = &c.warps[warp].local[lane];
    let mut word = [0; 8];
    word.copy_from_slice(local.read(place, 8)?);
    Ok(u64::from_le_bytes(word))
}

fn text(c: &Cluster<'_>, warp: usize, lane: usize, address: u64) -> Result<String, Fault> {
    let mut data = Vec::new();
    for i in 0..MOST as u64 {
        let mut byte = [0];
        bytes(c, warp, lane, address + i, &mut byte)?;
        if byte[0] == 0 {
            break;
        }
        data.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&data).into_owned())
}

/// The text that a format gives; each value lies at a multiple of its own size.
fn formatted(c: &Cluster<'_>, warp: usize, lane: usize, format: &str, values: u64) -> Result<String, Fault> {
    let mut out = String::new();
    let mut at = values;
    let mut next = |size: u64| -> Result<u64, Fault> {
        at = at.next_multiple_of(size);
        let mut word = [0; 8];
        bytes(c, warp, lane, at, &mut word[..size as usize])?;
        at += size;
        Ok(u64::from_le_bytes(word))
    };
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        let after = &rest[percent + 1..];
        let length = after.find(|ch: char| ch.is_ascii_alphabetic() && !matches!(ch, 'l' | 'h' | 'z') || ch == '%');
        let Some(length) = length else { break };
        let (flags, kind) = (&after[..length], after.as_bytes()[length]);
        let long = flags.contains('l') || flags.contains('z');
        let precision = flags.split_once('.').and_then(|(_, p)| p.trim_end_matches(['l', 'h', 'z']).parse().ok());
        match kind {
            b'%' => out.push('%'),
            b'd' | b'i' => {
                let value = if long { next(8)?.cast_signed() } else { i64::from(next(4)? as i32) };
                out.push_str(&value.to_string());
            }
            b'u' => out.push_str(&next(if long { 8 } else { 4 })?.to_string()),
            b'x' | b'X' => out.push_str(&format!("{:x}", next(if long { 8 } else { 4 })?)),
            b'p' => out.push_str(&format!("{:#x}", next(8)?)),
            b'c' => out.push(char::from(next(4)? as u8)),
            b's' => {
                let address = next(8)?;
                out.push_str(&text(c, warp, lane, address)?);
            }
            // C writes six digits after the point unless told otherwise.
            b'f' | b'F' | b'g' | b'G' | b'e' | b'E' => {
                let value = f64::from_bits(next(8)?);
                out.push_str(&format!("{value:.*}", precision.unwrap_or(6)));
            }
            other => out.push_str(&format!("%{}", char::from(other))),
        }
        rest = &after[length + 1..];
    }
    out.push_str(rest);
    Ok(out)
}
