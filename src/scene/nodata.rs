//! Which pixels hold no data: the value a file names, and fill that it does not.

use serde::{Deserialize, Serialize};

use super::error::Result;
use super::raster::{Raster, SampleType};
use super::window::Window;

/// What is asked of values that mark pixels without data.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum NoData {
    /// The file's own value, and fill along the border that no tag names.
    #[default]
    Auto,
    /// Every finite value is data.
    None,
    /// This value alone.
    Value(f64),
}

impl std::str::FromStr for NoData {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            _ => parse(text).map(Self::Value).ok_or_else(|| "a number, `none` or `auto` is needed".into()),
        }
    }
}

/// A value that fills parts of an image without a tag that says so.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fill {
    /// The value.
    pub value: f64,
    /// Share of the places looked at along the border that it fills, 0..=1.
    pub border: f64,
    /// Share of those in the middle.
    pub inside: f64,
}

/// A no-data text as GDAL reads it: the first number of the text, in C's spelling or that of old Windows run times (`1.#QNAN`, `-1.#IND`,
/// `1.#INF`). None where there is none.
pub(super) fn parse(text: &str) -> Option<f64> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let word = text.split([' ', '\t', '\n', '\r', ';', '\0']).next()?;
    let (sign, rest) = match word.as_bytes().first()? {
        b'-' => (-1.0, &word[1..]),
        b'+' => (1.0, &word[1..]),
        _ => (1.0, word),
    };
    let lower = rest.to_ascii_lowercase();
    if lower.starts_with("nan") || lower.starts_with("1.#qnan") || lower.starts_with("1.#snan") || lower.starts_with("1.#ind") {
        return Some(f64::NAN);
    }
    if lower.starts_with("inf") || lower.starts_with("1.#inf") {
        return Some(sign * f64::INFINITY);
    }
    // The longest beginning that is a number: what is behind it is no part of it.
    let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))).unwrap_or(rest.len());
    (1..=end).rev().find_map(|n| rest[..n].parse::<f64>().ok()).map(|v| sign * v)
}

/// Side of the square that must hold one value alone for it to be fill, px.
pub(super) const SOLID: usize = 8;
/// Places looked at along each edge.
const ALONG: u32 = 32;
/// Places looked at along each axis inside.
const INSIDE: u32 = 12;
/// Values that programs write where there is nothing.
const SENTINELS: [f64; 13] =
    [0.0, -9999.0, -32768.0, -32767.0, -99999.0, -999.0, -999999.0, -9999999.0, -10000.0, 1e20, -1e20, 9999.0, 65535.0];
/// Share of the border that a value which no program is known for must fill.
const LARGE: f64 = 0.25;
/// Share of the border and of the inside from which on a value is all that an image shows.
const ALL: f64 = 0.98;
/// Share of the inside from which on a value that no program is known for is what an image mostly shows.
const MOSTLY: f64 = 0.75;
/// Fill values at most.
const MOST: usize = 4;

