//! Fixes as GeoJSON (RFC 7946).
//!
//! Longitude and latitude in WGS84 with 7 decimals (about 1 cm), no `crs` member, footprints as closed rings
//! anticlockwise, a `bbox` for each feature and for the collection. A patch that was not found keeps its feature, with `found` false, no
//! geometry (`null`) and no position; its best peaks are listed as candidates. A footprint across the antimeridian is cut in two
//! (section 3.1.9) and its box has its west edge east of its east edge (section 5.2).

use std::path::Path;

use ::geojson::feature::Id;
use ::geojson::{Bbox, Feature, FeatureCollection, Geometry, JsonObject, JsonValue};
use serde_json::json;

use super::{Error, Outcome, Tie, write_atomically};
use crate::locate::{Candidate, Fix, Located, Place, Variant};
use crate::scene::outline::{Outline, bbox, no_place, position, round};

/// Images and their patches as a feature collection: one feature an image (`kind` is `image`), its turned footprint as geometry, and behind it
/// one for each of its patches (`kind` is `patch`) with figures and candidates as properties. The geometry is a position where a footprint
/// has fewer than three corners or holds a pole. Files that failed are features without geometry, with `problem`.
///
/// # Errors
/// [`Error::Position`] when a coordinate is not finite or a latitude lies beyond a pole.
pub fn collection(images: &[Outcome<'_>]) -> Result<FeatureCollection, Error> {
    let mut all = Features::default();
    for outcome in images {
        match outcome {
            Ok(image) => {
                let place = image.place.as_ref();
                all.add(&image.file, place, &image.footprint, whole(image))?;
                for fix in &image.fixes {
                    all.add_fix(&image.file, fix)?;
                }
            }
            Err(failed) => all.add(
                failed.file,
                None,
                &[],
                object(json!({
                    "kind": "image", "file": failed.file, "verdict": "failed", "problem": failed.problem,
                })),
            )?,
        }
    }
    Ok(all.collection())
}

/// The fixes of patches alone as a feature collection.
///
/// # Errors
/// As [`collection`].
#[cfg(test)]
fn of_fixes(file: &str, fixes: &[Fix]) -> Result<FeatureCollection, Error> {
    let mut all = Features::default();
    fixes.iter().try_for_each(|f| all.add_fix(file, f))?;
    Ok(all.collection())
}

/// A feature collection as text.
///
/// # Errors
/// [`Error::Encode`].
pub fn text(collection: &FeatureCollection) -> Result<Vec<u8>, Error> {
    let mut text = serde_json::to_vec(collection).map_err(|e| Error::Encode { format: "GeoJSON", problem: e.to_string() })?;
    text.push(b'\n');
    Ok(text)
}

/// Writes images and their patches to a GeoJSON file.
///
/// # Errors
/// Those of [`collection`], and [`Error::Write`].
pub fn write(path: &Path, images: &[Outcome<'_>]) -> Result<(), Error> {
    write_atomically(path, &text(&collection(images)?)?)
}

/// Writes tie points to a GeoJSON file.
///
/// # Errors
/// Those of [`tie_collection`], and [`Error::Write`].
pub fn write_ties(path: &Path, ties: &[Tie]) -> Result<(), Error> {
    write_atomically(path, &text(&tie_collection(ties)?)?)
}

/// Tie points as a feature collection of points.
///
/// # Errors
/// [`Error::Position`] when a coordinate is not finite or a latitude lies beyond a pole.
pub fn tie_collection(ties: &[Tie]) -> Result<FeatureCollection, Error> {
    let mut features = Vec::with_capacity(ties.len());
    for t in ties {
        check_place(&t.id, t.lonlat)?;
        let properties = json!({
            "sar_px": t.sar_px.map(|v| round(v, 3)), "map_px": t.map_px.map(|v| round(v, 3)),
            "map_x": round(t.center_map[0], 7), "map_y": round(t.center_map[1], 7),
            "residual_px": t.residual_px.map(|v| round(v, 3)), "residual_m": round(t.residual_m, 3),
            "held_out_m": round(t.held_out_m, 3), "weight": round(t.weight, 6), "used": t.used, "height_m": t.height_m.map(|h| round(h, 2)),
        });
        features.push(Feature {
            bbox: None,
            geometry: Some(Geometry::new_point(position(t.lonlat))),
            id: Some(Id::String(t.id.clone())),
            properties: properties.as_object().cloned(),
            foreign_members: None,
        });
    }
    Ok(FeatureCollection { bbox: None, features, foreign_members: None })
}

fn check_place(name: &str, lonlat: [f64; 2]) -> Result<(), Error> {
    no_place(lonlat).map_or(Ok(()), |problem| Err(Error::Position { query: name.to_string(), problem }))
}

/// Features as they come, and what they span.
#[derive(Default)]
struct Features {
    features: Vec<Feature>,
    spans: Vec<[f64; 2]>,
    lats: Vec<f64>,
}

impl Features {
    fn add(&mut self, id: &str, place: Option<&Place>, corners: &[[f64; 2]], properties: JsonObject) -> Result<(), Error> {
        for p in corners.iter().chain(place.map(|p| &p.lonlat)) {
            check_place(id, *p)?;
        }
        let mut feature = Feature {
            bbox: None,
            geometry: None,
            id: Some(Id::String(id.to_string())),
            properties: Some(properties),
            foreign_members: None,
        };
        if let Some(place) = place {
            let outline = Outline::new(corners, place.lonlat);
            feature.bbox = outline.bbox();
            feature.geometry = Some(outline.geometry);
            self.spans.extend(outline.spans);
            self.lats.extend(outline.lats.concat());
        }
        self.features.push(feature);
        Ok(())
    }

    fn add_fix(&mut self, file: &str, fix: &Fix) -> Result<(), Error> {
        let places = fix.truth.iter().chain(&fix.claimed).chain(fix.candidates.iter().map(|c| &c.place));
        places.into_iter().try_for_each(|p| check_place(&fix.id, p.lonlat))?;
        let id = if file.is_empty() { fix.id.clone() } else { format!("{file}#{}", fix.id) };
        self.add(&id, fix.place.as_ref(), &fix.footprint, patch(file, fix))
    }

    fn collection(self) -> FeatureCollection {
        FeatureCollection { bbox: bbox(&self.spans, &self.lats), features: self.features, foreign_members: None }
    }
}

/// An outline as a geometry, with its box: closed rings anticlockwise, two where it crosses the antimeridian; a point where it has no area or
/// goes round a pole.
pub(super) fn outline(name: &str, corners: &[[f64; 2]]) -> Result<(Geometry, Option<Bbox>), Error> {
    corners.iter().try_for_each(|p| check_place(name, *p))?;
    let outline = Outline::new(corners, corners.first().copied().unwrap_or_default());
    let bbox = outline.bbox();
    Ok((outline.geometry, bbox))
}

fn object(value: JsonValue) -> JsonObject {
    value.as_object().cloned().unwrap_or_default()
}

/// What a place says, beside its geometry.
fn put_place(object: &mut JsonObject, place: &Place, variant: Option<Variant>) {
    let [lon, lat] = position(place.lonlat);
    let mut put = |name: &str, value: JsonValue| object.insert(name.to_string(), value);
    put("lon", json!(lon));
    put("lat", json!(lat));
    put("map_x", json!(round(place.map_xy[0], 7)));
    put("map_y", json!(round(place.map_xy[1], 7)));
    put("map_px", json!(place.map_px.map(|v| round(v, 3))));
    if let Some(e) = place.ellipse {
        put("ellipse", json!({ "major_m": round(e.major_m, 2), "minor_m": round(e.minor_m, 2), "azimuth_deg": round(e.azimuth_deg, 1) }));
    }
    if let Some(v) = variant {
        put("rotation_clockwise_deg", json!(round(v.rotation_deg, 3)));
        put("scale", json!(round(v.scale, 5)));
    }
}

fn put_claim(object: &mut JsonObject, claimed: Option<&Place>, displaced_m: Option<f64>) {
    if let Some(c) = claimed {
        let [lon, lat] = position(c.lonlat);
        object.insert("claimed_lon".into(), json!(lon));
        object.insert("claimed_lat".into(), json!(lat));
    }
    if let Some(m) = displaced_m {
        object.insert("displaced_m".into(), json!(round(m, 3)));
    }
}

/// Properties of an image: those that `locate --json` prints, too.
pub fn whole(image: &Located) -> JsonObject {
    let mut o = object(json!({
        "kind": "image", "file": image.file, "verdict": image.verdict.name(), "patches": image.fixes.len(), "patches_found": image.found(),
        "agreeing": image.agreeing, "probability": image.probability.map(|p| round(p, 4)), "mirrored": image.frame.flipped,
        "pixel_m": round(image.frame.pixel_m, 4),
    }));
    if let Some(place) = &image.place {
        put_place(&mut o, place, Some(image.variant));
    }
    if let Some(g) = image.geotransform {
        o.insert("geotransform".into(), json!(g));
    }
    put_claim(&mut o, image.claimed.as_ref(), image.displaced.map(|d| d.metres));
    if let Some(d) = image.displaced {
        o.insert("displaced".into(), json!(d.to_string()));
    }
    o
}

/// Properties of a patch.
pub fn patch(file: &str, fix: &Fix) -> JsonObject {
    let mut o = object(json!({ "kind": "patch", "file": file, "query": fix.id }));
    if let Some(p) = fix.probability {
        o.insert("found".into(), json!(fix.found()));
        o.insert("probability".into(), json!(round(p, 4)));
    }
    o.insert("score".into(), json!(round(f64::from(fix.score), 6)));
    o.insert("margin".into(), json!(round(f64::from(fix.margin), 6)));
    if let Some(agrees) = fix.agrees {
        o.insert("agrees".into(), json!(agrees));
    }
    if let Some(place) = &fix.place {
        put_place(&mut o, place, fix.variant);
    }
    o.insert("sar_px".into(), json!(fix.sar_px.map(|v| round(v, 3))));
    put_claim(&mut o, fix.claimed.as_ref(), fix.displaced_m());
    if let Some(truth) = &fix.truth {
        let [lon, lat] = position(truth.lonlat);
        o.insert("truth_lon".into(), json!(lon));
        o.insert("truth_lat".into(), json!(lat));
    }
    if let Some(distance) = fix.error_m() {
        o.insert("distance_m".into(), json!(round(distance, 3)));
    }
    if let Some(right) = fix.right() {
        o.insert("right".into(), json!(right));
    }
    o.insert("candidates".into(), fix.candidates.iter().map(candidate).collect());
    o
}

fn candidate(c: &Candidate) -> JsonValue {
    let [lon, lat] = position(c.place.lonlat);
    let mut value = json!({
        "rank": c.rank,
        "score": round(f64::from(c.score), 6),
        "lon": lon,
        "lat": lat,
    });
    if let Some(cell) = c.cell {
        value["cell"] = json!(cell);
    }
    if let Some(distance) = c.distance_m {
        value["distance_m"] = json!(round(distance, 3));
    }
    if let Some(right) = c.right {
        value["right"] = json!(right);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dense, fix};
    use super::*;
    use crate::scene::outline::{Ring, area, wrap_lon};
    use ::geojson::{GeoJson, GeometryValue};

    /// All rings of a feature; checks that they are closed, anticlockwise and on the globe.
    fn rings(feature: &Feature) -> Vec<Ring> {
        let as_ring = |line: &Vec<::geojson::Position>| line.iter().map(|p| [p[0], p[1]]).collect::<Ring>();
        let rings: Vec<Ring> = match &feature.geometry.as_ref().unwrap().value {
            GeometryValue::Polygon { coordinates } => coordinates.iter().map(as_ring).collect(),
            GeometryValue::MultiPolygon { coordinates } => coordinates.iter().flatten().map(as_ring).collect(),
            other => panic!("{other:?} is no polygon"),
        };
        for ring in &rings {
            assert!(ring.len() >= 4 && ring[0] == ring[ring.len() - 1], "not closed: {ring:?}");
            assert!(area(&ring[..ring.len() - 1]) > 0.0, "not anticlockwise: {ring:?}");
            assert!(ring.iter().all(|p| p[0].abs() <= 180.0 && p[1].abs() <= 90.0), "{ring:?}");
        }
        rings
    }

    fn parse(fixes: &[Fix]) -> FeatureCollection {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fixes.geojson");
        std::fs::write(&path, text(&of_fixes("", fixes).unwrap()).unwrap()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("\"crs\""));
        FeatureCollection::try_from(text.parse::<GeoJson>().unwrap()).unwrap()
    }

    #[test]
    fn reads_back_with_rings_anticlockwise_and_closed() {
        let clockwise = fix("a", -118.25, 34.05, 1);
        let mut anticlockwise = fix("b", -118.0, 34.0, 0);
        anticlockwise.footprint.reverse();
        let read = parse(&[clockwise, anticlockwise]);
        assert_eq!(read.features.len(), 2);
        for feature in &read.features {
            assert_eq!(rings(feature).len(), 1);
        }
        assert_eq!(read.bbox, Some(vec![-118.255, 33.995, -117.995, 34.055]));
        let first = &read.features[0];
        assert_eq!(first.id, Some(Id::String("a".to_string())));
        let expect = json!({"rank": 2, "cell": 20, "score": 0.7, "lon": -118.23, "lat": 34.05, "right": false});
        let mut second = first.property("candidates").unwrap()[1].clone();
        let off = second.as_object_mut().unwrap().remove("distance_m").unwrap();
        assert!((off.as_f64().unwrap() - 1836.0).abs() < 5.0, "{off}");
        assert_eq!(second, expect);
        assert_eq!(first.property("distance_m"), Some(&json!(9.233)));
        assert_eq!(first.property("score"), Some(&json!(0.8)));
        assert!(!read.features[1].contains_property("distance_m"));
    }

    #[test]
    fn one_that_was_not_found_has_candidates_and_no_place() {
        let read = parse(&[dense("a", 1.0, 2.0, 1, true), dense("b", 1.0, 2.0, 1, false)]);
        let [a, b] = &read.features[..] else { panic!("{read:?}") };
        assert_eq!((a.property("found"), a.property("probability")), (Some(&json!(true)), Some(&json!(0.875))));
        assert_eq!(a.property("ellipse").unwrap()["major_m"], json!(40.0));
        assert_eq!((a.property("rotation_clockwise_deg"), a.property("scale")), (Some(&json!(1.5)), Some(&json!(1.0))));
        assert!(a.geometry.is_some() && !a.property("candidates").unwrap()[0].as_object().unwrap().contains_key("cell"));
        assert!(b.geometry.is_none() && b.bbox.is_none());
        assert_eq!(b.property("found"), Some(&json!(false)));
        for name in ["lon", "map_x", "map_px", "ellipse", "distance_m", "right"] {
            assert!(!b.contains_property(name), "{name}");
        }
        assert_eq!(b.property("candidates").unwrap().as_array().unwrap().len(), 3);
    }

    #[test]
    fn positions_have_seven_decimals() {
        let read = parse(&[fix("a", 12.345_678_912_345, 0.0, 0)]);
        assert_eq!(read.features[0].property("lon"), Some(&json!(12.345_678_9)));
        assert_eq!(read.features[0].property("lat"), Some(&json!(0.0)));
    }

    #[test]
    fn a_footprint_over_the_antimeridian_is_cut_in_two() {
        for lon in [179.999, -179.999] {
            let read = parse(&[fix("a", lon, 10.0, 0)]);
            let parts = rings(&read.features[0]);
            assert_eq!(parts.len(), 2, "{parts:?}");
            assert!(parts[0].iter().all(|p| p[0] > 0.0) && parts[1].iter().all(|p| p[0] < 0.0), "{parts:?}");
            let whole: f64 = parts.iter().map(|r| area(&r[..r.len() - 1])).sum();
            assert!((whole - 1e-4).abs() < 1e-9, "{whole}");
            let bbox = read.features[0].bbox.clone().unwrap();
            assert!(bbox[0] > 179.0 && bbox[2] < -179.0, "{bbox:?}");
            assert_eq!(read.bbox, Some(bbox));
        }
        // The same when the corners are given as wrapped longitudes.
        let mut f = fix("a", 179.999, 10.0, 0);
        for p in &mut f.footprint {
            p[0] = wrap_lon(p[0]);
        }
        assert_eq!(rings(&parse(&[f]).features[0]).len(), 2);
    }

    #[test]
    fn boxes_take_the_short_way_round() {
        let fiji = parse(&[fix("a", 178.0, -17.0, 0), fix("b", -179.0, -17.0, 0)]);
        let b = fiji.bbox.unwrap();
        assert!(b[0] > 177.0 && b[2] < -178.0, "{b:?}");
        let edge = parse(&[fix("a", 179.995, 0.0, 0)]);
        assert_eq!(rings(&edge.features[0]).len(), 1);
        assert!(parse(&[]).bbox.is_none());
    }

    #[test]
    fn no_footprint_or_one_round_a_pole_becomes_a_point() {
        let mut f = fix("a", 5.0, 10.0, 0);
        f.footprint.clear();
        let mut pole = fix("b", 0.0, 89.99, 0);
        pole.footprint = vec![[0.0, 89.9], [90.0, 89.9], [180.0, 89.9], [-90.0, 89.9]];
        for feature in parse(&[f, pole]).features {
            assert!(matches!(feature.geometry.unwrap().value, GeometryValue::Point { .. }));
        }
    }

    #[test]
    fn impossible_positions_are_refused() {
        let mut f = fix("q7", 5.0, 10.0, 0);
        f.place.as_mut().unwrap().lonlat[1] = f64::NAN;
        let text = of_fixes("", &[f]).unwrap_err().to_string();
        assert!(text.contains("q7") && text.contains("NaN"), "{text}");
        let mut f = fix("q8", 5.0, 10.0, 0);
        f.footprint[2][1] = 91.0;
        assert!(of_fixes("", &[f]).is_err());
    }
}
