//! Padding of sliding windows: explicit, or computed from `auto_pad` and `ceil_mode`.

use crate::error::NodeError;
use crate::onnx::call::{Call, bad_attr};

/// Where windows lie along the spatial axes.
#[derive(Clone, Debug)]
pub(crate) struct Windows {
    pub(crate) kernel: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) dilations: Vec<usize>,
    /// Padding before the first element.
    pub(crate) low: Vec<i64>,
    /// Padding after the last element, as the node states it.
    pub(crate) high: Vec<i64>,
    /// What `ceil_mode` adds to `high` so that the last, partial window exists.
    pub(crate) ceil: Vec<i64>,
}

impl Windows {
    /// Reads the attributes that convolutions and pools share, for spatial `sizes` and a kernel.
    pub(crate) fn new(call: &Call, sizes: &[usize], kernel: Vec<usize>) -> Result<Windows, NodeError> {
        let n = sizes.len();
        let strides = per_axis(call, "strides", n)?;
        let dilations = per_axis(call, "dilations", n)?;
        if kernel.len() != n || kernel.contains(&0) {
            return Err(bad_attr("kernel_shape", format!("{kernel:?}"), format!("{n} sizes of at least 1")));
        }
        let mut windows = Windows { kernel, strides, dilations, low: vec![0; n], high: vec![0; n], ceil: vec![0; n] };
        match call.text("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" => (windows.low, windows.high) = explicit_pads(call, n)?,
            "VALID" => {}
            "SAME_UPPER" => windows.pad_to_same(sizes, false)?,
            "SAME_LOWER" => windows.pad_to_same(sizes, true)?,
            other => return Err(bad_attr("auto_pad", format!("`{other}`"), "NOTSET, VALID, SAME_UPPER or SAME_LOWER")),
        }
        if call.flag("ceil_mode", false)? {
            windows.round_up(sizes)?;
        }
        Ok(windows)
    }

    /// Elements from the first to the last tap of a window.
    pub(crate) fn extent(&self, axis: usize) -> Result<i64, NodeError> {
        let extent = (self.kernel[axis] - 1).checked_mul(self.dilations[axis]).and_then(|span| span.checked_add(1));
        let extent = extent.and_then(|extent| i64::try_from(extent).ok()).filter(|&extent| extent < 1 << 40);
        extent.ok_or_else(|| bad_attr("dilations", format!("{:?}", self.dilations), "windows that can be addressed"))
    }

    /// As many results as `size / stride` rounded up.
    fn pad_to_same(&mut self, sizes: &[usize], more_below: bool) -> Result<(), NodeError> {
        for (axis, &size) in sizes.iter().enumerate() {
            let stride = self.strides[axis] as i64;
            let results = (size as i64 + stride - 1) / stride;
            let total = ((results - 1) * stride + self.extent(axis)? - size as i64).max(0);
            let less = total / 2;
            (self.low[axis], self.high[axis]) = if more_below { (total - less, less) } else { (less, total - less) };
        }
        Ok(())
    }

    fn round_up(&mut self, sizes: &[usize]) -> Result<(), NodeError> {
        for (axis, &size) in sizes.iter().enumerate() {
            let stride = self.strides[axis] as i64;
            let span = size as i64 + self.low[axis] + self.high[axis] - self.extent(axis)?;
            if span < 0 {
                continue;
            }
            let mut last = (span + stride - 1) / stride;
            // A window that starts past the elements and the padding before them does not exist.
            if last * stride >= size as i64 + self.low[axis] {
                last -= 1;
            }
            self.ceil[axis] = (last * stride - span).max(0);
        }
        Ok(())
    }
}

/// Positive numbers per spatial axis; one each when absent.
pub(crate) fn per_axis(call: &Call, name: &str, n: usize) -> Result<Vec<usize>, NodeError> {
    let Some(values) = call.ints(name)? else { return Ok(vec![1; n]) };
    let sizes: Option<Vec<usize>> =
        values.iter().map(|&value| usize::try_from(value).ok().filter(|value| (1..1 << 31).contains(value))).collect();
    sizes
        .filter(|sizes| sizes.len() == n)
        .ok_or_else(|| bad_attr(name, format!("{values:?}"), format!("{n} numbers of at least 1")))
}

/// The `pads` attribute: all beginnings, then all ends.
pub(crate) fn explicit_pads(call: &Call, n: usize) -> Result<(Vec<i64>, Vec<i64>), NodeError> {
    let Some(pads) = call.ints("pads")? else { return Ok((vec![0; n], vec![0; n])) };
    let sane = pads.len() == 2 * n && pads.iter().all(|pad| pad.unsigned_abs() < 1 << 31);
    if !sane {
        return Err(bad_attr("pads", format!("{pads:?}"), format!("{} numbers", 2 * n)));
    }
    Ok((pads[..n].to_vec(), pads[n..].to_vec()))
}

/// The kernel's sizes from an attribute that must be there.
pub(crate) fn kernel_shape(call: &Call, n: usize) -> Result<Vec<usize>, NodeError> {
    if call.attr("kernel_shape").is_none() {
        return Err(bad_attr("kernel_shape", "absent", format!("{n} sizes")));
    }
    per_axis(call, "kernel_shape", n)
}
