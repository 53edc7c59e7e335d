//! What locating answers: one type of place, of fix and of image, whatever method found them.

use crate::Result;
use crate::dense::{Ellipse, Variant};
use crate::scene::{GeoTransform, Georeference, MapInfo, lonlat_distance_m};
use serde::Serialize;

/// A place on a map, and what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Place {
    /// Map pixels.
    pub map_px: [f64; 2],
    /// In the map's coordinate system.
    pub map_xy: [f64; 2],
    /// Longitude and latitude, degrees, WGS 84.
    pub lonlat: [f64; 2],
    /// That it is right, 0 to 1; none where the method does not say (cells of an index).
    pub probability: Option<f64>,
    /// Where the truth lies with a probability of 95 %.
    pub ellipse: Option<Ellipse>,
}

/// Map pixels to the other coordinates of a place.
#[derive(Debug, Clone)]
pub struct Places {
    geo: GeoTransform,
    placement: Georeference,
}

impl Places {
    /// Of a map.
    ///
    /// # Errors
    /// A map whose georeference is not valid.
    pub fn new(map: &MapInfo) -> Result<Self> {
        let (geo, _) = map.georeference()?;
        Ok(Self { geo, placement: map.placement()? })
    }

    /// The place at some map pixels.
    ///
    /// # Errors
    /// A position outside the projection's domain.
    pub fn at(&self, map_px: [f64; 2]) -> Result<Place> {
        let map_xy: [f64; 2] = self.geo.pixel_to_map(map_px[0], map_px[1]).into();
        let lonlat = self.placement.crs().to_lonlat(map_xy[0], map_xy[1])?.into();
        Ok(Place { map_px, map_xy, lonlat, probability: None, ellipse: None })
    }

    /// Longitude and latitude of some corners, map pixels.
    ///
    /// # Errors
    /// As [`at`](Self::at).
    pub fn ring(&self, corners: [[f64; 2]; 4]) -> Result<Vec<[f64; 2]>> {
        corners.into_iter().map(|c| Ok(self.at(c)?.lonlat)).collect()
    }

    /// Map pixels of a longitude and latitude.
    ///
    /// # Errors
    /// A position outside the projection's domain.
    pub fn map_px(&self, [lon, lat]: [f64; 2]) -> Result<[f64; 2]> {
        Ok(self.placement.from_lonlat((lon, lat))?)
    }

    /// The map's transform.
    pub fn geo(&self) -> &GeoTransform {
        &self.geo
    }
}

/// A place that a patch may have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Candidate {
    /// Place in the ranking, from 1.
    pub rank: u32,
    /// The cell in the database; none where candidates are places, not cells.
    pub cell: Option<u32>,
    /// Cosine similarity, or height of the correlation's peak.
    pub score: f32,
    /// Centre of the cell's best view, or the peak.
    pub place: Place,
    /// Distance on the ground from the truth, metres, where that is known.
    pub distance_m: Option<f64>,
    /// Whether it counts as right, where the truth is known.
    pub right: Option<bool>,
}

/// Where one patch of an image was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Fix {
    /// Its name, unique in its image.
    pub id: String,
    /// Centre of the patch in the image, SAR pixels.
    pub sar_px: [f64; 2],
    /// Where it lies; none where the answer is "not found".
    pub place: Option<Place>,
    /// That the best place is right, also where that is too little to be an answer; none where the method does not say.
    pub probability: Option<f64>,
    /// Corners of the patch on the ground, longitude and latitude, in ring order; empty where it was not found.
    pub footprint: Vec<[f64; 2]>,
    /// How the patch was turned and scaled; none where it was not found or only one way was tried.
    pub variant: Option<Variant>,
    /// Score of the best place.
    pub score: f32,
    /// That score less the best of the other candidates: negative where the image's other patches overruled a higher one.
    pub margin: f32,
    /// Whether it agrees with the image's other patches; none where they did not vote.
    pub agrees: Option<bool>,
    /// What else it may be, the place of the fix first.
    pub candidates: Vec<Candidate>,
    /// Where the image's own georeference puts it: not used to find it, unless as a prior.
    pub claimed: Option<Place>,
    /// Where it truly lies, where that is known.
    pub truth: Option<Place>,
}

impl Fix {
    /// A patch without a place yet.
    pub fn new(id: String, sar_px: [f64; 2]) -> Self {
        Self {
            id,
            sar_px,
            place: None,
            probability: None,
            footprint: Vec::new(),
            variant: None,
            score: 0.0,
            margin: 0.0,
            agrees: None,
            candidates: Vec::new(),
            claimed: None,
            truth: None,
        }
    }

    /// Whether a place is claimed.
    pub fn found(&self) -> bool {
        self.place.is_some()
    }

