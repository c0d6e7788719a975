//! The descriptors of known kernels, and every bit of every kind.

use super::*;

fn form(kind: Kind) -> Form {
    let scale_vector = match kind {
        Kind::Mxf8f6f4 => Some(ScaleVector::X1),
        Kind::Mxf4 => Some(ScaleVector::X2),
        Kind::Mxf4nvf4 => Some(ScaleVector::X4),
        _ => None,
    };
    Form { kind, cta_group: 1, sparse: false, weight_stationary: false, scale_vector, k96: false }
}

/// Descriptors that kernels which assemble use: M = N = 128.
const KNOWN: [(Kind, u32); 7] = [
    (Kind::F16, 0x0820_0490),
    (Kind::Tf32, 0x0820_0910),
    (Kind::F8f6f4, 0x0820_0010),
    (Kind::I8, 0x0820_04a0),
    (Kind::Mxf8f6f4, 0x08a0_0000),
    (Kind::Mxf4, 0x08a0_0480),
    (Kind::Mxf4nvf4, 0x0820_0480),
];

#[test]
fn the_descriptors_of_known_kernels_decode_to_what_they_mean() {
    for (kind, bits) in KNOWN {
        let decoded = InstructionDescriptor::decode(bits, form(kind)).unwrap();
        assert_eq!((decoded.m, decoded.n, decoded.a_major), (128, 128, Major::K), "{kind:?}");
        assert!(!decoded.negate_a && !decoded.negate_b);
        let expected = match kind {
            Kind::F16 => (16, Element::Bf16, Accumulator::F32),
            Kind::Tf32 => (8, Element::Tf32, Accumulator::F32),
            Kind::F8f6f4 | Kind::Mxf8f6f4 => (32, Element::E4m3, Accumulator::F32),
            Kind::I8 => (32, Element::S8, Accumulator::S32 { saturate: false }),
            Kind::Mxf4 | Kind::Mxf4nvf4 => (64, Element::E2m1, Accumulator::F32),
        };
        assert_eq!((decoded.k, decoded.a, decoded.d), expected, "{kind:?}");
        assert_eq!(decoded.a, decoded.b);
        let scales = decoded.scales.map(|scales| (scales.format, scales.per_row));
        let expected = match kind {
            Kind::Mxf8f6f4 => Some((ScaleFormat::Ue8m0, 1)),
            Kind::Mxf4 => Some((ScaleFormat::Ue8m0, 2)),
            Kind::Mxf4nvf4 => Some((ScaleFormat::Ue4m3, 4)),
            _ => None,
        };
        assert_eq!(scales, expected);
    }
    let pair = Form { cta_group: 2, ..form(Kind::F16) };
    let decoded = InstructionDescriptor::decode(0x1040_0490, pair).unwrap();
    assert_eq!((decoded.m, decoded.n, decoded.rows_per_cta()), (256, 256, 128));
    let k96 = Form { k96: true, scale_vector: Some(ScaleVector::Block16), ..form(Kind::Mxf4nvf4) };
    let decoded = InstructionDescriptor::decode(0x8820_0480, k96).unwrap();
    assert_eq!((decoded.k, decoded.scales.unwrap().per_row), (96, 6));
}

/// What flipping one bit of a known descriptor does.
fn flipped(kind: Kind, bits: u32, bit: u32) -> Result<InstructionDescriptor, InstructionFault> {
    InstructionDescriptor::decode(bits ^ 1 << bit, form(kind)).map_err(|error| error.fault)
}

#[test]
fn every_reserved_bit_of_every_kind_is_refused() {
    for (kind, bits) in KNOWN {
        let reserved: &[u32] = match kind {
            Kind::F16 | Kind::Tf32 | Kind::F8f6f4 => &[3, 6, 23, 29, 30, 31],
            Kind::I8 => &[6, 23, 29, 30, 31],
            Kind::Mxf8f6f4 => &[0, 1, 3, 6, 24, 25, 26, 31],
            Kind::Mxf4 | Kind::Mxf4nvf4 => &[0, 1, 3, 6, 12, 24, 25, 26],
        };
        for &bit in reserved {
            let refused = flipped(kind, bits, bit);
            assert!(matches!(refused, Err(InstructionFault::Reserved { .. })), "{kind:?} bit {bit}: {refused:?}");
        }
    }
}

#[test]
fn each_single_bit_flip_is_either_refused_or_changes_the_meaning() {
    for (kind, bits) in KNOWN {
        let meaning = InstructionDescriptor::decode(bits, form(kind)).unwrap();
        for bit in 0..32 {
            if let Ok(other) = flipped(kind, bits, bit) {
                assert_ne!(other, meaning, "{kind:?} bit {bit}");
            }
        }
    }
}

