//! Speed of `multiply` on one core, in multiply-adds a second: an element of the throughput is one of them, two flops.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gable_emulator::tensor_core::accumulate::{Accumulator, Device, Numerics, Unit};
use gable_emulator::tensor_core::element::{Element, ScaleFormat};
use gable_emulator::tensor_core::multiply::{Codes, Operand, Scales, Shape, multiply};

/// Numbers between 1/8 and 8 of either sign, or any integers.
fn codes(element: Element, count: usize) -> Vec<u32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u32
    };
    (0..count)
        .map(|_| match element.float_format() {
            None => next() & ((1 << element.bits()) - 1),
            Some(format) => {
                let bias = format.bias() as u32;
                let field = (bias.saturating_sub(3) + next() % 6).min((1 << format.exponent_bits) - 2);
                let fraction = next() & ((1 << format.fraction_bits) - 1);
                let code = (next() & 1) << (format.bits() - 1) | field << format.fraction_bits | fraction;
                if element == Element::Tf32 { code << 13 } else { code }
            }
        })
        .collect()
}

fn bench(c: &mut Criterion) {
    let f32 = Accumulator::F32;
    let cases = [
        ("wgmma bf16", Device::Hopper, Unit::Wgmma, Element::Bf16, f32, (64, 256, 16)),
        ("wgmma f16 to f16", Device::Hopper, Unit::Wgmma, Element::F16, Accumulator::F16, (64, 256, 16)),
        ("wgmma tf32", Device::Hopper, Unit::Wgmma, Element::Tf32, f32, (64, 256, 8)),
        ("wgmma e4m3", Device::Hopper, Unit::Wgmma, Element::E4m3, f32, (64, 256, 32)),
        ("wgmma s8", Device::Hopper, Unit::Wgmma, Element::S8, Accumulator::S32 { saturate: false }, (64, 256, 32)),
        ("tcgen05 bf16", Device::Blackwell, Unit::Tcgen05, Element::Bf16, f32, (128, 256, 16)),
        ("tcgen05 e4m3", Device::Blackwell, Unit::Tcgen05, Element::E4m3, f32, (128, 256, 32)),
        ("tcgen05 mxf4", Device::Blackwell, Unit::Tcgen05, Element::E2m1, f32, (128, 256, 64)),
        ("mma.sync bf16", Device::Hopper, Unit::Mma, Element::Bf16, f32, (16, 8, 16)),
        ("mma.sync e4m3", Device::Hopper, Unit::Mma, Element::E4m3, f32, (16, 8, 32)),
        ("mma.sync s8", Device::Hopper, Unit::Mma, Element::S8, Accumulator::S32 { saturate: true }, (16, 8, 32)),
    ];
    let mut group = c.benchmark_group("multiply");
    for (name, device, unit, element, accumulator, (m, n, k)) in cases {
        let (a, b) = (codes(element, m * k), codes(element, n * k));
        let narrow = |words: &[u32]| words.iter().map(|&word| word as u8).collect::<Vec<u8>>();
        let halves = |words: &[u32]| words.iter().map(|&word| word as u16).collect::<Vec<u16>>();
        let (a8, b8, a16, b16) = (narrow(&a), narrow(&b), halves(&a), halves(&b));
        let (a, b) = match element.bits() {
            32 => (Codes::Words(&a), Codes::Words(&b)),
            16 => (Codes::Halves(&a16), Codes::Halves(&b16)),
            _ => (Codes::Bytes(&a8), Codes::Bytes(&b8)),
        };
        let (a, b) = (Operand::new(element, a), Operand::new(element, b));
        let packed = element == Element::E2m1;
        let numerics = Numerics::of(device, unit, element, accumulator, packed);
        let ones = vec![127; (m + n) * k / 32];
        let scales = Scales { format: ScaleFormat::Ue8m0, block: 32, a: &ones[..m * k / 32], b: &ones[..n * k / 32] };
        let scales = packed.then_some(&scales);
        let mut d = vec![0; m * n];
        group.throughput(Throughput::Elements((m * n * k) as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                d.fill(0);
                multiply(&numerics, Shape { m, n, k }, black_box(&a), black_box(&b), scales, accumulator, &mut d)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