    /// Whether the first candidate is right; none where the truth is not known or no place is claimed.
    pub fn right(&self) -> Option<bool> {
        self.candidates.first().and_then(|c| c.right).filter(|_| self.found())
    }

    /// Rank of the first right candidate among those kept.
    pub fn right_rank(&self) -> Option<u32> {
        self.candidates.iter().find(|c| c.right == Some(true)).map(|c| c.rank)
    }

    /// Distance on the ground between place and truth, metres, where both are known.
    pub fn error_m(&self) -> Option<f64> {
        Some(lonlat_distance_m(self.place?.lonlat.into(), self.truth?.lonlat.into()))
    }

    /// Distance on the ground between place and claimed place, metres.
    pub fn displaced_m(&self) -> Option<f64> {
        Some(lonlat_distance_m(self.place?.lonlat.into(), self.claimed?.lonlat.into()))
    }

    /// Takes a place for the truth: candidates learn how far off they are, and whether `right` counts them as right.
    pub fn set_truth(&mut self, truth: Place, right: impl Fn(&Candidate, f64) -> bool) {
        for c in &mut self.candidates {
            let off = lonlat_distance_m(c.place.lonlat.into(), truth.lonlat.into());
            c.distance_m = Some(off);
            c.right = Some(right(c, off));
        }
        self.truth = Some(truth);
    }
}

/// The answer for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does not lie on this map, or cannot be found there.
    NotHere,
    /// It may lie there: to be looked at.
    Check,
    /// It lies there.
    Here,
}

impl Verdict {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Check => "check",
            Self::NotHere => "not on this map",
        }
    }

    /// As in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Check => "check",
            Self::NotHere => "not_here",
        }
    }
}

/// How far a place lies from where an image's georeference puts it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Displacement {
    /// Distance on the ground, metres.
    pub metres: f64,
    /// Direction from the claimed place to the one found, degrees clockwise from north.
    pub azimuth_deg: f64,
}

impl Displacement {
    /// From one longitude and latitude to another.
    pub fn between(claimed: [f64; 2], found: [f64; 2]) -> Self {
        let metres = lonlat_distance_m(claimed.into(), found.into());
        let east = ((found[0] - claimed[0] + 540.0).rem_euclid(360.0) - 180.0) * f64::midpoint(claimed[1], found[1]).to_radians().cos();
        let azimuth_deg = east.atan2(found[1] - claimed[1]).to_degrees().rem_euclid(360.0);
        Self { metres, azimuth_deg }
    }
}

impl std::fmt::Display for Displacement {
    /// As `displaced 1,078 m NW`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const WINDS: [&str; 8] = ["N", "NE", "E", "SE", "S", "SW", "W", "NW"];
        let wind = WINDS[(self.azimuth_deg / 45.0).round() as usize % 8];
        let metres = self.metres.round() as u64;
        let digits = metres.to_string();
        let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap_or_default()).collect();
        write!(f, "displaced {} m {wind}", groups.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(lon: f64, lat: f64) -> Place {
        Place { map_px: [0.0; 2], map_xy: [0.0; 2], lonlat: [lon, lat], probability: None, ellipse: None }
    }

    #[test]
    fn displacements_have_a_wind() {
        for (to, want) in
            [([10.0, 50.009], "displaced 1,001 m N"), ([9.99, 50.0065], "displaced 1,018 m NW"), ([10.0, 50.0], "displaced 0 m N")]
        {
            assert_eq!(Displacement::between([10.0, 50.0], to).to_string(), want);
        }
        // Across the antimeridian.
        assert!((Displacement::between([179.999, 0.0], [-179.999, 0.0]).azimuth_deg - 90.0).abs() < 1e-6);
    }

    #[test]
    fn right_and_wrong_need_the_truth() {
        let candidate = |rank, lon| Candidate { rank, cell: None, score: 0.5, place: place(lon, 50.0), distance_m: None, right: None };
        let mut fix = Fix { place: Some(place(10.0, 50.0)), claimed: Some(place(10.01, 50.0)), ..Fix::new("p1".into(), [0.0; 2]) };
        fix.candidates = vec![candidate(1, 10.0), candidate(2, 10.02)];
        assert_eq!((fix.right(), fix.right_rank(), fix.error_m()), (None, None, None));
        assert!((fix.displaced_m().unwrap() - 717.0).abs() < 2.0);
        fix.set_truth(place(10.02, 50.0), |_, off| off <= 100.0);
        assert_eq!((fix.right(), fix.right_rank()), (Some(false), Some(2)));
        assert!((fix.error_m().unwrap() - 1434.0).abs() < 4.0);
        fix.place = None;
        assert_eq!((fix.right(), fix.error_m(), fix.found()), (None, None, false));
    }
}
