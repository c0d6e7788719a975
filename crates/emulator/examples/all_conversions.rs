//! Every f32 to every narrower format, in every rounding, against the second implementation of the tests.
//!
//! `cargo run --release -p gable-emulator --example all_conversions [FORMAT..]`; without names all formats. About half a minute for
//! each conversion on two cores.

#[expect(dead_code, reason = "the exact integers in it are for arithmetic")]
#[path = "../tests/numbers/reference.rs"]
mod reference;

use std::process::ExitCode;
use std::time::Instant;

use gable_emulator::numbers::convert::{self, Clamping};
use gable_emulator::numbers::{Format, Rounding};
use rayon::prelude::*;

use reference::{Layout, Round, Table};

/// Codes of one task: a run of ascending magnitudes of one sign.
const RUN: u64 = 1 << 20;

const FORMATS: [(Format, Layout); 8] = [
    (Format::F16, reference::F16),
    (Format::BF16, reference::BF16),
    (Format::TF32, reference::TF32),
    (Format::E4M3, reference::E4M3),
    (Format::E5M2, reference::E5M2),
    (Format::E2M3, reference::E2M3),
    (Format::E3M2, reference::E3M2),
    (Format::E2M1, reference::E2M1),
];

/// The first f32 of a run that converts differently, with both results.
fn difference(table: &Table, first: u64, round: Round, of: impl Fn(u64) -> u64) -> Option<(u64, u64, u64)> {
    let mut low = 0;
    (first..first + RUN).find_map(|code| {
        let expected = table.place_from(&mut low, f64::from(f32::from_bits(code as u32)), round);
        let found = of(code);
        (found != expected).then_some((code, found, expected))
    })
}

fn check(name: &str, table: &Table, round: Round, of: impl Fn(u64) -> u64 + Sync) -> bool {
    let begun = Instant::now();
    let runs = (1u64 << 32) / RUN;
    let different = (0..runs).into_par_iter().find_map_first(|run| difference(table, run * RUN, round, &of));
    match different {
        None => println!("{name}: 4294967296 equal, {:.1} s", begun.elapsed().as_secs_f64()),
        Some((code, found, expected)) => println!("{name}: {code:#010x} gives {found:#x}, expected {expected:#x}"),
    }
    different.is_none()
}

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut equal = true;
    for (format, layout) in
        FORMATS.into_iter().filter(|(format, _)| wanted.is_empty() || wanted.iter().any(|name| name == format.name))
    {
        for finite in [false, true] {
            // Formats without infinity are converted to with `.satfinite` alone.
            if !finite && format.infinity().is_none() {
                continue;
            }
            let clamping = Clamping { finite, ..Clamping::default() };
            let table = Table::new(if finite { layout.saturating() } else { layout });
            let suffix = if finite { ".satfinite" } else { "" };
            let name = |rounding: &str| format!("cvt.{rounding}{suffix}.{}.f32", format.name);
            equal &= check(&name("rn"), &table, Round::Nearest, |code| convert::narrow(code, format, clamping));
            let general = [
                ("rz", Round::Zero, Rounding::Zero),
                ("rm", Round::Down, Rounding::Down),
                ("rp", Round::Up, Rounding::Up),
            ];
            for (spelling, round, rounding) in general {
                equal &= check(&name(spelling), &table, round, |code| {
                    convert::convert(code, Format::F32, format, rounding, clamping)
                });
            }
        }
    }
    if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
