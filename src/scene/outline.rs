//! Outlines on the globe as GeoJSON's geometries (RFC 7946): longitude and latitude with 7 decimals (about 1 cm), closed rings anticlockwise, cut at
//! the antimeridian (section 3.1.9), whose boxes have their west edge east of their east edge (section 5.2).

use ::geojson::{Bbox, Geometry};

pub(crate) type Ring = Vec<[f64; 2]>;

/// A geometry with what it spans, for boxes about several.
pub(crate) struct Outline {
    /// Polygons, or a point.
    pub(crate) geometry: Geometry,
    /// West and east of each of its rings.
    pub(crate) spans: Vec<[f64; 2]>,
    /// South and north of each.
    pub(crate) lats: Vec<[f64; 2]>,
}

impl Outline {
    /// Closed rings anticlockwise, two where the outline crosses the antimeridian; the point where it has no area or goes round a pole.
    pub(crate) fn new(corners: &[[f64; 2]], point: [f64; 2]) -> Self {
        let rings = footprint(corners);
        let polygon = |ring: &Ring| vec![ring.clone()];
        let (geometry, rings) = match rings.as_slice() {
            [] => {
                let at = position(point);
                (Geometry::new_point(at), vec![vec![at]])
            }
            [ring] => (Geometry::new_polygon(polygon(ring)), rings),
            _ => (Geometry::new_multi_polygon(rings.iter().map(polygon)), rings),
        };
        let (spans, lats) = rings.iter().map(extent).unzip();
        Self { geometry, spans, lats }
    }

    /// The box about it: west, south, east, north.
    pub(crate) fn bbox(&self) -> Option<Bbox> {
        bbox(&self.spans, &self.lats.concat())
    }
}

/// What is wrong with a longitude and latitude, if it is no place on Earth.
pub(crate) fn no_place([lon, lat]: [f64; 2]) -> Option<String> {
    let sound = lon.is_finite() && lat.is_finite() && lat.abs() <= 90.0;
    (!sound).then(|| format!("longitude {lon}, latitude {lat}"))
}

/// Longitude brought into -180..180; 180 stays 180.
pub(crate) fn wrap_lon(lon: f64) -> f64 {
    if (-180.0..=180.0).contains(&lon) { lon } else { (lon + 180.0).rem_euclid(360.0) - 180.0 }
}

pub(crate) fn round(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    // Adding zero turns -0 into 0.
    (value * scale).round() / scale + 0.0
}

pub(crate) fn position([lon, lat]: [f64; 2]) -> [f64; 2] {
    [round(wrap_lon(lon), 7), round(lat, 7)]
}

/// Closed anticlockwise rings for a ring of corners: one, or two when it crosses the antimeridian; none when it
/// has no area or goes round a pole.
fn footprint(corners: &[[f64; 2]]) -> Vec<Ring> {
    let Some(&first) = corners.first() else {
        return Vec::new();
    };
    // Longitudes made continuous, so that each edge takes the short way round.
    let mut ring: Ring = vec![[wrap_lon(first[0]), first[1]]];
    for &[lon, lat] in &corners[1..] {
        let last = ring[ring.len() - 1][0];
        ring.push([last + short_way(lon - last), lat]);
    }
    let last = ring[ring.len() - 1][0];
    let closed_at = last + short_way(first[0] - last);
    let goes_round_a_pole = (closed_at - ring[0][0]).abs() > 1.0;
    if ring.len() > 1 && ring[0] == ring[ring.len() - 1] {
        ring.pop();
    }
    if ring.len() < 3 || goes_round_a_pole || area(&ring) == 0.0 {
        return Vec::new();
    }
    if area(&ring) < 0.0 {
        ring.reverse();
    }
    let west = ring.iter().map(|p| p[0]).fold(f64::INFINITY, f64::min);
    let east = ring.iter().map(|p| p[0]).fold(f64::NEG_INFINITY, f64::max);
    let parts = if east > 180.0 {
        vec![clip(&ring, 180.0, false), shift(clip(&ring, 180.0, true), -360.0)]
    } else if west < -180.0 {
        vec![shift(clip(&ring, -180.0, false), 360.0), clip(&ring, -180.0, true)]
    } else {
        vec![ring]
    };
    parts.into_iter().filter_map(close).collect()
}

/// The difference of two longitudes the short way round, in -180..=180.
fn short_way(difference: f64) -> f64 {
    difference - 360.0 * (difference / 360.0).round()
}

fn shift(ring: Ring, by: f64) -> Ring {
    ring.into_iter().map(|[lon, lat]| [lon + by, lat]).collect()
}

/// The part of a ring east or west of a meridian (Sutherland and Hodgman 1974).
fn clip(ring: &Ring, meridian: f64, keep_east: bool) -> Ring {
    let inside = |p: &[f64; 2]| {
        if keep_east { p[0] >= meridian } else { p[0] <= meridian }
    };
    let mut out = Ring::with_capacity(ring.len() + 2);
    for (i, b) in ring.iter().enumerate() {
        let a = &ring[(i + ring.len() - 1) % ring.len()];
        if inside(a) != inside(b) {
            let t = (meridian - a[0]) / (b[0] - a[0]);
            out.push([meridian, a[1] + t * (b[1] - a[1])]);
        }
        if inside(b) {
            out.push(*b);
        }
    }
    out
}

/// Rounds and closes a ring; `None` when rounding leaves it no area.
fn close(ring: Ring) -> Option<Ring> {
    let mut ring: Ring = ring.into_iter().map(|[lon, lat]| [round(lon, 7), round(lat, 7)]).collect();
    ring.dedup();
    if ring.len() > 1 && ring[0] == ring[ring.len() - 1] {
        ring.pop();
    }
    if ring.len() < 3 || area(&ring) <= 0.0 {
        return None;
    }
    ring.push(ring[0]);
    Some(ring)
}

/// Signed area in square degrees, positive when anticlockwise (shoelace, about the first corner).
pub(crate) fn area(ring: &[[f64; 2]]) -> f64 {
    let [x0, y0] = ring[0];
    let twice: f64 = ring.windows(2).map(|w| (w[0][0] - x0) * (w[1][1] - y0) - (w[1][0] - x0) * (w[0][1] - y0)).sum();
    twice / 2.0
}

/// West and east, south and north of a ring.
fn extent(ring: &Ring) -> ([f64; 2], [f64; 2]) {
    let range = |axis: usize| ring.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[lo, hi], p| [lo.min(p[axis]), hi.max(p[axis])]);
    (range(0), range(1))
}

/// West, south, east, north. The box spans everything but the widest empty gap between longitudes, so west is greater
/// than east when it crosses the antimeridian.
pub(crate) fn bbox(spans: &[[f64; 2]], lats: &[f64]) -> Option<Bbox> {
    let mut spans = spans.to_vec();
    spans.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let (first, rest) = spans.split_first()?;
    let (mut west, mut reach) = (first[0], first[1]);
    let mut east = None;
    let mut widest = 0.0;
    for &[lo, hi] in rest {
        if lo - reach > widest {
            widest = lo - reach;
            (west, east) = (lo, Some(reach));
        }
        reach = reach.max(hi);
    }
    // The gap across the antimeridian itself; kept on a tie, for the plainer box.
    if first[0] + 360.0 - reach >= widest {
        (west, east) = (first[0], Some(reach));
    }
    let east = east.unwrap_or(reach);
    let south = lats.iter().copied().fold(f64::INFINITY, f64::min);
    let north = lats.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(vec![west, south, east, north])
}