#[test]
fn combinations_that_the_tables_leave_out_are_refused() {
    let fault = |bits, form| InstructionDescriptor::decode(bits, form).unwrap_err().fault;
    // Sparsity bit without .sp and the other way round.
    assert!(matches!(fault(0x0820_0494, form(Kind::F16)), InstructionFault::Sparsity { .. }));
    let sparse = Form { sparse: true, ..form(Kind::F16) };
    assert!(matches!(fault(0x0820_0490, sparse), InstructionFault::Sparsity { .. }));
    assert_eq!(InstructionDescriptor::decode(0x0820_0495, sparse).unwrap().sparsity_selector, 1);
    assert_eq!(fault(0x0820_0496, sparse), InstructionFault::Selector(2));
    assert_eq!(InstructionDescriptor::decode(0x0820_0494, sparse).unwrap().stored_k(), 16);
    // bf16 into f16; tf32 into f16; negated integers; transposed packed operands.
    assert_eq!(fault(0x0820_0480, form(Kind::F16)), InstructionFault::Bf16IntoF16);
    assert!(matches!(fault(0x0820_0900, form(Kind::Tf32)), InstructionFault::Type { operand: "D", .. }));
    assert_eq!(fault(0x0820_24a0, form(Kind::I8)), InstructionFault::Negate { operand: "A", bit: 13 });
    assert_eq!(fault(0x08a0_8480, form(Kind::Mxf4)), InstructionFault::Transpose { operand: "A", bit: 15 });
    // M = 64 of a scaled kind is not expressible; M = 256 needs the pair.
    assert!(matches!(fault(0x10a0_0000, form(Kind::Mxf8f6f4)), InstructionFault::M { found: 256, .. }));
    assert!(matches!(fault(0x1020_0490, form(Kind::F16)), InstructionFault::M { found: 256, .. }));
    // K = 96 on a target without it.
    let block16 = Form { scale_vector: Some(ScaleVector::Block16), ..form(Kind::Mxf4nvf4) };
    assert_eq!(fault(0x8820_0480, block16), InstructionFault::K96);
    // UE4M3 scales for blocks of 32; a scale id that the block does not have.
    let block32 = Form { scale_vector: Some(ScaleVector::Block32), ..form(Kind::Mxf4nvf4) };
    assert!(matches!(fault(0x0820_0480, block32), InstructionFault::ScaleType { .. }));
    assert!(matches!(fault(0x08a0_0490, form(Kind::Mxf4)), InstructionFault::ScaleId { operand: "B", found: 1, .. }));
    assert!(matches!(fault(0x2820_0480, block16), InstructionFault::ScaleId { operand: "A", found: 1, .. }));
    // The vector is not optional for mxf4nvf4.
    let unsaid = Form { scale_vector: None, ..form(Kind::Mxf4nvf4) };
    assert_eq!(fault(0x0820_0480, unsaid), InstructionFault::ScaleVector);
    let stationary = Form { weight_stationary: true, ..form(Kind::Mxf4) };
    assert_eq!(fault(0x08a0_0480, stationary), InstructionFault::WeightStationary);
}

#[test]
fn n_goes_in_the_steps_of_its_kind() {
    let with_n = |bits: u32, n: u32| bits & !(0x3f << 17) | (n >> 3) << 17;
    let legal = |bits: u32, form: Form| -> Vec<u32> {
        (0..=504).step_by(8).filter(|&n| InstructionDescriptor::decode(with_n(bits, n), form).is_ok()).collect()
    };
    let steps = |step: usize| -> Vec<u32> { (step as u32..=256).step_by(step).collect() };
    assert_eq!(legal(0x0820_0490, form(Kind::F16)), steps(8));
    assert_eq!(legal(0x0820_0490, Form { cta_group: 2, ..form(Kind::F16) }), steps(16));
    let integers: Vec<u32> = [8, 16, 24, 32].into_iter().chain((48..=256).step_by(16)).collect();
    assert_eq!(legal(0x0820_04a0, form(Kind::I8)), integers);
    assert_eq!(legal(0x0820_04a0, Form { cta_group: 2, ..form(Kind::I8) }), steps(32));
    // Bit 16: B is N-major.
    assert_eq!(legal(0x0821_0010, form(Kind::F8f6f4)), steps(16));
    assert_eq!(legal(0x0821_0010, Form { cta_group: 2, ..form(Kind::F8f6f4) }), steps(32));
    let stationary = Form { weight_stationary: true, ..form(Kind::F16) };
    assert_eq!(legal(0x0820_0490, stationary), [64, 128, 256]);
    assert_eq!(legal(0x0820_0494, Form { sparse: true, ..stationary }), [64, 128]);
}

#[test]
fn shifts_belong_to_the_weight_stationary_form() {
    let stationary = Form { weight_stationary: true, ..form(Kind::F16) };
    let shift = |code: u32| InstructionDescriptor::decode(0x0820_0490 | code << 30, stationary).unwrap().max_shift;
    assert_eq!([0, 1, 2, 3].map(shift), [0, 8, 16, 32]);
    let small = InstructionDescriptor::decode(0x0220_0490, stationary).unwrap();
    assert_eq!(small.m, 32);
}
