//! Tests of the scene module and what they share.

mod bad_input;
mod bands;
mod build;
mod formats;
mod geo;
mod places;
mod radiometry;
mod real;
mod validity;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::radiometry as rad;
use super::*;

const W: u32 = 40;
const H: u32 = 24;

/// The picture in every fixture: smooth, and another in each band.
fn smooth(x: u32, y: u32, band: u32) -> f32 {
    (20 + 2 * x + 3 * y + 30 * band) as f32
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A TIFF of some images.
fn write(dir: &TempDir, name: &str, pictures: &[build::Picture]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, build::tiff(pictures)).unwrap();
    path
}

/// Compares the whole of a raster, and a window that overhangs two of its edges.
fn check(raster: &Raster, tolerance: f32, expected: impl Fn(u32, u32, u32) -> f32) {
    let (w, h, bands) = (raster.width(), raster.height(), raster.bands());
    for (x0, y0, ww, wh) in [(0, 0, w, h), (-3, -2, 11, 9), (i64::from(w) - 5, i64::from(h) - 7, 9, 12), (7, 3, 5, 1)] {
        let window = raster.read_window(x0, y0, ww, wh).unwrap();
        assert_eq!(window.data.len(), (ww * wh * bands) as usize);
        for j in 0..wh {
            for i in 0..ww {
                let (x, y) = (x0 + i64::from(i), y0 + i64::from(j));
                let inside = (0..i64::from(w)).contains(&x) && (0..i64::from(h)).contains(&y);
                let p = (j * ww + i) as usize;
                assert_eq!(window.valid[p], u8::from(inside), "validity at {x},{y} of {raster:?}");
                for b in 0..bands {
                    let got = window.data[p * bands as usize + b as usize];
                    let want = if inside { expected(x as u32, y as u32, b) } else { 0.0 };
                    assert!((got - want).abs() <= tolerance, "{got} for {want} at {x},{y} band {b} of {raster:?}");
                }
            }
        }
    }
}
