//! Meridians and parallels of a map, its corners and its north.

use crate::scene::{Image, lonlat_distance_m};

/// Points a line is drawn by.
const POINTS: usize = 33;

/// What lies over a map: lines of round degrees, corners, north.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Graticule {
    /// Name of the map's coordinate system.
    pub crs: String,
    /// Towards north in the map's middle, a unit vector in map pixels (y down).
    pub north: [f64; 2],
    /// Meridians and parallels: a label and points, map pixels.
    pub lines: Vec<(String, Vec<[f64; 2]>)>,
    /// Corners, longitude and latitude: upper left, upper right, lower right, lower left.
    pub corners: [[f64; 2]; 4],
    /// Ground size of the map, metres.
    pub size_m: [f64; 2],
}

/// The largest of 1, 2, 5 times a power of ten that is at most `most`, and how many decimals it needs.
pub fn round_below(most: f64) -> (f64, usize) {
    let power = most.log10().floor();
    let step = [5.0, 2.0, 1.0].into_iter().find(|f| f * 10f64.powf(power) <= most * (1.0 + 1e-9)).unwrap_or(1.0);
    (step * 10f64.powf(power), (-power).max(0.0) as usize)
}

impl Graticule {
    /// Of a map; none where its georeference does not say.
    pub fn of(map: &Image) -> Option<Self> {
        let raster = &map.raster;
        let (geo, crs) = raster.georeference().ok()?;
        let size = [raster.width(), raster.height()].map(f64::from);
        let middle = size.map(|v| v / 2.0);
        let ground = |p: [f64; 2]| -> Option<[f64; 2]> {
            let (x, y) = geo.pixel_to_map(p[0], p[1]);
            crs.to_lonlat(x, y).ok().map(Into::into)
        };
        let pixel = |lon: f64, lat: f64| -> Option<[f64; 2]> {
            let (x, y) = crs.from_lonlat(lon, lat).ok()?;
            let p: [f64; 2] = geo.map_to_pixel(x, y).into();
            p.iter().all(|v| v.is_finite()).then_some(p)
        };
        let centre = ground(middle)?;
        // Longitudes run on from that of the middle, also across the antimeridian.
        let near = |lon: f64| centre[0] + (lon - centre[0] + 540.0).rem_euclid(360.0) - 180.0;
        let [ul, ur, lr, ll] = [[0.0, 0.0], [size[0], 0.0], size, [0.0, size[1]]].map(ground);
        let corners = [ul?, ur?, lr?, ll?];
        let (mut low, mut high) = (centre, centre);
        for i in 0..=16 {
            let f = f64::from(i) / 16.0;
            let edge = [[f * size[0], 0.0], [f * size[0], size[1]], [0.0, f * size[1]], [size[0], f * size[1]]];
            for [lon, lat] in edge.into_iter().filter_map(ground) {
                let p = [near(lon), lat];
                low = [0, 1].map(|d| low[d].min(p[d]));
                high = [0, 1].map(|d| high[d].max(p[d]));
            }
        }
        let mut lines = Vec::new();
        for d in [0, 1] {
            let (step, decimals) = round_below(((high[d] - low[d]) / 3.0).max(1e-9));
            let (from, to) = ((low[d] / step).ceil() as i64, (high[d] / step).floor() as i64);
            for n in from..=to.min(from + 20) {
                let fixed = n as f64 * step;
                let along = |i: usize| low[1 - d] + (high[1 - d] - low[1 - d]) * i as f64 / (POINTS - 1) as f64;
                let points = (0..POINTS).filter_map(|i| if d == 0 { pixel(fixed, along(i)) } else { pixel(along(i), fixed) }).collect();
                let value = if d == 0 { crate::scene::outline::wrap_lon(fixed) } else { fixed };
                let wind = match (d, value < 0.0) {
                    (0, true) => "W",
                    (0, false) => "E",
                    (_, true) => "S",
                    _ => "N",
                };
                lines.push((format!("{:.decimals$}° {wind}", value.abs()), points));
            }
        }
        let up = pixel(centre[0], centre[1] + (high[1] - low[1]).max(1e-6) * 0.05)?;
        let (dx, dy) = (up[0] - middle[0], up[1] - middle[1]);
        let length = dx.hypot(dy);
        let north = if length > 0.0 { [dx / length, dy / length] } else { [0.0, -1.0] };
        let across = |a: [f64; 2], b: [f64; 2]| Some(lonlat_distance_m(ground(a)?.into(), ground(b)?.into()));
        let size_m = [across([0.0, middle[1]], [size[0], middle[1]])?, across([middle[0], 0.0], [middle[0], size[1]])?];
        Some(Self { crs: crs.name().to_string(), north, lines, corners, size_m })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (most, want) in [(0.18, (0.1, 1)), (0.2, (0.2, 1)), (7.0, (5.0, 0)), (31.0, (20.0, 0)), (0.0049, (0.002, 3))] {
            let (step, decimals) = round_below(most);
            assert!((step - want.0).abs() < 1e-12 && decimals == want.1, "{most}: {step} {decimals}");
        }
    }
}