/// Values that fill 8 x 8 px squares along the border of a raster, or many inside, though nothing names them.
///
/// Values that programs use, and the ends of a type of whole numbers, count where they fill two places of the border; others where they fill
/// a quarter of it, the file names none, and little else is as flat. Of 8- and 16-bit whole numbers 0 is always one: as only squares of it count, dark pixels among others stay data.
///
/// # Errors
/// Errors of reading.
pub(super) fn recognise(raster: &Raster) -> Result<Vec<Fill>> {
    let size = [raster.width(), raster.height()];
    let side = SOLID as u32;
    if size.iter().any(|s| *s < 2 * side) {
        return Ok(untagged(raster.sample_type()).into_iter().map(|value| Fill { value, border: 0.0, inside: 0.0 }).collect());
    }
    let last = size.map(|s| s - side);
    let along = |n: u32, most: u32| (0..n).map(move |i| (u64::from(i) * u64::from(most) / u64::from(n - 1)) as u32);
    let mut border: Vec<[u32; 2]> = along(ALONG, last[0]).flat_map(|x| [[x, 0], [x, last[1]]]).collect();
    border.extend(along(ALONG, last[1]).flat_map(|y| [[0, y], [last[0], y]]));
    let mut inside: Vec<[u32; 2]> = along(INSIDE, last[1]).flat_map(|y| along(INSIDE, last[0]).map(move |x| [x, y])).collect();
    // In the file's order, so that each tile is decoded once.
    for places in [&mut border, &mut inside] {
        places.sort_by_key(|p| (p[1], p[0]));
        places.dedup();
    }
    let constant = |places: &[[u32; 2]]| -> Result<(Vec<f32>, usize)> {
        let (mut found, mut stored) = (Vec::new(), 0);
        for [x, y] in places {
            if raster.stored(i64::from(*x), i64::from(*y), side, side) {
                let window = raster.read_window(i64::from(*x), i64::from(*y), side, side)?;
                stored += usize::from(window.valid.contains(&1));
                found.extend(constant_value(&window));
            }
        }
        Ok((found, stored))
    };
    let ((at_border, border), (within, inside)) = (constant(&border)?, constant(&inside)?);
    let mut values: Vec<f32> = at_border.iter().chain(&within).copied().collect();
    values.sort_by(f32::total_cmp);
    values.dedup();
    let constant_places = at_border.len() + within.len();
    let share = |all: &[f32], of: usize, v: f32| all.iter().filter(|w| **w == v).count() as f64 / of.max(1) as f64;
    let kind = raster.sample_type();
    let mut fills: Vec<Fill> = values
        .into_iter()
        .map(|v| Fill { value: f64::from(v), border: share(&at_border, border, v), inside: share(&within, inside, v) })
        .filter(|f| {
            let known = SENTINELS.contains(&f.value) || f.value.abs() >= 1e30 || extremes(kind).contains(&(f.value as f32));
            let places = f.border * border as f64;
            // What fills all of an image is all there is; but 0 everywhere is nothing.
            let not_all = f.value == 0.0 || f.border.min(f.inside) < ALL;
            let zero = f.value == 0.0 && untagged(kind).is_some() && raster.nodata().is_none();
            // Where many values fill squares, the picture itself is flat.
            let alone = places + f.inside * inside as f64 >= 0.5 * constant_places as f64;
            let white = kind == SampleType::U8 && f.value == 255.0;
            let odd = (white || raster.nodata().is_none()) && f.border >= LARGE && alone && f.inside < MOSTLY;
            not_all && (zero || odd || known && (places >= 1.5 || f.inside >= LARGE))
        })
        .collect();
    fills.sort_by(|a, b| (b.border + b.inside).total_cmp(&(a.border + a.inside)));
    fills.truncate(MOST);
    if let Some(value) = untagged(kind).filter(|v| raster.nodata().is_none() && fills.iter().all(|f| f.value != *v)) {
        fills.push(Fill { value, border: 0.0, inside: 0.0 });
    }
    Ok(fills)
}

/// The least and the greatest of a type of whole numbers, as they read.
fn extremes(kind: SampleType) -> Vec<f32> {
    match kind {
        // Its greatest is where it saturates.
        SampleType::I8 => vec![-128.0],
        SampleType::U16 => vec![65_535.0],
        SampleType::I16 => vec![-32_768.0, 32_767.0],
        SampleType::U32 => vec![u32::MAX as f32],
        SampleType::I32 => vec![i32::MIN as f32, i32::MAX as f32],
        // Black and white are common in pictures.
        SampleType::U8 | SampleType::F16 | SampleType::F32 | SampleType::F64 => Vec::new(),
    }
}

/// What fills 8- and 16-bit images where no tag says so.
fn untagged(kind: SampleType) -> Option<f64> {
    matches!(kind, SampleType::U8 | SampleType::I8 | SampleType::U16 | SampleType::I16).then_some(0.0)
}

