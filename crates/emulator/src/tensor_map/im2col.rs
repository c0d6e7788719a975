//! The walk of im2col copies: which pixel of the tensor each row of the tile comes from.
//!
//! Plain im2col was measured on an H200 for rank 4 (stride, dilation, asymmetric padding): from the base the walk steps along W
//! by the element stride; at the upper corner it returns to the lower one and steps along H, then D, then N. The offsets of the
//! instruction are added to the base. The two modes along W are described by PTX ISA section 5.5.5 and were not measured.

use super::{copy::Fault, map::MAX_RANK};

/// Coordinates of a pixel along dimensions 1 to 4; dimension 0 is the channel and not part of a pixel.
pub type Pixel = [i64; MAX_RANK - 1];

/// The bounding box of bases along W, H and D, and the step along each.
pub struct Bounds {
    /// Dimensions that have a box: W, H, D.
    pub spatial: usize,
    /// First base.
    pub low: [i64; 3],
    /// End of the bases, exclusive.
    pub end: [i64; 3],
    /// Step from one base to the next.
    pub step: [i64; 3],
}

impl Bounds {
    /// An error when `base` is not in the box, for the axis where it is not.
    fn contains(&self, base: &Pixel) -> Result<(), Fault> {
        for axis in 0..self.spatial {
            if !(self.low[axis]..self.end[axis]).contains(&base[axis]) {
                let (low, end) = (self.low[axis], self.end[axis]);
                return Err(Fault::OutsideBoundingBox { axis: axis + 1, base: base[axis], low, end });
            }
        }
        Ok(())
    }

    /// The next base; past the end of the box the last coordinate (N) steps by one.
    fn advance(&self, base: &mut Pixel) {
        for axis in 0..self.spatial {
            base[axis] += self.step[axis];
            if base[axis] < self.end[axis] {
                return;
            }
            base[axis] = self.low[axis];
        }
        base[self.spatial] += 1;
    }
}

/// Pixels of `im2col`: `count` of them from `base`, each moved by `offsets`.
pub fn walk(bounds: &Bounds, mut base: Pixel, offsets: [i64; 3], count: u32) -> Result<Vec<Pixel>, Fault> {
    bounds.contains(&base)?;
    let pixels = (0..count).map(|_| {
        let mut pixel = base;
        for axis in 0..bounds.spatial {
            pixel[axis] += offsets[axis];
        }
        bounds.advance(&mut base);
        pixel
    });
    Ok(pixels.collect())
}

/// Pixels of `im2col::w` and `im2col::w::128`: after every `group` of the `count` pixels come `halo` more.
///
/// `bounds` has one spatial dimension that is already moved by the instruction's offset. H and D stay as they are; past the end
/// of the box the walk continues with the next N at index `image` of a pixel. The base may lie left of the box, not right.
pub fn walk_wide(
    bounds: &Bounds,
    mut base: Pixel,
    image: usize,
    count: u32,
    group: u32,
    halo: u32,
) -> Result<Vec<Pixel>, Fault> {
    if base[0] >= bounds.end[0] {
        let (low, end) = (bounds.low[0], bounds.end[0]);
        return Err(Fault::OutsideBoundingBox { axis: 1, base: base[0], low, end });
    }
    let mut pixels = Vec::new();
    let mut done = 0;
    while done < count {
        let main = group.min(count - done);
        for _ in 0..main {
            pixels.push(base);
            base[0] += bounds.step[0];
            if base[0] >= bounds.end[0] {
                base[0] = bounds.low[0];
                base[image] += 1;
            }
        }
        let mut beyond = *pixels.last().expect("a group has at least one pixel");
        for _ in 0..halo {
            beyond[0] += bounds.step[0];
            pixels.push(beyond);
        }
        done += main;
    }
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_wraps_at_the_upper_corner() {
        let bounds = Bounds { spatial: 2, low: [-1, -1, 0], end: [2, 1, 0], step: [1, 1, 1] };
        let pixels = walk(&bounds, [1, 0, 4, 0], [0, 0, 0], 3).expect("the base lies in the box");
        assert_eq!(pixels, [[1, 0, 4, 0], [-1, -1, 5, 0], [0, -1, 5, 0]]);
        assert!(matches!(walk(&bounds, [2, 0, 0, 0], [0; 3], 1), Err(Fault::OutsideBoundingBox { axis: 1, .. })));
        assert!(matches!(walk(&bounds, [0, -2, 0, 0], [0; 3], 1), Err(Fault::OutsideBoundingBox { axis: 2, .. })));
    }

    #[test]
    fn halo_pixels_follow_every_group() {
        let bounds = Bounds { spatial: 1, low: [0; 3], end: [100, 0, 0], step: [2, 1, 1] };
        let pixels = walk_wide(&bounds, [0, 7, 1, 0], 2, 4, 2, 1).expect("the base lies in the box");
        let along_w: Vec<_> = pixels.iter().map(|pixel| pixel[0]).collect();
        assert_eq!(along_w, [0, 2, 4, 4, 6, 8]);
        assert!(pixels.iter().all(|pixel| pixel[1..] == [7, 1, 0]));
    }
}
