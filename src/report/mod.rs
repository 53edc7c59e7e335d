//! What a run leaves behind: fixes as GeoJSON and CSV, an HTML page to look at, figures for a paper.
//!
//! The types are those of [`crate::locate`]; the modules below turn them into text and pictures, and
//! write these. Every file is written beside its target under a temporary name and moved into place, so a
//! failure leaves no half file and an earlier report stays whole.

pub mod checkerboard;
pub mod csv;
pub mod describe;
pub mod detections;
pub mod figures;
pub mod geojson;
pub mod graticule;
pub mod html;
pub mod pictures;
pub mod registered;
pub mod registration;
pub mod retrieval;
pub mod stac;

use crate::atomic::{AtomicFile, advice};
use crate::locate::Located;
use std::path::{Path, PathBuf};

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be written.
    #[error("cannot write {}: {source}; {}", .path.display(), advice(.path, .source))]
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

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Write { path, source } => Self::Io { path, message, source },
            _ => Self::Invalid(message),
        }
    }
}

/// Writes `bytes` to `path` whole or not at all: to a temporary file in the same folder, then moved into place. Devices and pipes are
/// written through, links are followed, and `-` is standard output.
///
/// # Errors
/// [`Error::Write`] names the path, the cause and what to do.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let fail = |source| Error::Write { path: path.to_path_buf(), source };
    if path == Path::new("-") {
        use std::io::Write as _;
        let mut out = std::io::stdout().lock();
        return out.write_all(bytes).and_then(|()| out.flush()).map_err(fail);
    }
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

/// A file that could not be located.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed<'a> {
    /// The file.
    pub file: &'a str,
    /// What was wrong.
    pub problem: String,
}

/// What became of an image of several.
pub type Outcome<'a> = std::result::Result<&'a Located, Failed<'a>>;

/// Pictures of a fix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pictures {
    /// The SAR patch.
    pub patch: Option<Thumb>,
    /// The map at the first candidates.
    pub candidates: Vec<Thumb>,
    /// More, with what they show.
    pub more: Vec<(String, Thumb)>,
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

/// A picture that lies on a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Overlay {
    /// The picture.
    pub thumb: Thumb,
    /// Whether a pixel has data, row by row; empty where all have.
    pub valid: Vec<bool>,
    /// From its pixels to map pixels: rows of factors of x and y, and a constant.
    pub to_map: [[f64; 3]; 2],
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
    /// Meridians and parallels, corners, north.
    pub graticule: Option<graticule::Graticule>,
    /// Parts of the map by more pixels.
    pub closer: Vec<Overlay>,
    /// Images as they lie on it.
    pub images: Vec<Overlay>,
}

impl MapOverview {
    /// The picture alone.
    #[must_use]
    pub fn new(thumb: Thumb, scale: f64, pixel_m: f64) -> Self {
        Self { thumb, scale, pixel_m, graticule: None, closer: Vec::new(), images: Vec::new() }
    }
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
    /// When it was made.
    pub date: String,
    /// More rows of name and value.
    pub rows: Vec<(String, String)>,
}

/// Seconds since 1970 as `2021-02-03T04:05:06Z`.
pub fn utc(seconds: i64) -> String {
    let (y, m, d) = civil(seconds.div_euclid(86_400));
    let s = seconds.rem_euclid(86_400);
    format!("{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}Z", s / 3600, s / 60 % 60, s % 60)
}

/// Year, month and day of a day counted from 1970-01-01 (Hinnant's algorithm).
fn civil(day: i64) -> (i64, i64, i64) {
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (d, m) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    (yoe + era * 400 + i64::from(m <= 2), m, d)
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
    use crate::dense::Ellipse;
    use crate::locate::{Candidate, Fix, Place, Variant};

    fn place(lon: f64, lat: f64) -> Place {
        Place { map_px: [50.0, 60.0], map_xy: [500_000.0, 4_000_000.0], lonlat: [lon, lat], probability: None, ellipse: None }
    }

    /// A fix near (`lon`, `lat`) with three candidates, the one of rank `right` right (0: truth unknown, 9: none).
    pub(crate) fn fix(name: &str, lon: f64, lat: f64, right: u32) -> Fix {
        let d = 0.005;
        let mut fix = Fix::new(name.to_string(), [100.0, 300.0]);
        for rank in 1..=3u32 {
            let at = place(lon + f64::from(rank - 1) * 0.02, lat);
            fix.candidates.push(Candidate {
                rank,
                cell: Some(rank * 10),
                score: 0.9 - 0.1 * rank as f32,
                place: at,
                distance_m: None,
                right: None,
            });
        }
        fix.footprint = vec![[lon - d, lat + d], [lon + d, lat + d], [lon + d, lat - d], [lon - d, lat - d]];
        fix.place = Some(place(lon, lat));
        (fix.score, fix.margin) = (0.8, 0.1);
        if right > 0 {
            let truth = Place { map_px: [55.0, 60.0], ..place(lon + 1e-4, lat) };
            fix.set_truth(truth, |c, _| c.rank == right);
        }
        fix
    }

    /// Pictures of it.
    pub(crate) fn pictures() -> Pictures {
        let plain = |grey: u8| Thumb::new(4, 4, vec![grey; 48]).unwrap();
        Pictures { patch: Some(plain(9)), candidates: [60, 120, 180].map(plain).into(), more: Vec::new() }
    }

    /// The same with a probability; not found where `found` is not set.
    pub(crate) fn dense(name: &str, lon: f64, lat: f64, right: u32, found: bool) -> Fix {
        let mut f = fix(name, lon, lat, right);
        f.candidates.iter_mut().for_each(|c| c.cell = None);
        (f.probability, f.variant) = (Some(if found { 0.875 } else { 0.125 }), Some(Variant::new(1.5, 1.0)));
        let ellipse = Some(Ellipse { major_m: 40.0, minor_m: 20.0, azimuth_deg: 30.0 });
        f.place = f.place.filter(|_| found).map(|p| Place { probability: f.probability, ellipse, ..p });
        if !found {
            f.footprint.clear();
            f.variant = None;
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
    fn distances_read_well() {
        let texts = [0.0, 8.44, 9.97, 312.4, 999.7, 4370.0, 152_300.0].map(distance_text);
        assert_eq!(texts, ["0.0 m", "8.4 m", "10 m", "312 m", "1.00 km", "4.37 km", "152 km"]);
    }
}
