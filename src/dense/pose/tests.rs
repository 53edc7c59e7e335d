//! Poses of synthetic images, and how they are told.

use super::super::tests::engine;
use super::*;
use crate::scene::synth::{EPSG, SynthConfig, generate};
use crate::scene::{GeoTransform, SampleData, write_geotiff};

#[test]
fn a_grid_leaves_no_turn_and_no_scale_far_off() {
    let config = PoseConfig::default();
    for side in [16, 64, 80] {
        let grid = Grid::new(&config, side);
        let [d_turn, d_zoom] = grid.apart;
        // Half a step moves the pixels by so much.
        let off = d_turn.to_radians().max(d_zoom) / 2.0 * side as f64 / 6f64.sqrt();
        assert!(off <= OFF_PX + 1e-9 && off > 0.5 * OFF_PX, "{off}");
        assert!((grid.turns.len() as f64 * d_turn - 360.0).abs() < 1e-9);
        assert!((grid.zooms[0] - 0.75).abs() < 1e-9 && (grid.zooms[grid.zooms.len() - 1] - 1.0 / 0.75).abs() < 1e-9);
        let passes = grid.passes(2);
        assert_eq!(passes.iter().map(Vec::len).sum::<usize>(), 2 * grid.turns.len() * grid.zooms.len());
        assert!(passes[0].iter().all(|g| g.way == 0) && passes[1].iter().all(|g| g.way == 1));
    }
    let grid = Grid::new(&PoseConfig { rotation_deg: [10.0, 30.0], scale: 0.0, ..config }, 64);
    assert_eq!(grid.zooms, [1.0]);
    // The image is turned by what the template is turned back.
    assert!((grid.turns[0] + 30.0).abs() < 1e-9 && (grid.turns[grid.turns.len() - 1] + 10.0).abs() < 1e-9, "{:?}", grid.turns);
    let grid = Grid::new(&PoseConfig { rotation_deg: [5.0, 5.0], ..config }, 64);
    assert_eq!(grid.turns, [-5.0]);
}

#[test]
fn refuses_what_makes_no_sense() {
    let plain = PoseConfig::default();
    let text = |c: PoseConfig| c.check().unwrap_err().to_string();
    assert!(text(PoseConfig { rotation_deg: [10.0, -10.0], ..plain }).contains("give the smaller first"));
    assert!(text(PoseConfig { scale: 1.0, ..plain }).contains("give 0 to 0.9"));
    assert!(text(PoseConfig { top: 0, ..plain }).contains("one at least"));
}

#[test]
fn patches_that_agree_outvote_others() {
    let truth = [1.02, 0.03, 5.0, -8.0];
    let at = |[a, b, x, y]: [f64; 4], [u, v]: [f64; 2]| [a * u - b * v + x, b * u + a * v + y];
    let mut ties = Vec::new();
    for i in 0..16 {
        let p = [f64::from(i % 4) * 50.0 - 75.0, f64::from(i / 4) * 50.0 - 75.0];
        let mut q = at(truth, p);
        if i % 3 == 1 {
            q = [q[0] + 40.0 - f64::from(7 * i), q[1] - 60.0 + f64::from(i * i % 17)];
        }
        ties.push((p, q));
    }
    let (found, count) = agree(&ties, 4.0).unwrap();
    assert_eq!(count, 11);
    assert!((0..4).all(|i| (found[i] - truth[i]).abs() < 1e-9), "{found:?}");
    assert!(agree(&ties[..1], 4.0).is_none());
    // The chance of 3 or more of 4 halves: (4 + 1) / 16.
    assert!((tail_log10(4, 3, 0.5) - (5.0f64 / 16.0).log10()).abs() < 1e-9);
}

