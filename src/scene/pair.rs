//! A map and a SAR image of the same area, both georeferenced: ground truth for training and evaluation.

use super::{Georeference, Image, Result, SarUnit, ValidityMask};
use std::path::Path;
use std::sync::Arc;

/// A map, a SAR image, and where each has data.
#[derive(Debug)]
pub struct ScenePair {
    /// The optical map.
    pub map: Arc<Image>,
    /// The SAR image.
    pub sar: Arc<Image>,
    /// Where the map has data.
    pub map_mask: ValidityMask,
    /// Where the SAR image has data.
    pub sar_mask: ValidityMask,
    link: Link,
}

/// From pixels of one georeferenced raster to those of another.
#[derive(Debug, Clone)]
pub struct Link {
    from: Georeference,
    to: Georeference,
}

impl Link {
    /// Links two images.
    ///
    /// # Errors
    /// One has no georeference.
    pub fn new(from: &Image, to: &Image) -> Result<Self> {
        Ok(Self { from: from.raster.placement()?, to: to.raster.placement()? })
    }

    /// Links two georeferences.
    pub fn between(from: Georeference, to: Georeference) -> Self {
        Self { from, to }
    }

    /// Where a pixel position of the first lies in the second.
    ///
    /// # Errors
    /// A position outside a projection's domain.
    pub fn apply(&self, p: [f64; 2]) -> Result<[f64; 2]> {
        self.from.to_pixels_of(&self.to, p)
    }

    /// Its derivative at a position: rows of (x, y), second's pixels per first's pixel, over a span of 128 px.
    ///
    /// # Errors
    /// As [`Link::apply`].
    pub fn jacobian(&self, p: [f64; 2]) -> Result<[[f64; 2]; 2]> {
        const H: f64 = 64.0;
        let d = |axis: usize| -> Result<[f64; 2]> {
            let (mut a, mut b) = (p, p);
            a[axis] += H;
            b[axis] -= H;
            let (a, b) = (self.apply(a)?, self.apply(b)?);
            Ok([(a[0] - b[0]) / (2.0 * H), (a[1] - b[1]) / (2.0 * H)])
        };
        let (dx, dy) = (d(0)?, d(1)?);
        Ok([[dx[0], dy[0]], [dx[1], dy[1]]])
    }
}

impl ScenePair {
    /// Opens both images; the unit of the SAR values is given or guessed.
    ///
    /// # Errors
    /// Reading, no valid pixel, no georeference.
    pub fn open(map: &Path, sar: &Path, unit: Option<SarUnit>) -> Result<Self> {
        Self::of(Image::map(map)?, Image::sar(sar, unit)?)
    }

    /// Of two open images.
    ///
    /// # Errors
    /// Reading, no georeference.
    pub fn of(map: Image, sar: Image) -> Result<Self> {
        let (map, sar) = (Arc::new(map), Arc::new(sar));
        let link = Link::new(&map, &sar)?;
        let (map_mask, sar_mask) = (ValidityMask::new(&map.raster)?, ValidityMask::new(&sar.raster)?);
        Ok(Self { map, sar, map_mask, sar_mask, link })
    }

    /// From map pixels to SAR pixels.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Share of the map's window of `side` map pixels about a map position that has data.
    pub fn map_share(&self, centre: [f64; 2], side: f64) -> f64 {
        self.map_mask.share(centre[0] - side / 2.0, centre[1] - side / 2.0, side, side)
    }

    /// The same for the SAR image, over the window's bounding box in SAR pixels.
    ///
    /// # Errors
    /// A position outside a projection's domain.
    pub fn sar_share(&self, centre: [f64; 2], side: f64) -> Result<f64> {
        let c = self.link.apply(centre)?;
        let j = self.link.jacobian(centre)?;
        let (w, h) = ((j[0][0].abs() + j[0][1].abs()) * side, (j[1][0].abs() + j[1][1].abs()) * side);
        Ok(self.sar_mask.share(c[0] - w / 2.0, c[1] - h / 2.0, w, h))
    }
}

/// Product of two 2x2 matrices.
pub fn compose(a: [[f64; 2]; 2], b: [[f64; 2]; 2]) -> [[f64; 2]; 2] {
    [0, 1].map(|i| [0, 1].map(|j| a[i][0] * b[0][j] + a[i][1] * b[1][j]))
}
