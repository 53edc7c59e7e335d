//! What a registration comes to: tie points with their places, sentences, rows of a table, JSON.

use super::Tie;
use crate::locate::{Place, Places};
use crate::register::{Model, Registration, Relief, TiePoint};
use crate::scene::{ControlPoint, ControlPoints, MapInfo, inverse};
use crate::{Error, Result};
use serde_json::{Value, json};

/// The tie points with their places.
///
/// # Errors
/// A map without a valid georeference, a point outside its projection.
pub fn ties(map: &MapInfo, found: &Registration) -> Result<Vec<Tie>> {
    let places = Places::new(map)?;
    let fit = &found.fit;
    let digits = found.points.len().to_string().len().max(3);
    let mut out = Vec::with_capacity(found.points.len());
    for (i, p) in found.points.iter().enumerate() {
        let place = places.at(p.map_px)?;
        let residual_px = fit.residual_px[i];
        out.push(Tie {
            id: format!("t{:0digits$}", i + 1),
            sar_px: p.sar_px,
            map_px: p.map_px,
            center_map: place.map_xy,
            lonlat: place.lonlat,
            residual_px,
            residual_m: residual_px[0].hypot(residual_px[1]) * found.map_pixel_m,
            held_out_m: fit.held_out_px[i] * found.map_pixel_m,
            weight: p.weight,
            used: fit.inlier[i],
            height_m: None,
        });
    }
    Ok(out)
}

/// Where the middle of an image of `size` pixels lies, and its corners, longitude and latitude.
///
/// # Errors
/// A position outside the projection's domain; a transform that puts the image nowhere.
pub fn place(map: &MapInfo, found: &Registration, size: [u32; 2]) -> Result<(Place, Vec<[f64; 2]>)> {
    let places = Places::new(map)?;
    let size = size.map(f64::from);
    let at = |p: [f64; 2]| {
        found.fit.model.to_map(p).ok_or_else(|| Error::invalid("the transform puts the image nowhere on the map; use a simpler --model"))
    };
    let corners = [[0.0, 0.0], [size[0], 0.0], size, [0.0, size[1]]];
    let [a, b, c, d] = [at(corners[0])?, at(corners[1])?, at(corners[2])?, at(corners[3])?];
    Ok((places.at(at(size.map(|v| v / 2.0))?)?, places.ring([a, b, c, d])?))
}

/// The tie points as control points of the image: coordinates in the map's system; those that the fit rests on are enabled.
///
/// # Errors
/// A map without a valid georeference.
pub fn control_points(map: &MapInfo, found: &Registration) -> Result<ControlPoints> {
    let (geo, crs) = map.georeference()?;
    let one = |(p, used): (&TiePoint, &bool)| {
        let placed = found.fit.model.to_sar(p.map_px);
        ControlPoint {
            sar_px: p.sar_px,
            map_xy: geo.pixel_to_map(p.map_px[0], p.map_px[1]).into(),
            residual_px: Some([0, 1].map(|d| placed[d] - p.sar_px[d])),
            enabled: *used,
        }
    };
    Ok(ControlPoints { points: found.points.iter().zip(&found.fit.inlier).map(one).collect(), crs: Some(crs) })
}

/// Where the image lies, in a sentence.
pub fn words(found: &Registration) -> String {
    let pose = &found.pose;
    let side = |v: f64, [more, less]: [&str; 2]| format!("{:.0} m {}", v.abs(), if v < 0.0 { less } else { more });
    let lies = match pose.shift_m {
        Some([east, north]) => {
            format!("lies {} and {} of where its georeference puts it, ", side(east, ["east", "west"]), side(north, ["north", "south"]))
        }
        None => "is ".into(),
    };
    let [large, small] = pose.scale;
    let scale = if large - small < 5e-5 { format!("{:.4}", large) } else { format!("{small:.4} to {large:.4}") };
    let turn = if pose.rotation_deg < 0.0 { "anticlockwise" } else { "clockwise" };
    format!("The image {lies}turned {:.2}° {turn} and scaled by {scale}", pose.rotation_deg.abs())
}