/// A city of 400 px and a mirrored SAR image of part of it, turned clockwise by 25 degrees with pixels 1.1 times as large as the map's.
#[test]
fn a_turned_scaled_and_mirrored_image_is_found() {
    const SIZE: u32 = 400;
    const SIDE: u32 = 200;
    let (rotation, scale, centre) = (25.0f64, 1.1, [196.0, 204.0]);
    let folder = tempfile::tempdir().unwrap();
    let scene = generate(&SynthConfig { seed: 11, size: SIZE, ..SynthConfig::default() });
    let geo = GeoTransform::new(scene.geotransform());
    let (map, sar) = (folder.path().join("map.tif"), folder.path().join("sar.tif"));
    write_geotiff(&map, SIZE, SIZE, 3, SampleData::U8(&scene.optical), geo.as_ref(), Some(EPSG), Some(0.0)).unwrap();
    let (sin, cos) = rotation.to_radians().sin_cos();
    // From offsets in the image to offsets on the map: mirrored, then turned and scaled.
    let back = [[-scale * cos, -scale * sin], [-scale * sin, scale * cos]];
    let mut image = vec![0u8; (SIDE * SIDE) as usize];
    for (i, out) in image.iter_mut().enumerate() {
        let p = [i as u32 % SIDE, i as u32 / SIDE].map(|v| f64::from(v) + 0.5 - f64::from(SIDE) / 2.0);
        let [x, y] = [0, 1].map(|d| (centre[d] + back[d][0] * p[0] + back[d][1] * p[1]).floor());
        if (0.0..f64::from(SIZE)).contains(&x) && (0.0..f64::from(SIZE)).contains(&y) {
            *out = scene.sar[y as usize * SIZE as usize + x as usize];
        }
    }
    write_geotiff(&sar, SIDE, SIDE, 1, SampleData::U8(&image), None, None, Some(0.0)).unwrap();
    let (map, sar) = (Arc::new(Image::map(&map).unwrap()), Arc::new(Image::sar(&sar, None).unwrap()));
    let info = MapInfo::of(&map).unwrap();
    // Told as large as the map's pixels.
    let frame = Frame::new(&info, &sar, Some(info.ground_m())).unwrap();
    let engine = engine();
    let model = DenseModel::structure(Structure::default());
    let config = PoseConfig { rotation_deg: [0.0, 50.0], scale: 0.15, mirrored: Mirrored::Yes, ..PoseConfig::default() };
    let mut units = (0, 0);
    let poses = find_pose(&engine, &model, (&map, &info), (&sar, &frame), &config, |done, total| {
        assert!(done >= units.0 && done <= total && (units.1 == 0 || units.1 == total), "{done} of {total} after {units:?}");
        units = (done, total);
    })
    .unwrap();
    assert_eq!(units.0, units.1);
    let pose = poses[0];
    assert!(pose.flipped && pose.probability > 0.5, "{poses:?}");
    assert!(wrap(pose.rotation_deg - rotation).abs() < 3.0 && (pose.scale / scale - 1.0).abs() < 0.05, "{pose:?}");
    assert!((0..2).all(|d| (pose.map_px[d] - centre[d]).abs() < 6.0), "{pose:?}");
    // What the fields say, by the formula of their documentation.
    let [x, y] = frame.matrix;
    let (sin, cos) = pose.rotation_deg.to_radians().sin_cos();
    let formula = compose([[-x[0], -x[1]], y], [[cos / pose.scale, sin / pose.scale], [-sin / pose.scale, cos / pose.scale]]);
    let (truth, cut) = (inverse(&back), compose([[-x[0], -x[1]], y], pose.variant().from_map()));
    for i in 0..4 {
        let got = pose.matrix[i / 2][i % 2];
        assert!((got - cut[i / 2][i % 2]).abs() < 1e-9, "{pose:?} {cut:?}");
        assert!((got - formula[i / 2][i % 2]).abs() < 1e-9 && (got - truth[i / 2][i % 2]).abs() < 0.08, "{pose:?} {formula:?} {truth:?}");
    }
}
