//! The real scenes, where they are present.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::*;

/// The real scenes: `$ECHOGRID_DATA/scenes`, or `../shared/data/scenes` beside the package.
fn real_scenes() -> Option<PathBuf> {
    let data = std::env::var_os("ECHOGRID_DATA")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    let scenes = data.join("scenes");
    if scenes.is_dir() {
        return Some(scenes);
    }
    // Not eprintln!, which the test runner would swallow.
    let _ = writeln!(std::io::stderr(), "SKIPPED: no real scenes at {} (set ECHOGRID_DATA)", scenes.display());
    None
}

#[test]
fn real_scenes_read_as_libjpeg_reads_them() {
    let Some(scenes) = real_scenes() else { return };
    // Left edge of a tile, its mean by band and its pixel (100, 200), by tifffile 2025 + imagecodecs.
    type Reference<'a> = (&'a str, i64, &'a [f64], &'a [f32]);
    let references: [Reference<'_>; 6] = [
        ("los-angeles/optical", 2048, &[147.908, 150.420, 159.240], &[89.0, 107.0, 129.0]),
        ("los-angeles/sar", 2048, &[89.806], &[105.0]),
        ("inland-west/optical", 0, &[94.932, 113.415, 131.992], &[125.0, 142.0, 160.0]),
        ("inland-west/sar", 0, &[116.826], &[170.0]),
        ("inland-east/optical", 2048, &[150.418, 161.510, 173.353], &[182.0, 183.0, 185.0]),
        ("inland-east/sar", 2048, &[113.844], &[94.0]),
    ];
    for (name, x0, means, pixel) in references {
        let raster = Raster::open(scenes.join(format!("{name}.tif"))).unwrap();
        assert_eq!((raster.epsg(), raster.nodata()), (Some(3395), Some(0.0)));
        let size = raster.ground_pixel_size().unwrap();
        assert!((8.2..8.8).contains(&size.0) && (8.2..8.8).contains(&size.1), "{size:?}");
        let window = raster.read_window(x0, 0, 512, 512).unwrap();
        let bands = means.len();
        for (b, want) in means.iter().enumerate() {
            let sum: f64 = window.data.iter().skip(b).step_by(bands).map(|&v| f64::from(v)).sum();
            let mean = sum / (512.0 * 512.0);
            assert!((mean - want).abs() < 0.5, "{name} band {b}: mean {mean} for {want}");
            let got = window.data[(200 * 512 + 100) * bands + b];
            assert!((got - pixel[b]).abs() <= 4.0, "{name} band {b}: {got} for {}", pixel[b]);
        }
        let kind = if bands == 1 { Radiometry::sar(&raster, None).unwrap() } else { Radiometry::Optical };
        println!("{name}: {:?}", Standardisation::measure(&raster, kind).unwrap());
    }
}

#[test]
fn real_grid_has_the_cells_expected() {
    let Some(scenes) = real_scenes() else { return };
    let raster = Raster::open(scenes.join("inland-east/optical.tif")).unwrap();
    let grid = Grid::new(raster.width(), raster.height(), 200, 200).unwrap();
    let all = grid.valid_cells(&raster, 1.0).unwrap();
    for threshold in [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5] {
        println!("inland-east, at most {threshold} missing: {}", all.iter().filter(|c| c.missing <= threshold).count());
    }
    assert_eq!(grid.valid_cells(&raster, DEFAULT_MAX_MISSING).unwrap().len(), 233);
    let (lon, lat) = all[0].centre_lonlat.unwrap();
    assert!((-118.0..-116.0).contains(&lon) && (33.0..35.0).contains(&lat), "{lon}, {lat}");
}
