//! Sliding windows along one axis: which input a tap of an output meets. Convolutions and window reductions share it.

use std::ops::Range;

/// A window along one axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub input: usize,
    pub output: usize,
    pub taps: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Padding before the first element; negative crops.
    pub low: i64,
}

impl Axis {
    /// The input position of a tap of an output, unless it lies in the padding.
    pub fn source(&self, output: usize, tap: usize) -> Option<usize> {
        let at = (output * self.stride + tap * self.dilation) as i64 - self.low;
        (at >= 0 && (at as usize) < self.input).then_some(at as usize)
    }

    /// The outputs whose tap lies inside the input.
    pub fn inside(&self, tap: usize) -> Range<usize> {
        let shift = self.low - (tap * self.dilation) as i64;
        let stride = self.stride as i64;
        let up = |n: i64| if n <= 0 { 0 } else { ((n + stride - 1) / stride) as usize };
        let end = up(shift + self.input as i64).min(self.output);
        up(shift).min(end)..end
    }

    /// Whether outputs are the inputs themselves.
    pub fn is_identity(&self) -> bool {
        self.taps == 1 && self.stride == 1 && self.low == 0 && self.input == self.output
    }
}

/// Calls `visit` with every tap of `axes` that meets the input at the outputs `at`: the tap's number in row-major order
/// and the input's position, by the inputs' row-major strides `strides`.
pub(super) fn for_each_tap(axes: &[Axis], strides: &[usize], at: &[usize], visit: &mut impl FnMut(usize, usize)) {
    fn descend(
        axes: &[Axis],
        strides: &[usize],
        at: &[usize],
        (tap, base): (usize, usize),
        visit: &mut impl FnMut(usize, usize),
    ) {
        let Some(axis) = axes.first() else { return visit(tap, base) };
        for own in 0..axis.taps {
            if let Some(source) = axis.source(at[0], own) {
                let next = (tap * axis.taps + own, base + source * strides[0]);
                descend(&axes[1..], &strides[1..], &at[1..], next, visit);
            }
        }
    }
    descend(axes, strides, at, (0, 0), visit);
}

/// The coordinates of a row-major position.
pub(super) fn coordinates(mut flat: usize, sizes: impl DoubleEndedIterator<Item = usize>, at: &mut [usize]) {
    for (at, size) in at.iter_mut().rev().zip(sizes.rev()) {
        *at = flat % size;
        flat /= size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_agree_with_positions() {
        for (input, taps, stride, dilation, low, high) in [
            (7, 3, 1, 1, 1, 1),
            (7, 3, 2, 2, 3, 0),
            (5, 2, 3, 1, -1, 2),
            (1, 5, 1, 1, 2, 2),
            (4, 1, 2, 1, 0, -1),
            (3, 2, 9, 4, 4, 4),
        ] {
            let output = (input as i64 + low + high - (dilation * (taps - 1) + 1) as i64) as usize / stride + 1;
            let axis = Axis { input, output, taps, stride, dilation, low };
            for tap in 0..taps {
                let found: Vec<usize> = axis.inside(tap).collect();
                let expected: Vec<usize> = (0..output).filter(|&o| axis.source(o, tap).is_some()).collect();
                assert_eq!(found, expected, "{axis:?} tap {tap}");
            }
        }
    }
}
