//! What a run leaves behind: fixes as GeoJSON and CSV, an HTML page to look at, figures for a paper.
//!
//! The types here are plain data filled by `locate`, `eval` and `demo`; the modules below turn them into text and
//! write it. Every file is written beside its target under a temporary name and moved into place, so a
//! failure leaves no half file and an earlier report stays whole.

pub mod checkerboard;
pub mod csv;
pub mod figures;
pub mod geojson;
pub mod html;
pub mod registered;
pub mod registration;
pub mod relief;
pub mod stac;

use crate::atomic::{AtomicFile, folder_of};
use crate::dense::Ellipse;
use std::path::{Path, PathBuf};

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be written.
    #[error("cannot write {}: {source}; {}", .path.display(), write_hint(.path, .source))]
    Write {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A picture whose pixels do not fill its size, or that could not be encoded.
    #[error("cannot use the picture of {what}: {problem}")]
    Picture {
        /// Whose picture it is.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A fix with a position that is not a place on Earth.
    #[error("fix {query} has no usable position: {problem}; check the map's coordinate system")]
    Position {
        /// The fix.
        query: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A figure that could not be drawn.
    #[error("cannot draw the figure: {0}")]
    Figure(String),
    /// Fixes that could not be put into text form.
    #[error("cannot put the fixes into {format}: {problem}")]
    Encode {
        /// The format.
        format: &'static str,
        /// What the encoder said.
        problem: String,
    },
}

/// What a reader can do about a file that could not be written.
fn write_hint(path: &Path, source: &std::io::Error) -> String {
    use std::io::ErrorKind as Kind;
    let folder = folder_of(path).display();
    match source.kind() {
        Kind::NotFound => format!("create the folder {folder} first, or choose another path"),
        Kind::NotADirectory => format!("{folder} is not a folder: choose another path"),
        Kind::IsADirectory => "it is a folder: give the name of a file in it".to_string(),
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
            format!("make the folder {folder} writable, or choose another path")
        }
        Kind::StorageFull | Kind::QuotaExceeded => "free some space, or choose another disk".to_string(),
        _ => format!("check the folder {folder}, or choose another path"),
    }
}

/// Writes `bytes` to `path` whole or not at all: to a temporary file in the same folder, then moved into place.
///
/// # Errors
/// [`Error::Write`] names the path, the cause and what to do.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let fail = |source| Error::Write { path: path.to_path_buf(), source };
    AtomicFile::write(path, bytes).map_err(fail)
}

/// A small colour picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumb {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Red, green, blue, row by row from the top: `3 * width * height` bytes.
    pub rgb: Vec<u8>,
}

impl Thumb {
    /// A picture from its pixels.
    ///
    /// # Errors
    /// [`Error::Picture`] when it is empty or `rgb` does not hold `3 * width * height` bytes.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, Error> {
        let thumb = Self { width, height, rgb };
        match thumb.problem() {
            None => Ok(thumb),
            Some(problem) => Err(Error::Picture { what: "a thumbnail".to_string(), problem }),
        }
    }

    fn problem(&self) -> Option<String> {
        let Self { width, height, rgb } = self;
        let needed = u128::from(*width) * u128::from(*height) * 3;
        if needed == 0 {
            Some(format!("it is {width} x {height} px"))
        } else if needed != rgb.len() as u128 {
            Some(format!("{width} x {height} px need {needed} bytes, {} were given", rgb.len()))
        } else {
            None
        }
    }
}

/// One candidate cell of a query.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Candidate {
    /// Place in the ranking, from 1.
    pub rank: u32,
    /// Row of the cell in the database; none where candidates are places, not cells.
    pub cell_id: Option<u64>,
    /// Cosine similarity, or height of the correlation's peak.
    pub score: f32,
    /// Centre of the cell's best view, or the peak's place, in map coordinates (the map's CRS).
    pub center_map: [f64; 2],
    /// The same in degrees, WGS84.
    pub lonlat: [f64; 2],
    /// Ground distance in metres from the truth, where it is known.
    pub distance_m: Option<f64>,
    /// Whether it counts as right, where the truth is known.
    pub right: Option<bool>,
    /// Its picture.
    pub thumb: Option<Thumb>,
}

