//! Convolution: products of filters with columns of image patches, or direct sums where channels do not mix.
//!
//! In: a dense image and dense filters in either layout, any number of spatial axes. A tile of output positions is
//! gathered into columns that fit the second-level cache and multiplied at once; 1x1 convolutions multiply in place.

use super::gemm::{Gemm, Grid, Matrix, Tile, multiply_tiles, tile_size};
use super::kernel::{Arg, Kernel, Out};
use super::number::Float;
use super::parallel;
use super::rounding;
use super::window::{Axis, coordinates, for_each_tap};
use gable_ir::attr::Layout as ImageLayout;
use gable_ir::ops::Conv;
use gable_ir::{ConcreteType, OpError};
use gable_tensor::DType;
use gable_tensor::tensor::strides;
use std::marker::PhantomData;

/// Elements of gathered columns per task: 512 KiB of f32, within the second-level cache of current processors.
const COLUMN_ELEMENTS: usize = 128 * 1024;

/// A convolution of known sizes.
pub(super) struct FloatConv<T> {
    layout: ImageLayout,
    images: usize,
    groups: usize,
    /// Channels per group.
    channels_in: usize,
    channels_out: usize,
    axes: Vec<Axis>,
    out: DType,
    lane: PhantomData<T>,
}

impl<T: Gemm + Float> FloatConv<T> {
    pub fn new(op: &Conv, x: &ConcreteType, filter: &ConcreteType, out: &ConcreteType) -> FloatConv<T> {
        let rank = x.shape.len();
        let (spatial, filter_in) = match op.layout {
            ImageLayout::ChannelsFirst => (2, 1),
            ImageLayout::ChannelsLast => (1, rank - 1),
        };
        let axes = (0..rank - 2).map(|i| Axis {
            input: x.shape[spatial + i],
            output: out.shape[spatial + i],
            taps: filter.shape[spatial + i],
            stride: op.strides[i],
            dilation: op.dilations[i],
            low: op.low[i],
        });
        FloatConv {
            layout: op.layout,
            images: x.shape[0],
            groups: op.groups,
            channels_in: filter.shape[filter_in],
            channels_out: filter.shape[0] / op.groups,
            axes: axes.collect(),
            out: out.dtype,
            lane: PhantomData,
        }
    }

    fn positions_in(&self) -> usize {
        self.axes.iter().map(|axis| axis.input).product()
    }

    fn positions_out(&self) -> usize {
        self.axes.iter().map(|axis| axis.output).product()
    }

    fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.taps).product()
    }

    /// Row-major strides of the spatial axes alone.
    fn spatial_strides(&self) -> Vec<usize> {
        strides(&self.axes.iter().map(|axis| axis.input).collect::<Vec<_>>())
    }

    /// Products and one gathered tile of columns per task.
    fn by_products(&self, x: &[T], filter: &[T], out: &mut [T]) {
        let (positions, depth) = (self.positions_out(), self.channels_in * self.taps());
        let in_place = self.axes.iter().all(Axis::is_identity);
        let first = self.layout == ImageLayout::ChannelsFirst;
        let grid = if first {
            let count = self.images * self.groups;
            Grid::stacked(count, self.channels_out, positions)
        } else {
            let channels = self.groups * self.channels_out;
            Grid {
                outer: (self.images, positions * channels),
                inner: (self.groups, self.channels_out),
                rows: positions,
                columns: self.channels_out,
                row_stride: channels,
            }
        };
        let tile = if in_place {
            tile_size(grid.rows, grid.columns, depth)
        } else {
            // Whole filters, so that no patch is gathered twice.
            let n = (COLUMN_ELEMENTS / depth.max(1)).clamp(16, positions.max(16)).next_multiple_of(16);
            if first { (grid.rows, n) } else { (n, grid.columns) }
        };
        multiply_tiles(out, &grid, tile, |tile, multiply| {
            let (image, group) =
                if first { (tile.outer / self.groups, tile.outer % self.groups) } else { (tile.outer, tile.inner) };
            let weights = Matrix {
                data: filter,
                offset: group * self.channels_out * depth,
                rows: self.channels_out,
                columns: depth,
                row_stride: depth as isize,
                column_stride: 1,
            };
            if first {
                let weights = weights.part(tile.rows.clone(), 0..depth);
                let start = (image * self.groups + group) * self.channels_in * self.positions_in();
                if in_place {
                    let columns = Matrix {
                        data: x,
                        offset: start,
                        rows: depth,
                        columns: positions,
                        row_stride: positions as isize,
                        column_stride: 1,
                    };
                    return multiply(weights, columns.part(0..depth, tile.columns.clone()));
                }
                let n = tile.columns.len();
                let data = self.columns_first(&x[start..], tile);
                let columns = Matrix {
                    data: &data,
                    offset: 0,
                    rows: depth,
                    columns: n,
                    row_stride: n as isize,
                    column_stride: 1,
                };
                return multiply(weights, columns);
            }
            let weights =
                Matrix { rows: depth, columns: weights.rows, row_stride: 1, column_stride: depth as isize, ..weights };
            let weights = weights.part(0..depth, tile.columns.clone());
            let channels = self.groups * self.channels_in;
            let start = image * self.positions_in() * channels + group * self.channels_in;
            if in_place {
                let patches = Matrix {
                    data: x,
                    offset: start,
                    rows: positions,
                    columns: depth,
                    row_stride: channels as isize,
                    column_stride: 1,
                };
                return multiply(patches.part(tile.rows.clone(), 0..depth), weights);
            }
            let n = tile.rows.len();
            let data = self.patches_last(&x[start..], tile);
            let patches = Matrix {
                data: &data,
                offset: 0,
                rows: n,
                columns: depth,
                row_stride: depth as isize,
                column_stride: 1,
            };
            multiply(patches, weights);
        });
    }

    /// `[channels_in * taps, positions]` for the tile's positions; `x` starts at the group's first channel.
    fn columns_first(&self, x: &[T], tile: &Tile) -> Vec<T> {
        let (n, taps, plane) = (tile.columns.len(), self.taps(), self.positions_in());
        let mut columns = vec![T::ZERO; self.channels_in * taps * n];
        let (last, leading) = self.axes.split_last().expect("a convolution has spatial axes");
        let strides = self.spatial_strides();
        let mut at = vec![0; leading.len()];
        // One output row along the last axis at a time: each tap of it is a run of the input.
        let mut position = tile.columns.start;
        while position < tile.columns.end {
            let (row, column) = (position / last.output, position % last.output);
            let run = (last.output - column).min(tile.columns.end - position);
            coordinates(row, leading.iter().map(|axis| axis.output), &mut at);
            for_each_tap(leading, &strides, &at, &mut |leading_tap, base| {
                for tap in 0..last.taps {
                    let inside = last.inside(tap);
                    let (from, to) = (inside.start.max(column), inside.end.min(column + run));
                    if from >= to {
                        continue;
                    }
                    let source = last.source(from, tap).expect("the tap lies inside");
                    for channel in 0..self.channels_in {
                        let line = (channel * taps + leading_tap * last.taps + tap) * n + position - tile.columns.start;
                        let line = &mut columns[line + from - column..line + to - column];
                        super::layout::copy_run(
                            x,
                            (channel * plane + base + source) as isize,
                            last.stride as isize,
                            line,
                        );
                    }
                }
            });
            position += run;
        }
        columns
    }

    /// `[positions, taps * channels_in]` for the tile's positions; `x` starts at the group's first channel.
    fn patches_last(&self, x: &[T], tile: &Tile) -> Vec<T> {
        let (taps, channels) = (self.taps(), self.groups * self.channels_in);
        let mut patches = vec![T::ZERO; tile.rows.len() * taps * self.channels_in];
        let strides = self.spatial_strides();
        let mut at = vec![0; self.axes.len()];
        for (position, patch) in tile.rows.clone().zip(patches.chunks_mut(taps * self.channels_in)) {
            coordinates(position, self.axes.iter().map(|axis| axis.output), &mut at);
            for_each_tap(&self.axes, &strides, &at, &mut |tap, source| {
                let from = &x[source * channels..source * channels + self.channels_in];
                patch[tap * self.channels_in..(tap + 1) * self.channels_in].copy_from_slice(from);
            });
        }
        patches
    }

    /// One input channel per output: sums of shifted rows.
    fn depthwise_first(&self, x: &[T], filter: &[T], out: &mut [T]) {
        let (taps, plane) = (self.taps(), self.positions_in());
        let channels_out = self.groups * self.channels_out;
        let (last, leading) = self.axes.split_last().expect("a convolution has spatial axes");
        let strides = self.spatial_strides();
        let rows: usize = leading.iter().map(|axis| axis.output).product();
        parallel::for_each_row(out, last.output, last.output * taps, |row, out| {
            let (image, channel) = (row / rows / channels_out, row / rows % channels_out);
            let x = &x[(image * self.groups + channel / self.channels_out) * plane..];
            let weights = &filter[channel * taps..(channel + 1) * taps];
            let mut at = vec![0; leading.len()];
            coordinates(row % rows, leading.iter().map(|axis| axis.output), &mut at);
            out.fill(T::ZERO);
            for_each_tap(leading, &strides, &at, &mut |leading_tap, base| {
                for tap in 0..last.taps {
                    let inside = last.inside(tap);
                    if inside.is_empty() {
                        continue;
                    }
                    let weight = weights[leading_tap * last.taps + tap];
                    let source = base + last.source(inside.start, tap).expect("the tap lies inside");
                    let out = &mut out[inside];
                    let n = out.len();
                    if last.stride == 1 {
                        out.iter_mut().zip(&x[source..source + n]).for_each(|(out, &x)| *out = *out + x * weight);
                    } else {
                        let x = x[source..].iter().step_by(last.stride);
                        out.iter_mut().zip(x).for_each(|(out, &x)| *out = *out + x * weight);
                    }
                }
            });
        });
    }

    /// As `depthwise_first` with channels innermost: sums of whole pixels.
    fn depthwise_last(&self, x: &[T], filter: &[T], out: &mut [T]) {
        let (taps, positions) = (self.taps(), self.positions_out());
        let channels_out = self.groups * self.channels_out;
        // Filters tap by tap, so that a tap's weights lie as the pixel's channels do.
        let mut by_tap = vec![T::ZERO; filter.len()];
        for (channel, weights) in filter.chunks(taps).enumerate() {
            weights.iter().enumerate().for_each(|(tap, &weight)| by_tap[tap * channels_out + channel] = weight);
        }
        let strides = self.spatial_strides();
        parallel::for_each_row(out, channels_out, channels_out * taps, |pixel, out| {
            let x = &x[pixel / positions * self.positions_in() * self.groups..];
            let mut at = vec![0; self.axes.len()];
            coordinates(pixel % positions, self.axes.iter().map(|axis| axis.output), &mut at);
            out.fill(T::ZERO);
            for_each_tap(&self.axes, &strides, &at, &mut |tap, source| {
                let x = &x[source * self.groups..(source + 1) * self.groups];
                let weights = &by_tap[tap * channels_out..(tap + 1) * channels_out];
                if self.channels_out == 1 {
                    out.iter_mut().zip(x.iter().zip(weights)).for_each(|(out, (&x, &w))| *out = *out + x * w);
                } else {
                    for (channel, (out, &w)) in out.iter_mut().zip(weights).enumerate() {
                        *out = *out + x[channel / self.channels_out] * w;
                    }
                }
            });
        });
    }
}

impl<T: Gemm + Float> Kernel for FloatConv<T> {
    fn run(&self, args: &[Arg<'_>], out: Out<'_>) -> Result<(), OpError> {
        let (x, filter, out) = (args[0].dense::<T>(), args[1].dense::<T>(), out.lanes::<T>());
        match self.layout {
            _ if x.is_empty() || filter.is_empty() => out.fill(T::ZERO),
            ImageLayout::ChannelsFirst if self.channels_in == 1 && self.groups > 1 => {
                self.depthwise_first(&x, &filter, out);
            }
            ImageLayout::ChannelsLast if self.channels_in == 1 && self.groups > 1 => {
                self.depthwise_last(&x, &filter, out);
            }
            _ => self.by_products(&x, &filter, out),
        }
        rounding::round_all(self.out, out);
        Ok(())
    }
}
