//! Priors: the part of the map where a patch may lie.

use super::cut::Patch;
use super::fix::Places;
use super::query::Near;
use crate::scene::{Frame, Image, lonlat_distance_m};
use crate::{Error, Result};

/// A circle on the map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    map_px: [f64; 2],
    lonlat: [f64; 2],
    metres: f64,
    /// Half the sides of a box around it, map pixels.
    half: [f64; 2],
}

impl Area {
    /// Where a patch may lie; none where that is nowhere: the patch has no claimed place, or one that the map's projection does not reach.
    /// `range` is how far the image may be turned (degrees) and scaled (share) either way, which moves its patches about its middle.
    pub(super) fn of(places: &Places, near: Near, image: &Image, frame: &Frame, patch: &Patch, range: [f64; 2]) -> Result<Option<Self>> {
        let middle = [image.raster.width(), image.raster.height()].map(|v| f64::from(v) / 2.0);
        let [rel, mid] = [patch.sar_px, middle].map(|p| frame.relative(p));
        let from_middle = [0, 1].map(|d| rel[d] - mid[d]);
        let map_px = match near {
            Near::Own(_) => patch.own_px,
            Near::Place { lonlat: [lon, lat], .. } => {
                let there = places.map_px([lon, lat]).map_err(|e| {
                    Error::invalid(format!(
                        "--near {lon},{lat} lies nowhere on the map ({e}): the longitude comes first, then the latitude"
                    ))
                })?;
                Some([0, 1].map(|d| there[d] + from_middle[d]))
            }
        };
        let Some(place) = map_px.and_then(|p| places.at(p).ok()) else { return Ok(None) };
        // Metres a map pixel there.
        let beside = |d: [f64; 2]| -> Result<f64> {
            let other = places.at([0, 1].map(|i| place.map_px[i] + d[i]))?;
            Ok(lonlat_distance_m(place.lonlat.into(), other.lonlat.into()))
        };
        let Ok(pixel_m) = beside([1.0, 0.0]).and_then(|x| Ok([x, beside([0.0, 1.0])?])) else { return Ok(None) };
        let arm = from_middle[0].hypot(from_middle[1]) * pixel_m[0].max(pixel_m[1]);
        let [turn, scale] = [range[0].min(180.0).to_radians(), range[1]];
        let metres = near.metres() + arm * (2.0 * (turn / 2.0).sin() * (1.0 + scale) + scale);
        // A tenth more for what a projection bends over the circle.
        Ok(Some(Self { map_px: place.map_px, lonlat: place.lonlat, metres, half: pixel_m.map(|m| 1.1 * metres / m.max(1e-9)) }))
    }

    /// Whether a place on the map lies in it.
    pub(super) fn holds(&self, places: &Places, map_px: [f64; 2]) -> Result<bool> {
        if (0..2).any(|d| (map_px[d] - self.map_px[d]).abs() > self.half[d]) {
            return Ok(false);
        }
        Ok(lonlat_distance_m(places.at(map_px)?.lonlat.into(), self.lonlat.into()) <= self.metres)
    }

    /// Left, top, right and bottom of a box around it, map pixels.
    pub(super) fn bounds(&self) -> [f64; 4] {
        let [x, y] = self.map_px;
        [x - self.half[0], y - self.half[1], x + self.half[0], y + self.half[1]]
    }

    /// Its middle, map pixels, and radius, metres.
    pub(super) fn circle(&self) -> ([f64; 2], f64) {
        (self.map_px, self.metres)
    }
}