/// Where one SAR patch was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fix {
    /// Name of the query, unique in a report.
    pub query_id: String,
    /// Centre of the patch in the SAR image, in pixels.
    pub sar_px: [f64; 2],
    /// The four corners of the patch on the ground in degrees, WGS84, in ring order (either way round). May be empty.
    pub footprint_lonlat: Vec<[f64; 2]>,
    /// Position on the map, in map pixels.
    pub map_px: [f64; 2],
    /// Position in map coordinates (the map's CRS).
    pub center_map: [f64; 2],
    /// Position in degrees, WGS84.
    pub lonlat: [f64; 2],
    /// Score of the fix.
    pub score: f32,
    /// Score minus the runner-up's.
    pub margin: f32,
    /// Where the patch truly lies in degrees, WGS84, where it is known.
    pub truth_lonlat: Option<[f64; 2]>,
    /// Where the patch truly lies in map pixels, where it is known; the overview draws a line to it.
    pub truth_map_px: Option<[f64; 2]>,
    /// The best candidates, best first.
    pub candidates: Vec<Candidate>,
    /// Picture of the SAR patch.
    pub thumb: Option<Thumb>,
    /// Probability that the fix is right, where it is known.
    pub probability: Option<f64>,
    /// Whether the fix is probable enough, where that is judged: `Some(false)` is "not found", and the position above is not
    /// claimed (it may be not a number).
    pub found: Option<bool>,
    /// Where the true place lies with a probability of 95 %, metres.
    pub ellipse_m: Option<Ellipse>,
    /// Rotation in degrees clockwise and factor of scale at which the patch was found, beyond what its image says.
    pub turn: Option<[f64; 2]>,
    /// More pictures, with what they show.
    pub pictures: Vec<(String, Thumb)>,
}

impl Fix {
    /// Whether a position is claimed at all: not where the answer is "not found".
    #[must_use]
    pub fn claimed(&self) -> bool {
        self.found != Some(false)
    }

    /// Whether the first candidate is right; `None` when the truth is unknown or no position is claimed.
    #[must_use]
    pub fn right(&self) -> Option<bool> {
        self.candidates.first().and_then(|c| c.right).filter(|_| self.claimed())
    }

    /// Rank of the first right candidate among those kept.
    #[must_use]
    pub fn right_rank(&self) -> Option<u32> {
        self.candidates.iter().find(|c| c.right == Some(true)).map(|c| c.rank)
    }

    /// Ground distance in metres between the fix and the truth, where it is known: the first candidate's where the
    /// fix lies on it, else computed from the two positions. `None` where no position is claimed.
    #[must_use]
    pub fn error_m(&self) -> Option<f64> {
        if !self.claimed() {
            return None;
        }
        match self.candidates.first() {
            Some(Candidate { distance_m: Some(d), lonlat, .. }) if *lonlat == self.lonlat => Some(*d),
            _ => self.truth_lonlat.map(|truth| ground_distance_m(self.lonlat, truth)),
        }
    }
}

/// A tie point of a registration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tie {
    /// Its name, unique in a report.
    pub id: String,
    /// Place in the SAR image, pixels.
    pub sar_px: [f64; 2],
    /// Where it was found on the map, map pixels.
    pub map_px: [f64; 2],
    /// The same in map coordinates (the map's CRS).
    pub center_map: [f64; 2],
    /// The same in degrees, WGS84.
    pub lonlat: [f64; 2],
    /// Where the transform puts it less where it was found, map pixels to the right and down.
    pub residual_px: [f64; 2],
    /// Length of that on the ground, metres.
    pub residual_m: f64,
    /// Length of the residual of the fit that leaves this point out, metres.
    pub held_out_m: f64,
    /// What it counted.
    pub weight: f64,
    /// Whether the fit rests on it.
    pub used: bool,
    /// Height of the ground there, metres, where a height model was given and says it.
    pub height_m: Option<f64>,
}

/// A map scaled down to fit a page.
#[derive(Debug, Clone, PartialEq)]
pub struct MapOverview {
    /// The picture.
    pub thumb: Thumb,
    /// Map pixels an overview pixel.
    pub scale: f64,
    /// Metres a map pixel, for ellipses; 0 where it is not known.
    pub pixel_m: f64,
}

