//! Fixes as CSV: one row a fix, or one row a candidate.
//!
//! A field that is not known is left empty. Positions have 7 decimals (about 1 cm), scores 6, distances 3.

use std::path::Path;

use super::{Error, Fix, Tie, wrap_lon, write_atomically};

/// Columns of [`fixes`].
const FIX_COLUMNS: [&str; 26] = [
    "query",
    "sar_px_x",
    "sar_px_y",
    "lon",
    "lat",
    "map_x",
    "map_y",
    "map_px_x",
    "map_px_y",
    "score",
    "margin",
    "cell",
    "cell_lon",
    "cell_lat",
    "truth_lon",
    "truth_lat",
    "distance_m",
    "right",
    "right_rank",
    "found",
    "probability",
    "ellipse_major_m",
    "ellipse_minor_m",
    "ellipse_azimuth_deg",
    "rotation_clockwise_deg",
    "scale",
];

/// Columns of [`candidates`].
const CANDIDATE_COLUMNS: [&str; 10] = ["query", "rank", "cell", "score", "lon", "lat", "map_x", "map_y", "distance_m", "right"];

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

/// The fixes as CSV text, one row a fix, with its first candidate's cell or place. One that was not found has no position, but its best
/// candidate's.
///
/// # Errors
/// [`Error::Encode`] when the encoder fails.
pub fn fixes(fixes: &[Fix]) -> Result<String, Error> {
    let rows = fixes.iter().map(|f| {
        let first = f.candidates.first();
        let claimed = |value: String| if f.claimed() { value } else { String::new() };
        vec![
            f.query_id.clone(),
            pixel(f.sar_px[0]),
            pixel(f.sar_px[1]),
            claimed(degrees(wrap_lon(f.lonlat[0]))),
            claimed(degrees(f.lonlat[1])),
            claimed(degrees(f.center_map[0])),
            claimed(degrees(f.center_map[1])),
            claimed(pixel(f.map_px[0])),
            claimed(pixel(f.map_px[1])),
            score(f.score),
            score(f.margin),
            text(first.and_then(|c| c.cell_id)),
            maybe(first.map(|c| wrap_lon(c.lonlat[0])), degrees),
            maybe(first.map(|c| c.lonlat[1]), degrees),
            maybe(f.truth_lonlat.map(|t| wrap_lon(t[0])), degrees),
            maybe(f.truth_lonlat.map(|t| t[1]), degrees),
            maybe(f.error_m(), pixel),
            text(f.right()),
            text(f.right_rank()),
            text(f.found),
            maybe(f.probability, |p| format!("{p:.4}")),
            maybe(f.ellipse_m.filter(|_| f.claimed()).map(|e| e.major_m), pixel),
            maybe(f.ellipse_m.filter(|_| f.claimed()).map(|e| e.minor_m), pixel),
            maybe(f.ellipse_m.filter(|_| f.claimed()).map(|e| e.azimuth_deg), |v| format!("{v:.1}")),
            maybe(f.turn.filter(|_| f.claimed()).map(|t| t[0]), pixel),
            maybe(f.turn.filter(|_| f.claimed()).map(|t| t[1]), |v| format!("{v:.5}")),
        ]
    });
    table(&FIX_COLUMNS, rows)
}

/// The candidates of all fixes as CSV text, one row a candidate.
///
/// # Errors
/// [`Error::Encode`] when the encoder fails.
pub fn candidates(fixes: &[Fix]) -> Result<String, Error> {
    let rows = fixes.iter().flat_map(|f| {
        f.candidates.iter().map(|c| {
            vec![
                f.query_id.clone(),
                c.rank.to_string(),
                text(c.cell_id),
                score(c.score),
                degrees(wrap_lon(c.lonlat[0])),
                degrees(c.lonlat[1]),
                degrees(c.center_map[0]),
                degrees(c.center_map[1]),
                maybe(c.distance_m, pixel),
                text(c.right),
            ]
        })
    });
    table(&CANDIDATE_COLUMNS, rows)
}

/// Writes [`fixes`] to a file.
///
/// # Errors
/// Those of [`fixes`], and [`Error::Write`].
pub fn write_fixes(path: &Path, rows: &[Fix]) -> Result<(), Error> {
    write_atomically(path, fixes(rows)?.as_bytes())
}

/// Writes [`candidates`] to a file.
///
/// # Errors
/// Those of [`candidates`], and [`Error::Write`].
pub fn write_candidates(path: &Path, rows: &[Fix]) -> Result<(), Error> {
    write_atomically(path, candidates(rows)?.as_bytes())
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
        let text = fixes(&[fix("a,\"b\"\nc", -118.25, 34.05, 2), fix("d", 1.0, 2.0, 0)]).unwrap();
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), FIX_COLUMNS);
        let rows: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        let at = |row: usize, name: &str| rows[row][FIX_COLUMNS.iter().position(|c| *c == name).unwrap()].to_string();
        assert_eq!(at(0, "query"), "a,\"b\"\nc");
        assert_eq!((at(0, "lon"), at(0, "lat")), ("-118.2500000".to_string(), "34.0500000".to_string()));
        assert_eq!((at(0, "cell"), at(0, "right"), at(0, "right_rank")), ("10".into(), "false".into(), "2".into()));
        assert_eq!(at(0, "distance_m"), "12.500");
        assert_eq!((at(1, "distance_m"), at(1, "right")), (String::new(), String::new()));
        assert_eq!((at(1, "found"), at(1, "probability")), (String::new(), String::new()));
    }

    #[test]
    fn one_that_was_not_found_claims_no_position() {
        let text = fixes(&[dense("a", 1.0, 2.0, 1, true), dense("b", 1.0, 2.0, 1, false)]).unwrap();
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let at = |row: usize, name: &str| rows[row][FIX_COLUMNS.iter().position(|c| *c == name).unwrap()].to_string();
        assert_eq!((at(0, "found"), at(0, "probability"), at(0, "cell")), ("true".into(), "0.8750".into(), String::new()));
        assert_eq!(
            (at(0, "ellipse_major_m"), at(0, "rotation_clockwise_deg"), at(0, "scale")),
            ("40.000".into(), "1.500".into(), "1.00000".into())
        );
        assert_eq!((at(1, "found"), at(1, "probability"), at(1, "cell_lon")), ("false".into(), "0.1250".into(), "1.0000000".into()));
        for column in ["lon", "lat", "map_x", "map_px_y", "distance_m", "right", "ellipse_major_m", "scale"] {
            assert!(at(1, column).is_empty(), "{column}");
        }
    }

    #[test]
    fn long_form_has_one_row_a_candidate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("candidates.csv");
        write_candidates(&path, &[fix("a", 1.0, 2.0, 1), fix("b", 3.0, 4.0, 0)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1 + 6);
        assert_eq!(text.lines().nth(2), Some("a,2,20,0.700000,1.0200000,2.0000000,500000.0200000,4000000.0000000,25.000,false"));
    }
}
