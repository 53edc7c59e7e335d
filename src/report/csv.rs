//! Images, their patches and tie points as CSV, a row each.
//!
//! A field that is not known is left empty. Positions have 7 decimals (about 1 cm), scores 6, distances 3.

use super::{Error, Outcome, Tie};
use crate::locate::{Fix, Located, Place, Variant};
use crate::scene::outline::wrap_lon;

/// Columns of [`images`]: an image's row, and below it one for each of its patches.
const FIX_COLUMNS: [&str; 35] = [
    "file",
    "kind",
    "query",
    "verdict",
    "sar_px_x",
    "sar_px_y",
    "lon",
    "lat",
    "map_x",
    "map_y",
    "map_px_x",
    "map_px_y",
    "found",
    "probability",
    "ellipse_major_m",
    "ellipse_minor_m",
    "ellipse_azimuth_deg",
    "rotation_clockwise_deg",
    "scale",
    "agreeing",
    "agrees",
    "score",
    "margin",
    "cell",
    "candidate_lon",
    "candidate_lat",
    "claimed_lon",
    "claimed_lat",
    "displaced_m",
    "truth_lon",
    "truth_lat",
    "distance_m",
    "right",
    "right_rank",
    "problem",
];

/// Columns of [`ties`].
const TIE_COLUMNS: [&str; 16] = [
    "point",
    "sar_px_x",
    "sar_px_y",
    "map_px_x",
    "map_px_y",
    "map_x",
    "map_y",
    "lon",
    "lat",
    "residual_px_x",
    "residual_px_y",
    "residual_m",
    "held_out_m",
    "weight",
    "used",
    "height_m",
];

/// Tie points as CSV text, one row a point.
///
/// # Errors
/// [`Error::Encode`] when the encoder fails.
pub fn ties(ties: &[Tie]) -> Result<String, Error> {
    let rows = ties.iter().map(|t| {
        let mut row = vec![t.id.clone()];
        row.extend(t.sar_px.iter().chain(&t.map_px).map(|v| pixel(*v)));
        row.extend([t.center_map[0], t.center_map[1], wrap_lon(t.lonlat[0]), t.lonlat[1]].map(degrees));
        row.extend([t.residual_px[0], t.residual_px[1], t.residual_m, t.held_out_m].map(pixel));
        row.extend([format!("{:.6}", t.weight), t.used.to_string(), maybe(t.height_m, |h| format!("{h:.2}"))]);
        row
    });
    table(&TIE_COLUMNS, rows)
}

/// One row of [`FIX_COLUMNS`], by name.
struct Row([String; FIX_COLUMNS.len()]);

impl Row {
    fn new(file: &str, kind: &str) -> Self {
        let mut row = Self(std::array::from_fn(|_| String::new()));
        row.put("file", file.to_string());
        row.put("kind", kind.to_string());
        row
    }

    fn put(&mut self, column: &str, value: String) {
        if let Some(i) = FIX_COLUMNS.iter().position(|c| *c == column) {
            self.0[i] = value;
        }
    }

    fn lonlat(&mut self, what: &str, [lon, lat]: [f64; 2]) {
        self.put(&format!("{what}lon"), degrees(wrap_lon(lon)));
        self.put(&format!("{what}lat"), degrees(lat));
    }

    fn place(&mut self, place: &Place) {
        self.lonlat("", place.lonlat);
        self.put("map_x", degrees(place.map_xy[0]));
        self.put("map_y", degrees(place.map_xy[1]));
        self.put("map_px_x", pixel(place.map_px[0]));
        self.put("map_px_y", pixel(place.map_px[1]));
        if let Some(e) = place.ellipse {
            self.put("ellipse_major_m", pixel(e.major_m));
            self.put("ellipse_minor_m", pixel(e.minor_m));
            self.put("ellipse_azimuth_deg", format!("{:.1}", e.azimuth_deg));
        }
    }

    fn variant(&mut self, v: Variant) {
        self.put("rotation_clockwise_deg", pixel(v.rotation_deg));
        self.put("scale", format!("{:.5}", v.scale));
    }

    fn image(image: &Located) -> Self {
        let mut row = Self::new(&image.file, "image");
        row.put("verdict", image.verdict.name().into());
        row.put("found", image.place.is_some().to_string());
        row.put("probability", maybe(image.probability, |p| format!("{p:.4}")));
        row.put("agreeing", text(image.agreeing));
        if let Some(place) = &image.place {
            let middle = image.size.map(|v| f64::from(v) / 2.0);
            row.put("sar_px_x", pixel(middle[0]));
            row.put("sar_px_y", pixel(middle[1]));
            row.place(place);
            row.variant(image.variant);
        }
        if let Some(c) = &image.claimed {
            row.lonlat("claimed_", c.lonlat);
        }
        row.put("displaced_m", maybe(image.displaced.map(|d| d.metres), pixel));
        row
    }

