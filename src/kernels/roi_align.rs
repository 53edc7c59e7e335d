//! Features of regions, resampled to a fixed grid: host side of `shaders/roi_align.wgsl`.

use super::{expect, expect_stored, stored, stored_both_ways, stored_nhwc, stored_rows_cols, vectorised};
use crate::gpu::{Binding, Cost, DType, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("roi_align");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// The image of a region that does not exist.
pub const NOWHERE: u32 = u32::MAX;

/// Groups of channels an invocation at most: it finds its place once for them.
const RUN: usize = 4;

/// Pixels of a tile along either side.
const TILE: usize = 8;

/// Regions that a pass back takes on at once.
const REGIONS: usize = 1024;

/// Turns of loops an invocation takes in a dispatch on a software adapter, at most: llvmpipe ends all loops at 65,535 together, and silently.
const TURNS: usize = 62_000;

/// The number of samples along a bin that has its own variant, without loops.
const UNROLLED: usize = 2;

/// How regions are resampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoiAlign {
    /// Bins along either side of a region, P.
    pub bins: usize,
    /// Samples along either side of a bin; none for as many as the bin has pixels, rounded up.
    pub samples: Option<usize>,
}

/// Regions of images.
#[derive(Debug, Clone, Copy)]
pub struct Regions<'a> {
    /// \[R, 4\]: x0, y0, x1, y1 in the image's pixels, whose first begins at 0; finite.
    pub boxes: &'a Tensor,
    /// u32, 2 R of them: of each region the image it lies in and the number of the map that is resampled. A region whose image ([`NOWHERE`], for
    /// instance) or map does not exist is resampled to zeros.
    pub places: &'a Tensor,
}