/// The value of every sample of every pixel, where all are valid and the same.
fn constant_value(window: &Window) -> Option<f32> {
    let first = *window.data.first()?;
    (window.valid.iter().all(|v| *v != 0) && window.data.iter().all(|v| *v == first)).then_some(first)
}

/// Leaves marked only what lies in a square of marks of [`SOLID`] px a side: `[height, width]`, 1 or 0.
pub(super) fn keep_solid(marks: &mut [u8], width: usize) {
    let height = marks.len() / width.max(1);
    if width < SOLID || height < SOLID {
        marks.fill(0);
        return;
    }
    // A square's upper left corner: so many marks in a row to the right, in so many rows below; then each is spread back over its square.
    let mut line = vec![0u8; width.max(height)];
    let all = |line: &[u8], out: &mut dyn FnMut(usize, u8)| {
        let mut run = 0;
        for i in (0..line.len()).rev() {
            run = if line[i] != 0 { run + 1 } else { 0 };
            out(i, u8::from(run >= SOLID));
        }
    };
    let any = |line: &[u8], out: &mut dyn FnMut(usize, u8)| {
        let mut since = SOLID;
        for (i, v) in line.iter().enumerate() {
            since = if *v != 0 { 0 } else { since + 1 };
            out(i, u8::from(since < SOLID));
        }
    };
    type Pass<'a> = &'a dyn Fn(&[u8], &mut dyn FnMut(usize, u8));
    for pass in [&all as Pass<'_>, &any] {
        for row in marks.chunks_exact_mut(width) {
            line[..width].copy_from_slice(row);
            pass(&line[..width], &mut |i, v| row[i] = v);
        }
        for x in 0..width {
            for y in 0..height {
                line[y] = marks[y * width + x];
            }
            pass(&line[..height], &mut |y, v| marks[y * width + x] = v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_as_gdal_reads_them() {
        for (text, want) in [
            ("0", 0.0),
            ("-9999 ", -9999.0),
            ("-3.39999999999999996e+38", -3.4e38),
            ("255 0", 255.0),
            ("+1.5e3x", 1500.0),
            ("1e", 1.0),
            ("-inf", f64::NEG_INFINITY),
            ("1.#INF", f64::INFINITY),
            ("-1.#INF", f64::NEG_INFINITY),
            ("\t12\0\0", 12.0),
        ] {
            assert_eq!(parse(text), Some(want), "{text:?}");
        }
        for text in ["nan", "NaN", "-nan", "1.#QNAN", "-1.#IND", "-1.#QNAN00"] {
            assert!(parse(text).is_some_and(f64::is_nan), "{text:?}");
        }
        for text in ["", "  ", "none", "-", "e5", "#"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!("none".parse(), Ok(NoData::None));
        assert_eq!("-32768".parse(), Ok(NoData::Value(-32768.0)));
        assert!("nothing".parse::<NoData>().is_err());
    }

    #[test]
    fn only_squares_stay_marked() {
        let (w, h) = (40, 30);
        let mut marks = vec![0u8; w * h];
        // A slanted border, a dotted field, a thin line, a block.
        for y in 0..h {
            for x in 0..w {
                let block = (25..33).contains(&x) && (10..19).contains(&y);
                marks[y * w + x] = u8::from(x < 12 + y / 4 || block || x == 37 || (x * 7 + y * 3) % 5 == 0);
            }
        }
        let mut want = vec![0u8; w * h];
        for (y, x) in (0..=h - SOLID).flat_map(|y| (0..=w - SOLID).map(move |x| (y, x))) {
            let square = || (0..SOLID * SOLID).map(|i| (y + i / SOLID) * w + x + i % SOLID);
            if square().all(|p| marks[p] != 0) {
                square().for_each(|p| want[p] = 1);
            }
        }
        keep_solid(&mut marks, w);
        assert_eq!(marks, want);
        assert!(want[12 * w + 28] == 1 && want[37] == 0 && want[5] == 1);
        let mut small = vec![1u8; 7 * 30];
        keep_solid(&mut small, 7);
        assert!(small.iter().all(|m| *m == 0));
    }
}