/// Rows of the page's table.
pub fn rows(found: &Registration) -> Vec<[String; 3]> {
    let fit = &found.fit;
    let m = found.map_pixel_m;
    let length = |px: f64| format!("{px:.2} px, {:.1} m", px * m);
    let row = |a: &str, b: String, c: String| [a.to_string(), b, c];
    let mut rows = vec![
        row("Transform", fit.model.kind.name().into(), format!("{} numbers, from map to SAR pixels", fit.model.kind.numbers())),
        row(
            "Tie points",
            format!("{} of {}", fit.inliers(), found.sought),
            format!("agree; by chance 1 in 10^{:.0} such transforms would have as many", -fit.chance_log10),
        ),
        row("Residual, median", length(fit.median_px()), "of the points it rests on".into()),
        row("Residual, root mean square (RMSE)", length(fit.rms_px()), "both axes together".into()),
        row("Residual, CE90", length(fit.ce90_px()), "nine in ten of the points lie within this".into()),
        row(
            "Left out, median",
            length(fit.held_out_median_px()),
            "of fits that each leave a point out: much above the residual, the transform has too many numbers".into(),
        ),
        row("Left out, root mean square", length(fit.held_out_rms_px()), String::new()),
    ];
    let pose = &found.pose;
    if let Some([east, north]) = pose.shift_m {
        rows.push(row("Shift", format!("{east:.1} m, {north:.1} m"), "east and north of where its georeference puts its middle".into()));
    }
    let than = if found.frame.own.is_some() { "its georeference says" } else { "the map lies" };
    rows.push(row("Rotation", format!("{:.3}°", pose.rotation_deg), format!("clockwise, against what {than}")));
    rows.push(row(
        "Scale",
        format!("{:.5}, {:.5}", pose.scale[0], pose.scale[1]),
        format!("largest and smallest factor against its pixels of {:.2} m", found.frame.pixel_m),
    ));
    rows.push(row(
        "First patches",
        format!("{} of {}", found.coarse.agreeing, found.coarse.patches),
        format!("agree over the whole map; {} ways to turn and scale them were tried", found.coarse.variants),
    ));
    let middle = fit.model.centre;
    let names = ["1", "u", "v", "u²", "uv", "v²", "u³", "u²v", "uv²", "v³"];
    for (axis, coefficients) in ["SAR x", "SAR y"].iter().zip(&fit.model.coefficients) {
        let terms: Vec<String> =
            coefficients.iter().zip(names).map(|(c, n)| if n == "1" { format!("{c:.4}") } else { format!("{c:+.5} {n}") }).collect();
        rows.push(row(axis, terms.join(" "), String::new()));
    }
    rows.push(row(
        "u, v",
        format!("(x - {:.2}) / {s:.3}, (y - {:.2}) / {s:.3}", middle[0], middle[1], s = fit.model.scale),
        "of map pixels x, y".into(),
    ));
    rows
}

/// What the command line says of it.
pub fn lines(found: &Registration, seconds: f64) -> [String; 3] {
    let (fit, m) = (&found.fit, found.map_pixel_m);
    [
        format!("{} of {} fixes agree ({} transform); {seconds:.1} s", fit.inliers(), found.sought, fit.model.kind.name()),
        words(found),
        format!(
            "residual: median {:.2} px ({:.1} m), root mean square {:.2} px ({:.1} m), nine in ten within {:.1} m; left out: {:.2} px and {:.2} px",
            fit.median_px(),
            fit.median_px() * m,
            fit.rms_px(),
            fit.rms_px() * m,
            fit.ce90_px() * m,
            fit.held_out_median_px(),
            fit.held_out_rms_px()
        ),
    ]
}

