//! Where the elements of a value lie in a buffer: an offset and a stride per axis.
//!
//! Transposes, slices, broadcasts and most reshapes only change the layout; no element moves until a kernel reads it
//! through a [`Walk`].

/// A strided view. Strides count elements and may be negative or zero; all positions lie in the buffer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<isize>,
}

impl Layout {
    /// Row-major from the start of the buffer.
    pub fn row_major(shape: &[usize]) -> Layout {
        let strides = gable_tensor::tensor::strides(shape).into_iter().map(|stride| stride as isize).collect();
        Layout { offset: 0, shape: shape.to_vec(), strides }
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Result axis `i` is axis `perm[i]`.
    pub fn transposed(&self, perm: &[usize]) -> Layout {
        Layout {
            offset: self.offset,
            shape: perm.iter().map(|&axis| self.shape[axis]).collect(),
            strides: perm.iter().map(|&axis| self.strides[axis]).collect(),
        }
    }

    /// Repeated along axes of size 1 and along new leading axes.
    pub fn broadcast(&self, shape: &[usize]) -> Layout {
        let lead = shape.len() - self.shape.len();
        let stride = |axis: usize| match axis.checked_sub(lead) {
            Some(own) if self.shape[own] != 1 => self.strides[own],
            _ => 0,
        };
        Layout { offset: self.offset, shape: shape.to_vec(), strides: (0..shape.len()).map(stride).collect() }
    }

    /// Elements `start, start + step, ...` of each axis, as many as `shape` says.
    pub fn sliced(&self, starts: &[i64], steps: &[i64], shape: &[usize]) -> Layout {
        if shape.contains(&0) {
            return Layout::row_major(shape);
        }
        let start: isize = starts.iter().zip(&self.strides).map(|(&start, stride)| start as isize * stride).sum();
        Layout {
            offset: self.offset.strict_add_signed(start),
            shape: shape.to_vec(),
            strides: self.strides.iter().zip(steps).map(|(stride, &step)| stride * step as isize).collect(),
        }
    }

    /// The same elements in the same order under another shape, where strides can say that.
    pub fn reshaped(&self, shape: &[usize]) -> Option<Layout> {
        if self.len() == 0 {
            return Some(Layout::row_major(shape));
        }
        let mut runs = self.runs();
        let mut strides = vec![0; shape.len()];
        let (mut left, mut stride) = runs.pop().unwrap_or((1, 0));
        for axis in (0..shape.len()).rev() {
            if shape[axis] == 1 {
                continue;
            }
            if left == 1 {
                (left, stride) = runs.pop()?;
            }
            if left % shape[axis] != 0 {
                return None;
            }
            strides[axis] = stride;
            left /= shape[axis];
            stride *= shape[axis] as isize;
        }
        Some(Layout { offset: self.offset, shape: shape.to_vec(), strides })
    }

    /// Axes as (size, stride), outermost first; axes of size 1 left out, neighbours that one stride covers merged.
    fn runs(&self) -> Vec<(usize, isize)> {
        let mut runs: Vec<(usize, isize)> = Vec::with_capacity(self.shape.len());
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            if size == 1 {
                continue;
            }
            match runs.last_mut() {
                Some(outer) if outer.1 == stride * size as isize => *outer = (outer.0 * size, stride),
                _ => runs.push((size, stride)),
            }
        }
        runs
    }

    /// The offset of the element at the row-major position `flat` of the leading axes `axes`, the others at zero.
    pub fn offset_at(&self, axes: std::ops::Range<usize>, mut flat: usize) -> usize {
        let mut at = self.offset as isize;
        for axis in axes.rev() {
            at += (flat % self.shape[axis]) as isize * self.strides[axis];
            flat /= self.shape[axis];
        }
        at as usize
    }

    /// The axes from `axis` on, of one element of the axes before it.
    pub fn tail(&self, axis: usize, offset: usize) -> Layout {
        Layout { offset, shape: self.shape[axis..].to_vec(), strides: self.strides[axis..].to_vec() }
    }

    /// The elements as a slice, when they lie one after the other.
    pub fn dense<'a, T>(&self, data: &'a [T]) -> Option<&'a [T]> {
        let len = self.len();
        match self.runs().as_slice() {
            _ if len == 0 => Some(&[]),
            [] | [(_, 1)] => Some(&data[self.offset..self.offset + len]),
            _ => None,
        }
    }
}