/// The level of a feature pyramid that a region is resampled from (Lin et al., "Feature pyramid networks for object detection", 2017, eq. 1):
/// floor(4 + log2(sqrt(area) / 224)), within first to last; level 4 has a pixel for 16 of the image. As in torchvision, 1e-6 is
/// added before rounding down, so that a box of 224 x 224 px but for rounding is of level 4. A box without area is of the first level.
pub fn fpn_level([x0, y0, x1, y1]: [f32; 4], first: usize, last: usize) -> usize {
    let area = f64::from(x1 - x0).max(0.0) * f64::from(y1 - y0).max(0.0);
    let level = (4.0 + (area.sqrt() / 224.0).log2() + 1e-6).floor();
    // `as` takes negative infinity to 0.
    (level.max(0.0) as usize).clamp(first, last)
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
struct Params {
    total: u32,
    columns: u32,
    runs: u32,
    images: u32,
    h: u32,
    w: u32,
    bins: u32,
    regions: u32,
    first: u32,
    last: u32,
    words: u32,
    across: u32,
    down: u32,
    level: u32,
    levels: u32,
    grid: u32,
    scale: f32,
}

fn variant(kind: i64, first: bool, samples: Option<usize>) -> Variant {
    let grid = if samples == Some(UNROLLED) { UNROLLED as i64 } else { 0 };
    Variant::new().int("KIND", kind).flag("FIRST", first).int("GRID", grid)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let grids = [None, Some(UNROLLED)];
    let images = grids.into_iter().flat_map(|g| [(0, g), (2, g)]).flat_map(|(k, g)| [false, true].map(|f| variant(k, f, g)));
    let mut all = stored_both_ways(images, &["X", "Y"]);
    all.push(variant(1, false, None));
    all
}

impl RoiAlign {
    /// Parameters that all dispatches share, and the numbers of regions and channels.
    fn params(&self, op: &str, regions: &Regions<'_>, y: &Tensor, levels: usize) -> Result<(Params, usize, usize)> {
        let &[rows, 4] = regions.boxes.shape() else {
            return Err(Error::shape(op, format!("`boxes` must be [R, 4], not {:?}", regions.boxes.shape())));
        };
        expect(op, "boxes", regions.boxes, &[rows, 4], DType::F32)?;
        if regions.places.dtype() != DType::U32 || regions.places.len() != 2 * rows {
            let (dtype, shape) = (regions.places.dtype(), regions.places.shape());
            return Err(Error::shape(op, format!("`places` must be {} of U32, not {dtype:?} {shape:?}", 2 * rows)));
        }
        if self.bins == 0 || rows == 0 || levels == 0 || self.samples.is_some_and(|s| s == 0 || s > 1 << 8) {
            return Err(Error::shape(op, format!("{rows} regions of {levels} maps, {self:?}: all above 0, samples up to 256")));
        }
        let (_, c) = stored_rows_cols(op, "y", y)?;
        expect_stored(op, "y", y, &[rows, self.bins, self.bins, c])?;
        let (bins, grid) = (self.bins as u32, self.samples.unwrap_or(0) as u32);
        Ok((Params { bins, regions: rows as u32, levels: levels as u32, grid, ..Params::default() }, rows, c))
    }

    /// Turns of loops that a bin's samples may take, on a map of h x w.
    fn forward_turns(&self, h: usize, w: usize) -> usize {
        // Of a bin's samples, which are at least (n - 1) / n of a pixel apart, so many lie on a line; one more at either end is looked at.
        let line = |size: usize| self.samples.unwrap_or(size + 6);
        line(h) * (line(w).div_ceil(4) + 1)
    }

    /// Turns of loops that a region may cost a pixel: all of its bins, if it is small; and if it is not, some bins of several samples.
    fn backward_turns(&self) -> usize {
        let region =
            |bins: usize, samples: usize| 2 + bins * (1 + samples) + bins * (bins.div_ceil(2) + 1 + 2 * bins.div_ceil(2) * samples);
        match self.samples {
            Some(UNROLLED) => region(self.bins, 0),
            Some(samples) => region(self.bins, samples + 1),
            None => region(self.bins, 2).max(region(self.bins.min(5), 9)),
        }
    }
}

/// Parameters of a map of its level; refuses one that does not fit.
fn map_params(op: &str, base: Params, c: usize, level: usize, (x, scale): (&Tensor, f32)) -> Result<(Params, [usize; 4])> {
    let shape @ [n, h, w, channels] = stored_nhwc(op, "x", x)?;
    if channels != c || !(scale.is_finite() && scale > 0.0) {
        return Err(Error::shape(
            op,
            format!("map {level} is {:?} at scale {scale}: {c} channels and a scale above 0 are expected", x.shape()),
        ));
    }
    let [images, h, w, level] = [n, h, w, level].map(|v| v as u32);
    Ok((Params { images, h, w, level, scale, ..base }, shape))
}

/// Appends y \[R, P, P, C\], the regions resampled, from maps \[N, H, W, C\], each with its scale: (map, 1/16) for one with a pixel for 16 x 16 of the
/// image. As torchvision's `roi_align(aligned=True)`: bins and samples at even steps, each sample interpolated bilinearly, nothing where it is over
/// a pixel off the map (He, Gkioxari, Dollar, Girshick, "Mask R-CNN", 2017). Maps and y may be stored as f16, each by itself.
///
/// # Errors
/// Shapes differ from these; no bin, no region or no map; on a software adapter bins so large that they would take more samples than its loops do.
pub fn forward(plan: &mut PlanBuilder<'_>, align: RoiAlign, maps: &[(&Tensor, f32)], regions: &Regions<'_>, y: &Tensor) -> Result<()> {
    let op = "roi align";
    let (base, rows, c) = align.params(op, regions, y, maps.len())?;
    let images = |x: &Tensor| x.shape().first().copied();
    if let Some((x, _)) = maps.iter().find(|(x, _)| images(x) != images(maps[0].0)) {
        let shapes = format!("{:?} and {:?}", maps[0].0.shape(), x.shape());
        return Err(Error::shape(op, format!("maps {shapes} are of different numbers of images")));
    }
    for (level, map) in maps.iter().enumerate() {
        let (mut params, [_, h, w, _]) = map_params(op, base, c, level, *map)?;
        let turns = align.forward_turns(h, w);
        if plan.engine().caps().software && align.samples != Some(UNROLLED) && turns > TURNS {
            return Err(Error::Limit {
                op: op.into(),
                what: format!("samples of a bin on a map of {h} x {w}, by fours"),
                need: turns as u64,
                limit: TURNS as u64,
                advice: "give a number of samples, or use a smaller map".into(),
            });
        }
        let (variant, vec) = vectorised(variant(0, level == 0, align.samples), &[c]);
        let variant = stored(variant, vec, &[("X", map.0.dtype()), ("Y", y.dtype())]);
        let runs = (c / vec).div_ceil(RUN);
        let total = rows * align.bins * align.bins * runs;
        (params.total, params.columns, params.runs) = (total as u32, (c / vec) as u32, runs as u32);
        let bindings = [map.0.into(), regions.boxes.into(), regions.places.into(), y.into()];
        let cost = Cost { flops: 40.0 * y.len() as f64 / maps.len() as f64, bytes: y.bytes() as f64 };
        plan.dispatch(op, &SHADER, &variant, &bindings, &params, Groups::for_items(total, 64), cost)?;
    }
    Ok(())
}

/// Appends the gradients of the maps that `dx` has, \[N, H, W, C\] with their scales, none for a map that needs none; from dy \[R, P, P, C\]. Each
/// pixel gathers from the regions that touch it, in their order: no atomics, the same bits each time. Regions take no gradient. A map that
/// is stored as f16 is rounded once for every thousand regions or so.
///
/// # Errors
/// As [`forward`]; on a software adapter more than about 50 bins a side, which would take more turns of its loops than there are.
pub fn backward(
    plan: &mut PlanBuilder<'_>,
    align: RoiAlign,
    regions: &Regions<'_>,
    dy: &Tensor,
    dx: &[(Option<&Tensor>, f32)],
) -> Result<()> {
    let op = "roi align backward";
    let (base, rows, c) = align.params(op, regions, dy, dx.len())?;
    let software = plan.engine().caps().software;
    let most = if software { (TURNS / align.backward_turns() / 32 * 32).min(REGIONS) } else { REGIONS };
    if most == 0 {
        return Err(Error::Limit {
            op: op.into(),
            what: "bins of 32 regions at a pixel".into(),
            need: 32 * align.backward_turns() as u64,
            limit: TURNS as u64,
            advice: "use fewer bins or samples".into(),
        });
    }
    for (level, (dx, scale)) in dx.iter().enumerate() {
        let Some(dx) = dx else { continue };
        let (params, [n, h, w, _]) = map_params(op, base, c, level, (dx, *scale))?;
        let (across, down) = (w.div_ceil(TILE), h.div_ceil(TILE));
        let tiles = n * across * down;
        let words = rows.min(most).div_ceil(32);
        let bits = plan.engine().tensor("regions of tiles", &[tiles, words], DType::U32)?;
        let columns = if c.is_multiple_of(4) { c / 4 } else { c };
        let runs = columns.div_ceil(RUN);
        for first in (0..rows).step_by(most) {
            let last = (first + most).min(rows);
            let words = (last - first).div_ceil(32);
            let [first_region, last_region, words_of, across, down] = [first, last, words, across, down].map(|v| v as u32);
            let params = Params { first: first_region, last: last_region, words: words_of, across, down, ..params };
            let touch = Params { total: (tiles * words) as u32, ..params };
            let bindings: [Binding<'_>; 3] = [regions.boxes.into(), regions.places.into(), (&bits).into()];
            let groups = Groups::for_items(tiles * words, 64);
            let cost = Cost::flops(32.0 * 30.0 * (tiles * words) as f64);
            plan.dispatch("roi align tiles", &SHADER, &variant(1, false, None), &bindings, &touch, groups, cost)?;
            let (variant, vec) = vectorised(variant(2, first == 0, align.samples), &[c]);
            let variant = stored(variant, vec, &[("X", dx.dtype()), ("Y", dy.dtype())]);
            let total = tiles * TILE * TILE * runs;
            let gather = Params { total: total as u32, columns: columns as u32, runs: runs as u32, ..params };
            let bindings = [regions.boxes, regions.places, &bits, dy, dx].map(Into::into);
            let cost = Cost { flops: 40.0 * dy.len() as f64, bytes: (dy.bytes() + dx.bytes()) as f64 };
            plan.dispatch(op, &SHADER, &variant, &bindings, &gather, Groups::for_items(total, 64), cost)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_a_pyramid() {
        let square = |side: f32| fpn_level([3.0, 5.0, 3.0 + side, 5.0 + side], 2, 5);
        // Each level begins at twice the side of the one before; 224 px are of level 4.
        let sides = [1.0, 111.9, 112.0, 223.9, 224.0, 447.9, 448.0, 895.0, 1e6];
        assert_eq!(sides.map(square), [2, 2, 3, 3, 4, 4, 5, 5, 5]);
        assert_eq!(fpn_level([0.0, 0.0, 448.0, 112.0], 2, 5), 4, "by the area alone");
        assert_eq!(fpn_level([0.0, 0.0, 0.0, 10.0], 2, 5), 2);
        assert_eq!(fpn_level([10.0, 10.0, 0.0, 0.0], 3, 5), 3);
    }
}
