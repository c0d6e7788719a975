//! Products of two factors that memory holds as narrow elements times scales: recognises them in the region, and states
//! them as a product of the stored elements, whose sums are scaled.
//!
//! ```text
//!   a: e4m3[m, k]   scales: f32[m, k / 128]          b: e4m3[n, k]   scales: f32[n / 128, k / 128]
//!      cast to f32     each 128 times along k           cast to f32     each 128 times along k and n
//!            \____ mul ____/                                  \____ mul ____/
//!                   \__________________ matmul _____________________/
//!
//!   the same:   sum over groups g of k:   a_scale[m, g] * b_scale[n, g] * (sum over k in g: a[m, k] * b[n, k])
//! ```
//! Scales may be of several kinds, one for each 16 values of k and one for the whole tensor, say, and moves may stand
//! anywhere. A factor of 16 bits is one of these only where its scaled elements are exact in it, so that nothing was rounded;
//! one of f32 rounds each element by 2^-24 of it, as the scaled sum is rounded, which is what sums in f32 lose anyway.

use super::axes::Axes;
use super::dequantise::{is_scale, memory_of, stored};
use super::normal::Plan;
use super::problem::{Codes, Memory, Operand, Problem, Scaled, Side};
use crate::engine::{Engine, View};
use crate::index::IndexId;
use crate::program::ValueId;
use gable_ir::{Group, Op};
use gable_tensor::DType;

/// A scale's place and its type in memory.
type Scale = (View, DType);

/// Where an element of a factor comes from.
struct Source {
    stored: (View, Codes),
    scales: Vec<Scale>,
}

/// The type of a stored element.
fn element_of(codes: Codes) -> Option<DType> {
    match codes {
        Codes::Bytes(dtype) if dtype.is_float() => Some(dtype),
        Codes::E2m1Pairs => Some(DType::E2M1),
        Codes::Bytes(_) | Codes::Int4Pairs => None,
    }
}

/// Significant bits of a type's numbers.
fn significant_bits(dtype: DType) -> u32 {
    match dtype {
        DType::UE8M0 => 1,
        DType::E2M1 => 2,
        DType::E5M2 | DType::E3M2 => 3,
        DType::E4M3 | DType::E2M3 => 4,
        DType::BF16 => 8,
        DType::F16 => 11,
        _ => 24,
    }
}

/// Whether stored elements times scales are exact in the type of the factor, or rounded to f32.
fn keeps(factor: DType, element: DType, scales: &[Scale]) -> bool {
    match factor {
        DType::F32 => true,
        // As wide a range as f32.
        DType::BF16 => {
            let bits: u32 = scales.iter().map(|(_, dtype)| significant_bits(*dtype)).sum();
            significant_bits(element) + bits <= significant_bits(factor)
        }
        // The largest products of other scales and elements are beyond f16.
        DType::F16 => match scales {
            [] => true,
            [(_, scale)] => *scale == DType::E4M3 && matches!(element, DType::E2M1 | DType::E2M3 | DType::E3M2),
            _ => false,
        },
        _ => false,
    }
}

/// Whether every scale of a type is exact in that of the factor.
fn converts_exactly(scale: DType, factor: DType) -> bool {
    match factor {
        DType::F32 => true,
        DType::BF16 => matches!(scale, DType::BF16 | DType::E4M3 | DType::UE8M0),
        DType::F16 => matches!(scale, DType::F16 | DType::E4M3),
        _ => false,
    }
}

impl Plan {
    /// The product as one of stored elements with scales, where both factors are of the kind in the module's text and at least
    /// one has a scale.
    pub(super) fn of_stored(&self, engine: &mut Engine<'_>) -> Option<Plan> {
        let computed = |side| matches!(self.problem.operand(side), Operand::Expression { .. });
        if self.is_convolution() || !self.problem.further.is_empty() || !(computed(Side::A) || computed(Side::B)) {
            return None;
        }
        let (a, b) = (self.stored_side(engine, Side::A)?, self.stored_side(engine, Side::B)?);
        if a.scaled.scales.is_empty() && b.scaled.scales.is_empty() {
            return None;
        }
        let mut plan = self.clone();
        plan.views = [(Side::A, a.view), (Side::B, b.view)].into();
        plan.problem = Problem {
            element: a.memory.stored,
            a: Operand::Memory(a.memory),
            b: Operand::Memory(b.memory),
            quantised: None,
            scaled: Some([a.scaled, b.scaled]),
            ..plan.problem
        };
        Some(plan)
    }