/// A layout prepared for reading elements in row-major order.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    offset: usize,
    /// (size, stride), outermost first.
    runs: Vec<(usize, isize)>,
}

impl Walk {
    pub fn new(layout: &Layout) -> Walk {
        Walk { offset: layout.offset, runs: layout.runs() }
    }

    /// The same steps from another start.
    pub fn moved(&self, offset: usize) -> Walk {
        Walk { offset, runs: self.runs.clone() }
    }

    /// Fills `out` with the elements from row-major position `start` on. They must exist.
    pub fn read<T: Copy>(&self, data: &[T], start: usize, out: &mut [T]) {
        match *self.runs.as_slice() {
            [] => out.fill(data[self.offset]),
            [(_, stride)] => copy_run(data, self.offset as isize + start as isize * stride, stride, out),
            [.., (size, stride)] => self.read_rows(data, start, size, stride, out),
        }
    }

    fn read_rows<T: Copy>(&self, data: &[T], start: usize, size: usize, stride: isize, out: &mut [T]) {
        let outer = &self.runs[..self.runs.len() - 1];
        let (mut column, mut row) = (start % size, start / size);
        let mut index = vec![0; outer.len()];
        let mut at = self.offset as isize;
        for (axis, &(n, outer_stride)) in outer.iter().enumerate().rev() {
            index[axis] = row % n;
            row /= n;
            at += index[axis] as isize * outer_stride;
        }
        let mut rest = out;
        while !rest.is_empty() {
            let n = (size - column).min(rest.len());
            let (now, later) = rest.split_at_mut(n);
            copy_run(data, at + column as isize * stride, stride, now);
            rest = later;
            column = 0;
            for axis in (0..outer.len()).rev() {
                index[axis] += 1;
                at += outer[axis].1;
                if index[axis] < outer[axis].0 {
                    break;
                }
                at -= outer[axis].0 as isize * outer[axis].1;
                index[axis] = 0;
            }
        }
    }
}

/// Elements from `at` on, `stride` apart.
pub(super) fn copy_run<T: Copy>(data: &[T], at: isize, stride: isize, out: &mut [T]) {
    let start = at as usize;
    match stride {
        1 => out.copy_from_slice(&data[start..start + out.len()]),
        0 => out.fill(data[start]),
        2.. => {
            let from = data[start..].iter().step_by(stride as usize);
            out.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
        }
        _ => {
            let from = data[..=start].iter().rev().step_by(stride.unsigned_abs());
            out.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(layout: &Layout, from: usize, n: usize) -> Vec<i64> {
        let data: Vec<i64> = (0..24).collect();
        let mut out = vec![-1; n];
        Walk::new(layout).read(&data, from, &mut out);
        out
    }

    #[test]
    fn views_read_what_they_say() {
        let base = Layout::row_major(&[2, 3, 4]);
        assert_eq!(elements(&base, 5, 3), [5, 6, 7]);
        let turned = base.transposed(&[2, 0, 1]);
        assert_eq!(elements(&turned, 0, 7), [0, 4, 8, 12, 16, 20, 1]);
        let reversed = base.sliced(&[1, 2, 3], &[-1, -2, -1], &[2, 2, 4]);
        assert_eq!(elements(&reversed, 2, 8), [21, 20, 15, 14, 13, 12, 11, 10]);
        let repeated = base.sliced(&[1, 0, 2], &[1, 1, 1], &[1, 3, 1]).broadcast(&[2, 3, 2]);
        assert_eq!(elements(&repeated, 1, 6), [14, 18, 18, 22, 22, 14]);
    }

    #[test]
    fn reshapes_without_copy_where_strides_allow() {
        let base = Layout::row_major(&[2, 3, 4]);
        assert_eq!(base.reshaped(&[6, 2, 2]), Some(Layout::row_major(&[6, 2, 2])));
        let turned = base.transposed(&[1, 0, 2]);
        assert_eq!(turned.reshaped(&[6, 4]), None);
        let split = turned.reshaped(&[3, 2, 2, 2]).expect("splits the last axis");
        assert_eq!(elements(&split, 0, 24), elements(&turned, 0, 24));
        assert!(turned.dense(&[0; 24]).is_none());
        assert_eq!(base.sliced(&[1, 0, 0], &[1, 1, 1], &[1, 3, 4]).dense(&[7; 24]), Some(&[7; 12][..]));
        assert_eq!(base.broadcast(&[0, 2, 3, 4]).reshaped(&[4, 0]), Some(Layout::row_major(&[4, 0])));
    }
}
