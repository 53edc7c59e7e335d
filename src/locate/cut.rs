//! How an image is cut into patches at the map's scale.

use crate::kernels::sampler::PatchRecord;
use crate::scene::{Frame, Image, ValidityMask, compose, inverse};
use crate::{Error, Result};

/// A patch is left out where less than this share of it has data.
pub const PATCH_MIN_VALID: f64 = 0.5;
/// A patch has at least so many SAR pixels a side.
const MIN_EXTENT: f64 = 4.0;
/// So many patches are said to be many.
const MANY_PATCHES: usize = 10_000;
/// Patches located at once.
const MAX_PATCHES: usize = 4 << 20;

/// How an image is cut: squares of `patch` map pixels every `step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Squares {
    pub(super) patch: u32,
    pub(super) step: u32,
}

/// A patch of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patch {
    /// Its centre in the SAR image, SAR pixels.
    pub sar_px: [f64; 2],
    /// What cuts it out as its frame says.
    pub record: PatchRecord,
    /// Where the image's own georeference puts it, map pixels; not used in the search, unless as a prior.
    pub own_px: Option<[f64; 2]>,
}

/// The largest patch that an image holds, map pixels.
pub(super) fn room(sar: &Image, frame: &Frame) -> f64 {
    let unit = frame.extent(1.0);
    // Half a pixel of grace for what rounding makes of scales.
    let side = |pixels: u32, unit: f64| (f64::from(pixels) + 0.5) / unit.max(1e-12);
    side(sar.raster.width(), unit[0]).min(side(sar.raster.height(), unit[1]))
}

/// The patches of an image, which has data where the mask says, for a network of `input` pixels a side, and how many were left out for want of data.
///
/// Their centres lie on a lattice along the image's rows and columns, from the upper left corner.
///
/// # Errors
/// An image smaller than a patch, no patch with data, a patch or step of 0, a patch too large for the sampler, reading.
pub(super) fn patches(sar: &Image, mask: &ValidityMask, frame: &Frame, squares: Squares, input: usize) -> Result<(Vec<Patch>, usize)> {
    let raster = &sar.raster;
    let Squares { patch, step } = squares;
    if patch == 0 || step == 0 {
        return Err(Error::invalid("patch and step must both be above 0"));
    }
    let side = f64::from(patch);
    let size = [f64::from(raster.width()), f64::from(raster.height())];
    let extent = frame.extent(side);
    if extent[0] > size[0] + 0.5 || extent[1] > size[1] + 0.5 {
        return Err(Error::invalid(format!(
            "{}: {}x{} px is smaller than one patch, which takes {:.0}x{:.0} px at {:.2} m a SAR pixel ({patch} map pixels); take a larger image, or smaller patches and an index of smaller cells (or check --pixel-size)",
            raster.path().display(),
            raster.width(),
            raster.height(),
            extent[0],
            extent[1],
            frame.pixel_m,
        )));
    }
    if extent.iter().any(|e| *e < MIN_EXTENT) {
        return Err(Error::invalid(format!(
            "{}: a patch of {patch} map pixels would hold only {:.3}x{:.3} of its pixels, which are {} m wide; take larger patches and cells, or check --pixel-size",
            raster.path().display(),
            extent[0],
            extent[1],
            frame.pixel_m
        )));
    }
    let to_map = inverse(&frame.matrix);
    let network = side / input as f64;
    let centres = |axis: usize| -> Vec<f64> {
        // A step's length along this axis of the image.
        let step = f64::from(step) / to_map[0][axis].hypot(to_map[1][axis]);
        let room = (size[axis] - extent[axis]).max(0.0);
        let count = (room / step + 1e-6) as usize + 1;
        (0..count).map(|i| extent[axis] / 2.0 + i as f64 * step).collect()
    };
    let (xs, ys) = (centres(0), centres(1));
    if xs.len().saturating_mul(ys.len()) > MAX_PATCHES {
        return Err(Error::invalid(format!(
            "{}: {} x {} patches are more than the {MAX_PATCHES} located at once; use a larger --step, or parts of the image",
            raster.path().display(),
            xs.len(),
            ys.len()
        )));
    }
    if xs.len() * ys.len() >= MANY_PATCHES {
        tracing::warn!(
            "{}: {} x {} patches are to be located, one every {step} map pixels: a larger --step takes fewer",
            raster.path().display(),
            xs.len(),
            ys.len()
        );
    }
    let (mut all, mut no_data) = (Vec::new(), 0);
    for y in &ys {
        for x in &xs {
            let sar_px = [*x, *y];
            let local = frame.matrix_at(sar_px);
            if share(mask, local, frame.scale(), sar_px, side) < PATCH_MIN_VALID {
                no_data += 1;
                continue;
            }
            let matrix = compose(local, [[network, 0.0], [0.0, network]]);
            let record = PatchRecord::from_affine(0, sar_px, matrix, input)?;
            let own_px = frame.own.as_ref().and_then(|link| link.apply(sar_px).ok());
            all.push(Patch { sar_px, record, own_px });
        }
    }
    if all.is_empty() {
        return Err(Error::invalid(format!(
            "{}: none of its {no_data} patches has data in at least {:.0} % of its pixels; check the file's no-data value",
            raster.path().display(),
            100.0 * PATCH_MIN_VALID
        )));
    }
    Ok((all, no_data))
}

/// Share of a patch that has data, over 8 x 8 parts of it: it may lie askew in the image.
fn share(mask: &ValidityMask, matrix: [[f64; 2]; 2], scale: f64, centre: [f64; 2], side: f64) -> f64 {
    const PARTS: usize = 8;
    let part = side / PARTS as f64;
    let edge = scale * part;
    let at = |i: usize| (i as f64 + 0.5) * part - side / 2.0;
    let parts = (0..PARTS * PARTS).map(|i| {
        let (u, v) = (at(i % PARTS), at(i / PARTS));
        let [x, y] = [0, 1].map(|d| centre[d] + matrix[d][0] * u + matrix[d][1] * v);
        mask.share(x - edge / 2.0, y - edge / 2.0, edge, edge)
    });
    parts.sum::<f64>() / (PARTS * PARTS) as f64
}