    fn stored_side(&self, engine: &mut Engine<'_>, side: Side) -> Option<StoredSide> {
        let axes = self.reasoning_axes(engine);
        let source = self.scaled_source(engine, side, &axes.map(|axis| axis.index))?;
        let (view, codes) = source.stored;
        let element = element_of(codes)?;
        let factor = engine.program.ty(self.operand(side)).dtype;
        if !keeps(factor, element, &source.scales) {
            return None;
        }
        // Two to a byte, or a byte for each.
        let bits = if codes.bits() < 8 { codes.bits() } else { 8 };
        let memory = memory_of(engine, side, &axes, &view, (element, bits))?;
        let of_scale = |(view, dtype): &Scale| memory_of(engine, side, &axes, view, (*dtype, dtype.bits()));
        let scales = source.scales.iter().map(of_scale).collect::<Option<_>>()?;
        Some(StoredSide { memory, view, scaled: Scaled { codes, scales } })
    }

    /// Where the stored element of a batch entry starts.
    pub(super) fn stored_entry(&self, engine: &mut Engine<'_>, side: Side, batch: &[IndexId]) -> Option<View> {
        Some(self.source_of_entry(engine, side, batch)?.stored.0)
    }

    /// Where the scales of the kind at `position` start in a batch entry, and their type.
    pub(super) fn scale_entry(
        &self,
        engine: &mut Engine<'_>,
        side: Side,
        position: usize,
        batch: &[IndexId],
    ) -> Option<(View, DType)> {
        self.source_of_entry(engine, side, batch)?.scales.get(position).copied()
    }

    fn source_of_entry(&self, engine: &mut Engine<'_>, side: Side, batch: &[IndexId]) -> Option<Source> {
        let zero = engine.indices.constant(0);
        let axes = self.axes_at(engine, batch, zero, zero, Some(zero));
        self.scaled_source(engine, side, &axes)
    }

    fn scaled_source(&self, engine: &mut Engine<'_>, side: Side, axes: &Axes<IndexId>) -> Option<Source> {
        let place = self.place(engine, side, axes);
        factor(engine, self.operand(side), &place.coordinates)
    }
}

/// One factor, taken apart.
struct StoredSide {
    memory: Memory,
    view: View,
    scaled: Scaled,
}

/// The source of a value's element at coordinates.
fn factor(engine: &mut Engine<'_>, value: ValueId, coordinates: &[IndexId]) -> Option<Source> {
    if let Some(stored) = element(engine, value, coordinates) {
        return Some(Source { stored, scales: Vec::new() });
    }
    let program = engine.program;
    let node = &program.values[value];
    match &node.op {
        op if op.is(Group::Movement) => {
            let inner = engine.moved(node, coordinates)?;
            factor(engine, node.operands[0], &inner)
        }
        Op::Mul(_) => {
            let [a, b] = node.operands[..] else { return None };
            let mut scaled = |value, by| -> Option<Source> {
                let mut source = factor(engine, value, coordinates)?;
                source.scales.extend(scales(engine, by, coordinates)?);
                Some(source)
            };
            match (scaled(a, b), scaled(b, a)) {
                // Elements and scales of one type: there are fewer scales.
                (Some(one), Some(other)) => {
                    let elements = |source: &Source| program.ty(source.stored.0.input).len();
                    Some(if elements(&one) >= elements(&other) { one } else { other })
                }
                (one, other) => one.or(other),
            }
        }
        // Whether what comes out is exact is asked of the last type; a wider one on the way does no harm.
        Op::Cast(op) => {
            let from = program.ty(node.operands[0]).dtype;
            let source = factor(engine, node.operands[0], coordinates)?;
            let element = element_of(source.stored.1)?;
            (op.to.is_float() && keeps(from, element, &source.scales)).then_some(source)
        }
        _ => None,
    }
}

/// A value that is a stored element and its conversion.
fn element(engine: &mut Engine<'_>, value: ValueId, coordinates: &[IndexId]) -> Option<(View, Codes)> {
    if let Some(found) = stored(engine, value, coordinates) {
        return Some(found);
    }
    let (view, dtype) = engine.converted_view(value, coordinates)?;
    matches!(dtype, DType::E2M1 | DType::E2M3 | DType::E3M2).then_some((view, Codes::Bytes(dtype)))
}