/// What a report says about its run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportMeta {
    /// Heading of the page.
    pub title: String,
    /// The command that was run.
    pub command: String,
    /// The map.
    pub map: String,
    /// The SAR image.
    pub sar: String,
    /// The model.
    pub model: String,
    /// The adapter the kernels ran on.
    pub adapter: String,
    /// Version of echogrid.
    pub version: String,
    /// More rows of name and value.
    pub rows: Vec<(String, String)>,
}

/// Ground distance in metres between two positions in degrees: Gauss' mid-latitude formula on the WGS84 ellipsoid below
/// 300 km (error below 1e-4 of the distance away from the poles), the haversine on the mean sphere beyond (0.5 %).
#[must_use]
pub fn ground_distance_m(a: [f64; 2], b: [f64; 2]) -> f64 {
    const A: f64 = 6_378_137.0;
    const F: f64 = 1.0 / 298.257_223_563;
    const MEAN_RADIUS: f64 = 6_371_008.8;
    let e2 = F * (2.0 - F);
    let dlat = (b[1] - a[1]).to_radians();
    let dlon = wrap_lon(b[0] - a[0]).to_radians();
    let mid = f64::midpoint(a[1], b[1]).to_radians();
    let hav = (dlat / 2.0).sin().powi(2) + a[1].to_radians().cos() * b[1].to_radians().cos() * (dlon / 2.0).sin().powi(2);
    let sphere = 2.0 * MEAN_RADIUS * hav.sqrt().min(1.0).asin();
    if sphere > 300_000.0 || mid.to_degrees().abs() > 85.0 {
        return sphere;
    }
    let w2 = 1.0 - e2 * mid.sin().powi(2);
    let north = dlat * (dlon / 2.0).cos() * A * (1.0 - e2) / w2.powf(1.5);
    let east = dlon * mid.cos() * A / w2.sqrt();
    north.hypot(east)
}

/// Longitude brought into -180..180; 180 stays 180.
fn wrap_lon(lon: f64) -> f64 {
    if (-180.0..=180.0).contains(&lon) { lon } else { (lon + 180.0).rem_euclid(360.0) - 180.0 }
}

