//! Whether residuals follow the height of the ground: a radar sees what is higher nearer, so an image that was not corrected for the terrain
//! is displaced along its line of sight by more, the higher the ground is above what the transform took for it.

use super::Registration;
use crate::scene::{MapInfo, Raster};
use crate::{Error, Result};

/// How residuals change with height, in the direction in which they do so most.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Relief {
    /// Tie points that the fit rests on and whose height is known.
    pub points: usize,
    /// The direction, degrees clockwise from the map's up: range, or the other way, where terrain displaces.
    pub direction_clockwise_deg: f64,
    /// Metres of residual along it a metre of height.
    pub slope_m_per_m: f64,
    /// Its standard error.
    pub slope_standard_error: f64,
    /// Correlation of residual along it and height, 0 to 1 (the direction was chosen for it).
    pub correlation: f64,
    /// Mean height, metres, where the residual's line is 0.
    pub mean_height_m: f64,
}

/// Heights at the tie points, metres: of the first band of a raster with a georeference, between the four pixels around; none where it has no data.
///
/// # Errors
/// A raster or a map without a georeference, reading.
pub fn heights(map: &MapInfo, found: &Registration, dem: &Raster) -> Result<Vec<Option<f64>>> {
    let (on_map, on_dem) = (map.placement()?, dem.placement()?);
    let bands = dem.bands() as usize;
    let one = |p: [f64; 2]| -> Result<Option<f64>> {
        let Ok([x, y]) = on_map.to_pixels_of(&on_dem, p) else { return Ok(None) };
        let (x, y) = (x - 0.5, y - 0.5);
        let (i, j) = (x.floor(), y.floor());
        if !(-1.0..f64::from(dem.width())).contains(&i) || !(-1.0..f64::from(dem.height())).contains(&j) {
            return Ok(None);
        }
        let w = dem.read_window(i as i64, j as i64, 2, 2)?;
        let (u, v) = (x - i, y - j);
        let (mut sum, mut weight) = (0.0, 0.0);
        for (k, part) in [(1.0 - u) * (1.0 - v), u * (1.0 - v), (1.0 - u) * v, u * v].into_iter().enumerate() {
            if w.valid[k] != 0 {
                sum += part * f64::from(w.data[k * bands]);
                weight += part;
            }
        }
        Ok((weight > 0.5).then(|| sum / weight))
    };
    found.points.iter().map(|p| one(p.map_px)).collect()
}

/// How the residuals of a registration change with these heights of its tie points.
///
/// # Errors
/// Fewer than eight points with a height, or heights that are all alike.
pub fn relief(map: &MapInfo, found: &Registration, heights: &[Option<f64>]) -> Result<Relief> {
    let residuals = found.fit.residual_px.iter().zip(&found.fit.inlier).zip(heights);
    let pairs: Vec<([f64; 2], f64)> =
        residuals.filter_map(|((r, used), h)| h.filter(|_| *used).map(|h| ([r[0] * map.pixel_m[0], r[1] * map.pixel_m[1]], h))).collect();
    follow(&pairs)
}

/// Of residuals (metres to the right and down) and heights.
fn follow(pairs: &[([f64; 2], f64)]) -> Result<Relief> {
    let n = pairs.len() as f64;
    let mean_height_m = pairs.iter().map(|(_, h)| h).sum::<f64>() / n;
    let mean = [0, 1].map(|d| pairs.iter().map(|(r, _)| r[d]).sum::<f64>() / n);
    let spread = pairs.iter().map(|(_, h)| (h - mean_height_m).powi(2)).sum::<f64>();
    if pairs.len() < 8 || spread / n < 1e-6 {
        return Err(Error::invalid(format!(
            "the height model says too little of relief: {} tie points lie on it, and eight of different heights are needed; check that it covers the map",
            pairs.len()
        )));
    }
    let slope = [0, 1].map(|d| pairs.iter().map(|(r, h)| (r[d] - mean[d]) * (h - mean_height_m)).sum::<f64>() / spread);
    let size = slope[0].hypot(slope[1]);
    let along = if size > 0.0 { slope.map(|s| s / size) } else { [1.0, 0.0] };
    let project = |r: &[f64; 2]| (r[0] - mean[0]) * along[0] + (r[1] - mean[1]) * along[1];
    let total = pairs.iter().map(|(r, _)| project(r).powi(2)).sum::<f64>();
    let left: f64 = pairs.iter().map(|(r, h)| (project(r) - size * (h - mean_height_m)).powi(2)).sum();
    Ok(Relief {
        points: pairs.len(),
        direction_clockwise_deg: along[0].atan2(-along[1]).to_degrees().rem_euclid(360.0),
        slope_m_per_m: size,
        slope_standard_error: (left / (n - 2.0) / spread).sqrt(),
        correlation: if total > 0.0 { size * (spread / total).sqrt() } else { 0.0 },
        mean_height_m,
    })
}

impl Relief {
    /// A residual's part along the direction, metres; given in metres to the right and down.
    pub fn along(&self, residual_m: [f64; 2]) -> f64 {
        let (sin, cos) = self.direction_clockwise_deg.to_radians().sin_cos();
        residual_m[0] * sin - residual_m[1] * cos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_direction_and_the_slope_of_a_planted_displacement_come_back() {
        // Half a metre a metre towards the east-north-east, and scatter across.
        let (sin, cos) = 70f64.to_radians().sin_cos();
        let pairs: Vec<([f64; 2], f64)> = (0..60)
            .map(|i| {
                let (h, noise) = (f64::from(i * 7 % 60) * 5.0, f64::from(i * 13 % 7) - 3.0);
                ([3.0 + 0.5 * h * sin + noise * cos, -1.0 - 0.5 * h * cos + noise * sin], h)
            })
            .collect();
        let r = follow(&pairs).unwrap();
        assert!((r.direction_clockwise_deg - 70.0).abs() < 1.0 && (r.slope_m_per_m - 0.5).abs() < 0.01 && r.correlation > 0.99, "{r:?}");
        assert!((r.along([sin, -cos]) - 1.0).abs() < 1e-3 && r.slope_standard_error < 0.01);
        assert!(follow(&pairs[..5]).unwrap_err().to_string().contains("5 tie points"));
        assert!(follow(&vec![([1.0, 1.0], 5.0); 20]).is_err());
    }
}
