//! Which bands of an image are read.

use super::error::{Error, Result};
use super::raster::Raster;

/// Which bands are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Bands {
    /// All but alpha.
    #[default]
    All,
    /// A map's colours: those that the file says are red, green and blue, by GDAL's or TIFF's colour interpretation or by
    /// description, else the first three.
    Colours,
    /// One of a SAR image: the first that is described as VV, VH, HH or HV, else the first.
    Polarisation,
    /// By number, from 1, or by description (`VV` also finds `Sigma0_VV_db`).
    Named(String),
}

/// Bands that were chosen.
pub(super) struct Choice {
    /// From 0, in the order in which they are read.
    pub(super) bands: Vec<u32>,
    /// What is doubtful about it.
    pub(super) doubt: Option<String>,
}

impl From<Vec<u32>> for Choice {
    fn from(bands: Vec<u32>) -> Self {
        Self { bands, doubt: None }
    }
}

/// Bands that a message lists.
const LISTED: usize = 16;

/// Share of a band's spread by which another must differ from it to show something else: more than JPEG does to a grey picture.
const DIFFERS: f64 = 0.1;
/// Share of the pixels that must differ at all.
const DIFFERENT: f64 = 0.1;
/// Side of the squares on which bands are compared, px, and their number along each axis.
const SQUARE: u32 = 32;
const SQUARES: u32 = 3;

/// Red, green and blue by number, as Sentinel-2 has them and the harmonised Landsats beside it; and without a leading nought.
const NUMBERED: [[&str; 3]; 2] = [["B04", "B03", "B02"], ["B4", "B3", "B2"]];
/// Bands that Sentinel-2 alone has. In bands 2 to 4 Landsats 4 to 7 have green, red and infrared, Landsats 8 and 9 blue, green and red: `B4` is
/// nothing's colour by itself.
const SENTINEL_2: [&str; 2] = ["B8A", "B12"];
/// Where one of these stands beside `B8`, that may be a Landsat's panchromatic band, not Sentinel-2's infrared.
const LANDSAT: [&str; 7] = ["B1", "B5", "B6", "B6_VCID_1", "B6_VCID_2", "B7", "B10"];
/// Words beside a colour's that do not make it another: `Red 665 nm`, but not `Red Edge`.
const UNITS: [&str; 4] = ["band", "nm", "reflectance", "surface"];

impl Bands {
    /// Chooses among the bands of a raster that reads all of them.
    ///
    /// # Errors
    /// [`Error::Argument`] for a band that the file does not have.
    pub(super) fn choose(&self, raster: &Raster) -> Result<Choice> {
        let all: Vec<u32> = raster.band_names().iter().map(|(b, _)| b - 1).collect();
        let name = |b: u32| raster.names()[b as usize].as_deref().unwrap_or_default();
        // Whole descriptions go before parts of them.
        let named = |word: &str| {
            let whole = all.iter().copied().find(|b| name(*b).eq_ignore_ascii_case(word));
            let part = |b: &u32| name(*b).split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part.eq_ignore_ascii_case(word));
            whole.or_else(|| all.iter().copied().find(part))
        };
        Ok(match self {
            Self::All => all.into(),
            Self::Colours => colours(raster, &all),
            Self::Polarisation => match ["VV", "VH", "HH", "HV"].into_iter().filter_map(named).min() {
                Some(polarised) => vec![polarised].into(),
                None => Choice { doubt: other_than_the_first(raster, &all), bands: vec![all[0]] },
            },
            Self::Named(word) => {
                let number = word.trim().parse::<u32>().ok().and_then(|n| n.checked_sub(1)).filter(|b| *b < raster.samples());
                let found = number.or_else(|| named(word.trim()));
                vec![found.ok_or_else(|| {
                    let message = format!("{} has no band `{word}`; it has {}", raster.path().display(), listed(raster));
                    Error::argument("band", message)
                })?]
                .into()
            }
        })
    }
}

impl Raster {
    /// Of a raster that reads all bands: the numbers, from 1, of those that would be read as `bands` says, and what would be doubtful about that.
    ///
    /// # Errors
    /// [`Error::Argument`] for a band that the file does not have.
    pub fn bands_as(&self, bands: &Bands) -> Result<(Vec<u32>, Option<String>)> {
        let Choice { bands, doubt } = bands.choose(self)?;
        Ok((bands.into_iter().map(|b| b + 1).collect(), doubt))
    }
}