/// The scales that a value is the product of.
fn scales(engine: &mut Engine<'_>, value: ValueId, coordinates: &[IndexId]) -> Option<Vec<Scale>> {
    let program = engine.program;
    let node = &program.values[value];
    let factor = node.ty.dtype;
    if let Some((view, dtype)) = engine.converted_view(value, coordinates) {
        // A conversion to a narrower type rounds.
        return (is_scale(dtype) && converts_exactly(dtype, factor)).then(|| vec![(view, dtype)]);
    }
    match &node.op {
        op if op.is(Group::Movement) => {
            let inner = engine.moved(node, coordinates)?;
            scales(engine, node.operands[0], &inner)
        }
        Op::Mul(_) if factor == DType::F32 => {
            let [a, b] = node.operands[..] else { return None };
            let mut all = scales(engine, a, coordinates)?;
            all.extend(scales(engine, b, coordinates)?);
            Some(all)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Program;
    use gable_ptx::Target;

    /// The product that is found in a case of the contraction tests, in one line, and where its elements and scales lie.
    fn found(source: &str) -> Option<Problem> {
        let graph = gable_ir::text::parse(source).unwrap_or_else(|e| panic!("{e}"));
        let program = Program::of_region(&graph, &graph.regions[0]).expect("the case is a region");
        let mut engine = Engine::new(&program, "found", Target::Sm90a, &[]);
        let plan = Plan::of_factors(&mut engine, false).expect("the case is a product").expect("it has a result");
        plan.of_stored(&mut engine).map(|plan| plan.problem)
    }

    macro_rules! case {
        ($name:literal) => {
            include_str!(concat!("../../../../tests/codegen/contraction/", $name, ".gir"))
        };
    }

    #[test]
    fn every_form_of_scales_is_found_in_both_factors() {
        let lines: Vec<String> = [
            case!("scaled_blocks"),
            case!("scaled_mxfp8"),
            case!("scaled_mxfp6"),
            case!("scaled_mxfp4"),
            case!("scaled_nvfp4"),
            case!("scaled_mxfp8_by_mxfp4"),
        ]
        .into_iter()
        .map(|source| found(source).map_or("none".to_string(), |problem| problem.to_string()))
        .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        40x128x256 e4m3 to bf16, A matrix of e4m3 k-major by 16 scaled by f32 for 1 by 128, B matrix of e4m3 k-major by 16 scaled by f32 for all by 128
        20x24x64 e4m3 to bf16, A matrix of e4m3 k-major by 16 scaled by ue8m0 for 1 by 32, B matrix of e4m3 k-major by 16 scaled by ue8m0 for 1 by 32
        20x24x64 e2m3 to f32, A matrix of e2m3 k-major by 16 scaled by ue8m0 for 1 by 32, B matrix of e3m2 k-major by 16 scaled by ue8m0 for 1 by 32
        20x24x64 e2m1 to f32, A matrix of e2m1 k-major by 16 of e2m1 pairs scaled by ue8m0 for 1 by 32, B matrix of e2m1 k-major by 16 of e2m1 pairs scaled by ue8m0 for 1 by 32
        20x24x64 e2m1 to bf16, A matrix of e2m1 k-major by 16 of e2m1 pairs scaled by e4m3 for 1 by 16 scaled by f32 for all by all, B matrix of e2m1 k-major by 16 of e2m1 pairs scaled by e4m3 for 1 by 16 scaled by f32 for all by all
        20x24x64 e4m3 to bf16, A matrix of e4m3 k-major by 16 scaled by ue8m0 for 1 by 32, B matrix of e2m1 k-major by 16 scaled by ue8m0 for 1 by 32
        ");
    }

    #[test]
    fn bits_of_bytes_are_the_elements_that_a_table_of_their_values_gives() {
        let both =
            [case!("scaled_nvfp4"), case!("scaled_nvfp4_bits")].map(|source| found(source).expect("it is found"));
        assert_eq!(both[0], both[1]);
    }

    #[test]
    fn packed_elements_are_counted_in_elements() {
        let problem = found(case!("scaled_mxfp4")).expect("it is found");
        let Operand::Memory(a) = &problem.a else { panic!("{problem}") };
        assert_eq!((a.outer[0].size, a.outer[0].stride, a.k[0].stride), (20, 64, 1));
        let [scaled, _] = problem.scaled.expect("it has scales");
        let scales: Vec<_> = scaled.scales[0].k.iter().map(|digit| (digit.size, digit.stride)).collect();
        assert_eq!((scaled.codes, scales), (Codes::E2m1Pairs, vec![(2, 1), (32, 0)]));
    }

    /// What was rounded on the way is not the same product.
    #[test]
    fn factors_that_were_rounded_are_left_as_they_are() {
        let by = |scale: &str, factor: &str| {
            format!(
                "graph @g(%w: e4m3[8, 32], %s: {scale}[8, 1]) {{
                    region @r contraction {{
                        %0 = cast %w {{to={factor}}} : {factor}[8, 32]
                        %1 = cast %s {{to={factor}}} : {factor}[8, 1]
                        %2 = broadcast %1 {{shape=[8, 32]}} : {factor}[8, 32]
                        %3 = mul %0, %2 : {factor}[8, 32]
                        %4 = transpose %3 {{perm=[1, 0]}} : {factor}[32, 8]
                        %5 = matmul %3, %4 {{acc=f32, out=f32}} : f32[8, 8]
                        %6 = sub %5, %5 : f32[8, 8]
                    }}
                    return y = %6
                }}"
            )
        };
        for (scale, factor, is_found) in [
            ("f32", "f32", true),
            ("ue8m0", "bf16", true),
            ("e4m3", "bf16", true),
            ("f32", "bf16", false),
            ("bf16", "bf16", false),
            ("ue8m0", "f16", false),
            ("f16", "f32", true),
        ] {
            assert_eq!(found(&by(scale, factor)).is_some(), is_found, "{scale} {factor}");
        }
    }
}
