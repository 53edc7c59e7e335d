//! How fast a map is read, with one thread and with two: `ECHOGRID_MAP=map.tif cargo test --release --test reading -- --ignored --nocapture`.

use echogrid::scene::{Raster, ValidityMask};
use rayon::prelude::*;
use std::time::Instant;

/// Seconds to read every pixel once by pages of 256 px, as the device gets them.
fn pages(path: &str, threads: usize) -> f64 {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let raster = Raster::open(path).unwrap();
    let start = Instant::now();
    pool.install(|| {
        for y in (0..raster.height()).step_by(256) {
            let row: Vec<u32> = (0..raster.width()).step_by(256).collect();
            for part in row.chunks(16) {
                part.par_iter().for_each(|x| {
                    raster.read_window(i64::from(*x), i64::from(y), 256, 256).unwrap();
                });
            }
        }
    });
    start.elapsed().as_secs_f64()
}

/// Seconds to find out where there is data.
fn mask(path: &str, threads: usize) -> f64 {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let raster = Raster::open(path).unwrap();
    let start = Instant::now();
    pool.install(|| ValidityMask::new(&raster).unwrap());
    start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "needs a large map in ECHOGRID_MAP, and a quiet machine"]
fn two_threads_read_faster_than_one() {
    let path = std::env::var("ECHOGRID_MAP").expect("a map in ECHOGRID_MAP");
    for (what, run) in [("pages", pages as fn(&str, usize) -> f64), ("mask", mask)] {
        let mut ratios = Vec::new();
        for _ in 0..3 {
            let (one, two) = (run(&path, 1), run(&path, 2));
            println!("{what}: {one:.2} s with one thread, {two:.2} s with two: {:.2} times as fast", one / two);
            ratios.push(one / two);
        }
        ratios.sort_by(f64::total_cmp);
        assert!(ratios[1] >= 1.6, "{what}: {ratios:?}");
    }
}