/// The bands with their descriptions, of many the first.
fn listed(raster: &Raster) -> String {
    let all = raster.band_names();
    let more = (all.len() > LISTED).then(|| format!("{} more", all.len() - LISTED));
    let first = all.into_iter().take(LISTED).map(|(b, name)| name.map_or(b.to_string(), |n| format!("{b} ({n})")));
    first.chain(more).collect::<Vec<_>>().join(", ")
}

fn colours(raster: &Raster, all: &[u32]) -> Choice {
    let name = |b: u32| raster.names()[b as usize].as_deref().unwrap_or_default();
    let exactly = |word: &str| all.iter().copied().find(|b| name(*b).trim().eq_ignore_ascii_case(word));
    let coloured = |word: &str| {
        let says = |b: &u32| {
            let words = name(*b).split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| w.chars().all(|c| c.is_ascii_alphabetic()));
            let mut words = words.filter(|w| !w.is_empty() && !UNITS.iter().any(|u| w.eq_ignore_ascii_case(u)));
            words.next().is_some_and(|w| w.eq_ignore_ascii_case(word)) && words.next().is_none()
        };
        all.iter().copied().find(says)
    };
    let three = |found: [Option<u32>; 3]| match found {
        [Some(r), Some(g), Some(b)] if r != g && g != b && b != r && found.iter().flatten().all(|b| all.contains(b)) => Some(vec![r, g, b]),
        _ => None,
    };
    if let Some(said) = three(raster.colours()) {
        return said.into();
    }
    let [padded, plain] = NUMBERED.map(|words| three(words.map(exactly)));
    let sentinel = SENTINEL_2.into_iter().any(|b| exactly(b).is_some())
        || exactly("B8").is_some() && !LANDSAT.into_iter().any(|b| exactly(b).is_some());
    if let Some(found) = three(["red", "green", "blue"].map(coloured)).or(padded).or(plain.clone().filter(|_| sentinel)) {
        return found.into();
    }
    let doubt = (all.len() > 3 || plain.is_some()).then(|| {
        format!(
            "{}: the first three of its {} bands ({}) are read as red, green and blue, for it does not say which are; others: gdal_translate -b RED -b GREEN -b BLUE IN OUT.tif",
            raster.path().display(),
            all.len(),
            listed(raster)
        )
    });
    Choice { bands: all.iter().copied().take(3).collect(), doubt }
}

/// A doubt where the bands of what should be a SAR image show different things, and nothing says which is meant. A grey picture in three
/// equal bands gives none.
fn other_than_the_first(raster: &Raster, all: &[u32]) -> Option<String> {
    let count = all.len();
    if count < 2 {
        return None;
    }
    let size = [raster.width(), raster.height()];
    let (mut seen, mut differing) = (0.0f64, Vec::new());
    for i in 0..SQUARES * SQUARES {
        let place = |k: u32, extent: u32| i64::from(extent.saturating_sub(SQUARE)) * i64::from(2 * k + 1) / i64::from(2 * SQUARES);
        let (w, h) = (SQUARE.min(size[0]), SQUARE.min(size[1]));
        // A band that is not read may be damaged: that is no matter of this one.
        let Ok(window) = raster.read_window(place(i % SQUARES, size[0]), place(i / SQUARES, size[1]), w, h) else { continue };
        let valid = window.data.chunks_exact(count).zip(&window.valid).filter(|(v, valid)| **valid != 0 && v.iter().all(|v| v.is_finite()));
        for (values, _) in valid {
            seen += 1.0;
            // Fill is the same in all bands, whoever names it.
            if values.iter().any(|v| *v != values[0]) {
                differing.push(values.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>());
            }
        }
    }
    let n = differing.len() as f64;
    let mean = |of: &dyn Fn(&[f64]) -> f64| differing.iter().map(|v| of(v)).sum::<f64>() / n;
    let variance = |b: usize| (mean(&|v| v[b] * v[b]) - mean(&|v| v[b]).powi(2)).max(0.0);
    let differs = |b: usize| mean(&|v| (v[b] - v[0]).powi(2)).sqrt() > DIFFERS * variance(0).max(variance(b)).sqrt();
    if n <= DIFFERENT * seen || !(1..count).any(differs) {
        return None;
    }
    let what = if raster.colours().iter().all(Option::is_some) { "says that they are colours" } else { "does not say what they show" };
    Some(format!(
        "{}: band 1 of {} is read as SAR; they differ, and the file {what} ({}): --band NUMBER reads another",
        raster.path().display(),
        count,
        listed(raster)
    ))
}