/// A distance for people: `8.4 m`, `312 m`, `4.37 km`, `152 km`.
fn distance_text(metres: f64) -> String {
    match metres {
        m if m < 9.95 => format!("{m:.1} m"),
        m if m < 999.5 => format!("{m:.0} m"),
        m if m < 99_950.0 => format!("{:.2} km", m / 1000.0),
        m => format!("{:.0} km", m / 1000.0),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A fix near (`lon`, `lat`) with three candidates, the one of rank `right` right (0: truth unknown, 9: none).
    pub(crate) fn fix(name: &str, lon: f64, lat: f64, right: u32) -> Fix {
        let d = 0.005;
        let candidates = (1..=3u32)
            .map(|rank| {
                let offset = f64::from(rank - 1) * 0.02;
                Candidate {
                    rank,
                    cell_id: Some(u64::from(rank) * 10),
                    score: 0.9 - 0.1 * rank as f32,
                    center_map: [500_000.0 + offset, 4_000_000.0],
                    lonlat: [lon + offset, lat],
                    distance_m: (right > 0).then(|| 12.5 * f64::from(rank)),
                    right: (right > 0).then_some(rank == right),
                    thumb: Some(Thumb::new(4, 4, vec![rank as u8 * 60; 48]).unwrap()),
                }
            })
            .collect();
        Fix {
            query_id: name.to_string(),
            sar_px: [100.0, 300.0],
            footprint_lonlat: vec![[lon - d, lat + d], [lon + d, lat + d], [lon + d, lat - d], [lon - d, lat - d]],
            map_px: [50.0, 60.0],
            center_map: [500_000.0, 4_000_000.0],
            lonlat: [lon, lat],
            score: 0.8,
            margin: 0.1,
            truth_lonlat: (right > 0).then_some([lon + 1e-4, lat]),
            truth_map_px: (right > 0).then_some([55.0, 60.0]),
            candidates,
            thumb: Some(Thumb::new(4, 4, vec![9; 48]).unwrap()),
            ..Fix::default()
        }
    }

    /// The same with a probability; not found where `found` is not set.
    pub(crate) fn dense(name: &str, lon: f64, lat: f64, right: u32, found: bool) -> Fix {
        let mut f = fix(name, lon, lat, right);
        f.candidates.iter_mut().for_each(|c| c.cell_id = None);
        (f.probability, f.found, f.turn) = (Some(if found { 0.875 } else { 0.125 }), Some(found), Some([1.5, 1.0]));
        f.ellipse_m = Some(Ellipse { major_m: 40.0, minor_m: 20.0, azimuth_deg: 30.0 });
        f.pictures = vec![("overlay".into(), Thumb::new(4, 4, vec![99; 48]).unwrap())];
        if !found {
            (f.lonlat, f.center_map, f.map_px) = ([f64::NAN; 2], [f64::NAN; 2], [f64::NAN; 2]);
            f.footprint_lonlat.clear();
        }
        f
    }

    #[test]
    fn writing_replaces_the_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn unwritable_places_name_the_path_and_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no").join("x.html");
        let text = write_atomically(&missing, b"").unwrap_err().to_string();
        assert!(text.contains(&missing.display().to_string()), "{text}");
        assert!(text.contains("create the folder"), "{text}");

        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let text = write_atomically(&file.join("x.html"), b"").unwrap_err().to_string();
        assert!(text.contains("is not a folder"), "{text}");

        let text = write_atomically(dir.path(), b"").unwrap_err().to_string();
        assert!(text.contains("give the name of a file in it"), "{text}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_read_only_folder_is_refused_with_a_message() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let locked = dir.path().join("locked");
        std::fs::create_dir(&locked).unwrap();
        std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
        // An administrator may write anywhere, so success is no failure of this test.
        if let Err(e) = write_atomically(&locked.join("x.html"), b"") {
            assert!(e.to_string().contains("writable"), "{e}");
        }
        let denied = Error::Write { path: locked.join("x"), source: std::io::ErrorKind::PermissionDenied.into() };
        assert!(denied.to_string().contains("make the folder"), "{denied}");
    }

    #[test]
    fn pictures_must_fill_their_size() {
        assert!(Thumb::new(2, 2, vec![0; 12]).is_ok());
        let text = Thumb::new(2, 2, vec![0; 11]).unwrap_err().to_string();
        assert!(text.contains("need 12 bytes, 11 were given"), "{text}");
        assert!(Thumb::new(0, 2, vec![]).is_err());
        assert!(Thumb::new(u32::MAX, u32::MAX, vec![]).is_err());
    }

    #[test]
    fn ground_distance_matches_known_arcs() {
        // WGS84: one degree of the equator is 111,319.49 m, one degree of meridian at 45 is 111,131.8 m.
        assert!((ground_distance_m([10.0, 0.0], [11.0, 0.0]) - 111_319.49).abs() < 0.5);
        assert!((ground_distance_m([10.0, 44.5], [10.0, 45.5]) - 111_131.8).abs() < 1.0);
        assert!((ground_distance_m([179.5, 0.0], [-179.5, 0.0]) - 111_319.49).abs() < 0.5);
        // London to New York, 5,585 km on the ellipsoid.
        let far = ground_distance_m([-0.1276, 51.5072], [-74.006, 40.7128]);
        assert!((far - 5_585_000.0).abs() < 0.005 * far, "{far}");
    }

    #[test]
    fn distances_read_well() {
        let texts = [0.0, 8.44, 9.97, 312.4, 999.7, 4370.0, 152_300.0].map(distance_text);
        assert_eq!(texts, ["0.0 m", "8.4 m", "10 m", "312 m", "1.00 km", "4.37 km", "152 km"]);
    }

    #[test]
    fn error_comes_from_the_candidate_or_the_truth() {
        let mut f = fix("a", 20.0, 50.0, 1);
        assert_eq!(f.error_m(), Some(12.5));
        f.lonlat[0] += 0.01;
        assert!(f.error_m().unwrap() > 600.0);
        assert_eq!(fix("a", 20.0, 50.0, 0).error_m(), None);
        assert_eq!((fix("a", 0.0, 0.0, 2).right(), fix("a", 0.0, 0.0, 2).right_rank()), (Some(false), Some(2)));
    }
}