    /// A patch. One that was not found has no position, but its best candidate's.
    fn patch(file: &str, f: &Fix) -> Self {
        let mut row = Self::new(file, "patch");
        row.put("query", f.id.clone());
        row.put("sar_px_x", pixel(f.sar_px[0]));
        row.put("sar_px_y", pixel(f.sar_px[1]));
        if f.probability.is_some() {
            row.put("found", f.found().to_string());
        }
        row.put("probability", maybe(f.probability, |p| format!("{p:.4}")));
        if let Some(place) = &f.place {
            row.place(place);
            f.variant.into_iter().for_each(|v| row.variant(v));
        }
        row.put("agrees", text(f.agrees));
        row.put("score", score(f.score));
        row.put("margin", score(f.margin));
        if let Some(first) = f.candidates.first() {
            row.put("cell", text(first.cell));
            row.lonlat("candidate_", first.place.lonlat);
        }
        if let Some(c) = &f.claimed {
            row.lonlat("claimed_", c.lonlat);
        }
        row.put("displaced_m", maybe(f.displaced_m(), pixel));
        if let Some(t) = &f.truth {
            row.lonlat("truth_", t.lonlat);
        }
        row.put("distance_m", maybe(f.error_m(), pixel));
        row.put("right", text(f.right()));
        row.put("right_rank", text(f.right_rank()));
        row
    }
}

/// Images and their patches as CSV text: a row for each image, and below it one for each of its patches; a file that failed has its row too,
/// with what was wrong.
///
/// # Errors
/// [`Error::Encode`] when the encoder fails.
pub fn images(images: &[Outcome<'_>]) -> Result<String, Error> {
    let mut rows = Vec::new();
    for outcome in images {
        match outcome {
            Ok(image) => {
                rows.push(Row::image(image));
                rows.extend(image.fixes.iter().map(|f| Row::patch(&image.file, f)));
            }
            Err(failed) => {
                let mut row = Row::new(failed.file, "image");
                row.put("verdict", "failed".into());
                row.put("problem", failed.problem.clone());
                rows.push(row);
            }
        }
    }
    table(&FIX_COLUMNS, rows.into_iter().map(|r| r.0.to_vec()))
}

/// The fixes of patches alone as CSV text, in the same columns.
///
/// # Errors
/// [`Error::Encode`] when the encoder fails.
#[cfg(test)]
fn fixes(file: &str, fixes: &[Fix]) -> Result<String, Error> {
    table(&FIX_COLUMNS, fixes.iter().map(|f| Row::patch(file, f).0.to_vec()))
}

fn degrees(value: f64) -> String {
    format!("{value:.7}")
}

fn pixel(value: f64) -> String {
    format!("{value:.3}")
}

fn score(value: f32) -> String {
    format!("{value:.6}")
}

fn text(value: Option<impl ToString>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

fn maybe(value: Option<f64>, show: fn(f64) -> String) -> String {
    value.map(show).unwrap_or_default()
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<String, Error> {
    let fail = |problem: String| Error::Encode { format: "CSV", problem };
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(head).map_err(|e| fail(e.to_string()))?;
    for row in rows {
        writer.write_record(&row).map_err(|e| fail(e.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|e| fail(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| fail(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dense, fix};
    use super::*;

    #[test]
    fn tie_points_read_back() {
        let tie =
            Tie { id: "t1".into(), sar_px: [1.5, 2.0], lonlat: [181.0, 45.0], residual_px: [0.25, -1.0], used: true, ..Tie::default() };
        let text = ties(&[tie]).unwrap();
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), TIE_COLUMNS);
        let row = reader.records().next().unwrap().unwrap();
        let at = |name: &str| row[TIE_COLUMNS.iter().position(|c| *c == name).unwrap()].to_string();
        assert_eq!(
            [at("point"), at("sar_px_x"), at("lon"), at("residual_px_y"), at("used")],
            ["t1", "1.500", "-179.0000000", "-1.000", "true"]
        );
    }

    #[test]
    fn one_row_a_fix_reads_back() {
        let text = fixes("a.tif", &[fix("a,\"b\"\nc", -118.25, 34.05, 2), fix("d", 1.0, 2.0, 0)]).unwrap();
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), FIX_COLUMNS);
        let rows: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        let at = |row: usize, name: &str| rows[row][FIX_COLUMNS.iter().position(|c| *c == name).unwrap()].to_string();
        assert_eq!(at(0, "query"), "a,\"b\"\nc");
        assert_eq!((at(0, "lon"), at(0, "lat")), ("-118.2500000".to_string(), "34.0500000".to_string()));
        assert_eq!((at(0, "cell"), at(0, "right"), at(0, "right_rank")), ("10".into(), "false".into(), "2".into()));
        assert_eq!(at(0, "distance_m"), "9.233");
        assert_eq!((at(1, "distance_m"), at(1, "right")), (String::new(), String::new()));
        assert_eq!((at(1, "found"), at(1, "probability")), (String::new(), String::new()));
    }

    #[test]
    fn one_that_was_not_found_claims_no_position() {
        let text = fixes("a.tif", &[dense("a", 1.0, 2.0, 1, true), dense("b", 1.0, 2.0, 1, false)]).unwrap();
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let at = |row: usize, name: &str| rows[row][FIX_COLUMNS.iter().position(|c| *c == name).unwrap()].to_string();
        assert_eq!((at(0, "found"), at(0, "probability"), at(0, "cell")), ("true".into(), "0.8750".into(), String::new()));
        assert_eq!(
            (at(0, "ellipse_major_m"), at(0, "rotation_clockwise_deg"), at(0, "scale")),
            ("40.000".into(), "1.500".into(), "1.00000".into())
        );
        assert_eq!((at(1, "found"), at(1, "probability"), at(1, "candidate_lon")), ("false".into(), "0.1250".into(), "1.0000000".into()));
        for column in ["lon", "lat", "map_x", "map_px_y", "distance_m", "right", "ellipse_major_m", "scale"] {
            assert!(at(1, column).is_empty(), "{column}");
        }
    }
}