/// Both ways of an affine model, rows of factors of x, of y and a constant; nothing of a bent one.
fn affine(model: &Model) -> Option<Value> {
    let at = |matrix: [[f64; 2]; 2], from: [f64; 2], to: [f64; 2]| {
        [0, 1].map(|d| [matrix[d][0], matrix[d][1], to[d] - matrix[d][0] * from[0] - matrix[d][1] * from[1]])
    };
    let (centre, matrix) = (model.centre, model.derivative(model.centre));
    let place = model.to_sar(centre);
    (model.kind.degree() == 1)
        .then(|| json!({ "map_to_sar": at(matrix, centre, place), "sar_to_map": at(inverse(&matrix), place, centre) }))
}

/// Rows of the page's table about heights.
pub fn relief_rows(relief: &Relief) -> [[String; 3]; 1] {
    [[
        "Residual against height".into(),
        format!("{:.3} ± {:.3} m a metre", relief.slope_m_per_m, relief.slope_standard_error),
        format!(
            "towards {:.0}° clockwise from the map's up, where residuals follow height best; correlation {:.2} over {} points",
            relief.direction_clockwise_deg, relief.correlation, relief.points
        ),
    ]]
}

/// Outline of the registered image within a part of the map's grid (left, top, width, height): longitude and latitude.
///
/// # Errors
/// A map without a valid georeference, a point outside its projection.
pub fn outline(map: &MapInfo, found: &Registration, size: [u32; 2], [left, top, w, h]: [u32; 4]) -> Result<Vec<[f64; 2]>> {
    const PARTS: u32 = 8;
    let (geo, crs) = map.georeference()?;
    let corners = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
    let mut out = Vec::new();
    for (a, b) in corners.iter().zip(corners.iter().cycle().skip(1)) {
        for i in 0..PARTS {
            let t = f64::from(i) / f64::from(PARTS);
            let q = [0, 1].map(|d| (a[d] + t * (b[d] - a[d])) * f64::from(size[d]));
            let Some(p) = found.fit.model.to_map(q) else { continue };
            let (x, y) = (p[0].clamp(f64::from(left), f64::from(left + w)), p[1].clamp(f64::from(top), f64::from(top + h)));
            let (x, y) = geo.pixel_to_map(x, y);
            out.push(crs.to_lonlat(x, y)?.into());
        }
    }
    Ok(out)
}

/// Named remarks for the files that are written: how they were made, and how well the transform fits.
pub fn about(found: &Registration, command: &str, map: &str, sar: &str) -> Vec<(String, String)> {
    let (fit, m) = (&found.fit, found.map_pixel_m);
    let all = [
        ("COMMAND", command.to_string()),
        ("VERSION", env!("CARGO_PKG_VERSION").into()),
        ("MAP", map.into()),
        ("SAR", sar.into()),
        ("MODEL", fit.model.kind.name().into()),
        ("TIE_POINTS", format!("{} of {}", fit.inliers(), found.sought)),
        ("RMSE_M", format!("{:.2}", fit.rms_px() * m)),
        ("CE90_M", format!("{:.2}", fit.ce90_px() * m)),
    ];
    all.into_iter().map(|(name, value)| (format!("ECHOGRID_{name}"), value)).collect()
}

/// All of it as an object; rotations are degrees clockwise, scales above 1 where pixels are larger than claimed.
pub fn summary(found: &Registration) -> Value {
    let (fit, m) = (&found.fit, found.map_pixel_m);
    let lengths = |scale: f64| {
        json!({
            "median": fit.median_px() * scale, "rms": fit.rms_px() * scale,
            "held_out_median": fit.held_out_median_px() * scale, "held_out_rms": fit.held_out_rms_px() * scale,
        })
    };
    json!({
        "model": fit.model, "affine": affine(&fit.model),
        "fixes": { "sought": found.sought, "found": found.points.len(), "used": fit.inliers(), "chance_log10": fit.chance_log10 },
        "first": { "patches": found.coarse.patches, "agreeing": found.coarse.agreeing, "chance_log10": found.coarse.chance_log10,
            "variants": found.coarse.variants },
        "residual_px": lengths(1.0), "residual_m": lengths(m), "rmse_m": fit.rms_px() * m, "ce90_m": fit.ce90_px() * m, "map_pixel_m": m,
        "mirrored": found.frame.flipped, "against_own_georeference": found.pose,
    })
}
