use super::fit::median;
use super::*;
use crate::random::{splitmix, unit};
use crate::scene::{GeoTransform, Raster, SampleData, write_geotiff};

/// Finds patches where a planted transform puts them, more or less.
struct Planted {
    truth: Model,
    map: [f64; 2],
    /// Share of patches found, first over the map, then near by.
    right: [f64; 2],
    noise: f64,
    counter: u64,
    asked: Vec<(usize, Hunt)>,
}

impl Planted {
    fn unit(&mut self) -> f64 {
        self.counter += 1;
        unit(self.counter)
    }
}

impl Finder for Planted {
    fn step_px(&self) -> f64 {
        2.0
    }

    fn find(&mut self, queries: &[Query], hunt: &Hunt, progress: &mut dyn FnMut(usize, usize)) -> Result<Vec<Vec<Candidate>>> {
        self.asked.push((queries.len(), hunt.clone()));
        let mut out = Vec::new();
        for (i, q) in queries.iter().enumerate() {
            let truth = self.truth.to_map(q.sar_px).expect("a place");
            let right = self.unit() < self.right[usize::from(q.near.is_some())];
            let at = (self.unit() * hunt.top as f64) as usize;
            let mut candidates = Vec::new();
            for k in 0..hunt.top {
                let (a, b) = (self.unit(), self.unit());
                let map_px = match (right && k == at, q.near) {
                    (true, Some(near)) if (truth[0] - near[0]).hypot(truth[1] - near[1]) > hunt.reach_px => near,
                    (true, _) => [truth[0] + self.noise * (2.0 * a - 1.0), truth[1] + self.noise * (2.0 * b - 1.0)],
                    (false, None) => [a * self.map[0], b * self.map[1]],
                    (false, Some(near)) => {
                        let (r, angle) = (hunt.reach_px * a.sqrt(), std::f64::consts::TAU * b);
                        [near[0] + r * angle.cos(), near[1] + r * angle.sin()]
                    }
                };
                candidates.push(Candidate { map_px, credit: 1.0, probability: 0.5, sigma_px: 2.0 });
            }
            out.push(candidates);
            progress(i + 1, queries.len());
        }
        Ok(out)
    }
}

const SIZE: u32 = 1600;

/// A map without pixels, and a SAR image of 10 m a pixel whose upper left quarter is empty.
fn world(dir: &Path) -> (MapInfo, Image) {
    let geo = GeoTransform::north_up(500_000.0, 4_000_000.0, 10.0, 10.0).unwrap();
    let map = MapInfo {
        name: "map.tif".into(),
        sha256: String::new(),
        standardisation: serde_json::Value::Null,
        files: Vec::new(),
        crs: "EPSG:32633".into(),
        geotransform: geo.coefficients(),
        width: 2000,
        height: 1800,
        pixel_m: [10.0, 10.0],
    };
    let path = dir.join("sar.tif");
    let pixel = |i: u32| if i % SIZE < 700 && i / SIZE < 700 { 0 } else { 1 + (splitmix(u64::from(i)) % 250) as u8 };
    let data: Vec<u8> = (0..SIZE * SIZE).map(pixel).collect();
    let own = geo.offset(150.0, 100.0);
    write_geotiff(&path, SIZE, SIZE, 1, SampleData::U8(&data), Some(&own), Some(32633), None).unwrap();
    (map, Image::sar(&path, None).unwrap())
}

/// Turned by 3 degrees clockwise, 2 % larger on the ground, and displaced against the image's own georeference.
fn truth() -> Model {
    let (sin, cos) = 3f64.to_radians().sin_cos();
    // From SAR to map pixels: larger and turned; this is the inverse.
    let matrix = inverse(&[[1.02 * cos, -1.02 * sin], [1.02 * sin, 1.02 * cos]]);
    let middle = f64::from(SIZE) / 2.0;
    Model::affine(matrix, [150.0 + middle + 30.0, 100.0 + middle - 40.0], [middle, middle])
}

fn planted(right: [f64; 2]) -> Planted {
    Planted { truth: truth(), map: [2000.0, 1800.0], right, noise: 3.0, counter: 7, asked: Vec::new() }
}

/// Median distance between two models over a lattice of the image, map pixels.
fn apart(a: &Model, b: &Model) -> f64 {
    let at = |i: u32| f64::from(i) / 10.0 * f64::from(SIZE);
    let off = |i: u32| {
        let q = [at(i % 11), at(i / 11)];
        let (p, r) = (a.to_map(q).unwrap(), b.to_map(q).unwrap());
        (p[0] - r[0]).hypot(p[1] - r[1])
    };
    median((0..121).map(off).collect())
}

#[test]
fn a_displaced_image_comes_back_whatever_its_georeference_says() {
    let dir = tempfile::tempdir().unwrap();
    let (map, sar) = world(dir.path());
    for kind in [None, Some(ModelKind::Similarity), Some(ModelKind::Affine), Some(ModelKind::Polynomial2), Some(ModelKind::Polynomial3)] {
        let mut finder = planted([0.5, 0.6]);
        let config = RegisterConfig { kind, ..RegisterConfig::default() };
        let mut rounds = Vec::new();
        let found = register(&map, &sar, &mut finder, &config, |round, done, total| {
            assert!(done <= total);
            rounds.push(round);
        })
        .unwrap();
        assert!(rounds.contains(&Round::Coarse) && rounds.contains(&Round::Fine));
        // Uniform noise of 3 px on 130 points: well under a pixel.
        let off = apart(&found.fit.model, &truth());
        assert!(off < if kind == Some(ModelKind::Polynomial3) { 1.5 } else { 0.8 }, "{kind:?}: {off}");
        assert!(found.fit.inliers() * 10 >= found.sought * 5 && found.points.len() == found.sought);
        let [east, north] = found.pose.shift_m.unwrap();
        assert!((east - 300.0).abs() < 8.0 && (north - 400.0).abs() < 8.0, "{:?}", found.pose);
        assert!(
            (found.pose.rotation_deg - 3.0).abs() < 0.15 && found.pose.scale.iter().all(|s| (s - 1.02).abs() < 0.004),
            "{:?}",
            found.pose
        );
        let [large, small] = found.pose.scale;
        assert!(kind != Some(ModelKind::Similarity) || large - small < 1e-4, "a similarity has one scale: {:?}", found.pose);
        // Even though a fifth of it is empty, the image has about as many patches as asked for.
        assert!(
            (180..=250).contains(&found.sought) && (20..=40).contains(&found.coarse.patches),
            "{} {}",
            found.sought,
            found.coarse.patches
        );
        assert_eq!(finder.asked[0].1.variants, [crate::dense::Variant::PLAIN]);
        assert_eq!(finder.asked.len(), 2, "the plain variant was enough");
    }
}

#[test]
fn what_is_tried_is_told_as_the_pose_tells_it() {
    let dir = tempfile::tempdir().unwrap();
    let (map, sar) = world(dir.path());
    let frame = Frame::new(&map, &sar, None).unwrap();
    let middle = [f64::from(SIZE) / 2.0; 2];
    for (degrees, scale) in [(-17.0, 1.2), (3.0, 0.8), (0.0, 1.0), (120.0, 1.0)] {
        // A patch that fits when it is cut like this lies like this.
        let cut = compose(frame.matrix, crate::dense::Variant::new(degrees, scale).from_map());
        let model = Model::affine(cut, [900.0, 900.0], middle);
        let pose = pose(&map, &frame, &model, [SIZE, SIZE]).unwrap();
        assert!((pose.rotation_deg - degrees).abs() < 1e-6 && pose.scale.iter().all(|s| (s - scale).abs() < 1e-9), "{pose:?}");
        // The image's x axis runs to the right on the map, and down where it is turned clockwise.
        let [a, b] = [[0.0, 0.0], [100.0, 0.0]].map(|d| model.to_map([middle[0] + d[0], middle[1] + d[1]]).unwrap());
        let down = (b[1] - a[1]).atan2(b[0] - a[0]).to_degrees();
        assert!((down - degrees).abs() < 1e-6, "{down} for {degrees}");
        assert!(((b[0] - a[0]).hypot(b[1] - a[1]) - 100.0 * scale).abs() < 1e-6);
    }
    let json = serde_json::to_value(Pose { shift_m: None, rotation_deg: -17.0, scale: [1.2, 1.2] }).unwrap();
    assert_eq!(json["rotation_clockwise_deg"], -17.0);
}

#[test]
fn the_best_affine_transform_of_a_bend_says_what_it_leaves_out() {
    let dir = tempfile::tempdir().unwrap();
    let (map, _) = world(dir.path());
    let (geo, _) = map.georeference().unwrap();
    let (affine, left_out) = best_affine(&map, &truth(), [SIZE, SIZE]).unwrap();
    assert!(left_out < 1e-6, "{left_out}");
    let [x, y] = truth().to_map([100.0, 1200.0]).unwrap();
    let (want, got) = (geo.pixel_to_map(x, y), affine.pixel_to_map(100.0, 1200.0));
    assert!((want.0 - got.0).abs() < 1e-5 && (want.1 - got.1).abs() < 1e-5, "{got:?} for {want:?}");
    let mut bent = truth();
    bent.kind = ModelKind::Polynomial2;
    bent.scale = 1.0;
    bent.coefficients.iter_mut().for_each(|c| c.extend([1e-5, 0.0, 0.0]));
    let (_, left_out) = best_affine(&map, &bent, [SIZE, SIZE]).unwrap();
    assert!((2.0..20.0).contains(&left_out), "{left_out}");
}

#[test]
fn rotations_are_tried_where_the_plain_variant_finds_nothing_and_then_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (map, sar) = world(dir.path());
    let mut finder = planted([0.0, 0.6]);
    let error = register(&map, &sar, &mut finder, &RegisterConfig::default(), |_, _, _| {}).unwrap_err().to_string();
    assert!(error.contains("sar.tif") && error.contains("cannot be placed") && error.contains("--rotations"), "{error}");
    assert_eq!(finder.asked.len(), 2);
    assert_eq!(finder.asked[1].1.variants.len(), 3);
    // A first agreement that the second round does not bear out.
    let mut finder = planted([0.6, 0.0]);
    let error = register(&map, &sar, &mut finder, &RegisterConfig::default(), |_, _, _| {}).unwrap_err().to_string();
    assert!(error.contains("tie points agree") && error.contains("were sought"), "{error}");
}

#[test]
fn options_that_make_no_sense_and_images_too_small_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (map, sar) = world(dir.path());
    let plain = RegisterConfig::default;
    for (bad, word) in [
        (RegisterConfig { rotations: vec![], ..plain() }, "rotations"),
        (RegisterConfig { scales: vec![0.0], ..plain() }, "scales"),
        (RegisterConfig { reach_m: f64::NAN, ..plain() }, "reach"),
        (RegisterConfig { patch: 0, ..plain() }, "patches"),
        (RegisterConfig { coarse_patch: 1500, ..plain() }, "--coarse-patch"),
        (RegisterConfig { pixel_m: Some(-1.0), ..plain() }, "makes no sense"),
    ] {
        let error = register(&map, &sar, &mut planted([1.0; 2]), &bad, |_, _, _| {}).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn the_image_is_written_on_the_maps_grid() {
    let dir = tempfile::tempdir().unwrap();
    let (map, sar) = world(dir.path());
    let model = truth();
    let out = dir.path().join("out.tif");
    for extent in [Extent::Map, Extent::Sar] {
        let area = extent_px(extent, &map, [SIZE, SIZE], &model).unwrap();
        write_on_map(&map, &sar.raster, &model, area, &out, &[], |_, _| {}).unwrap();
        let raster = Raster::open(&out).unwrap();
        assert_eq!([raster.width(), raster.height()], [area[2], area[3]]);
        assert_eq!(raster.epsg(), Some(32633));
        let (geo, _) = map.georeference().unwrap();
        let corner = raster.geo().unwrap().pixel_to_map(0.0, 0.0);
        let [x, y] = [area[0], area[1]].map(f64::from);
        let want = geo.pixel_to_map(x, y);
        assert!((corner.0 - want.0).abs() < 1e-6 && (corner.1 - want.1).abs() < 1e-6);
        // A pixel against the source by hand: bilinear.
        let source = sar.raster.read_window(0, 0, SIZE, SIZE).unwrap();
        let window = raster.read_window(0, 0, area[2], area[3]).unwrap();
        let p = [1000u32, 900];
        let q = model.to_sar(p.map(|v| f64::from(v) + 0.5));
        let (i, j) = ((q[0] - 0.5).floor(), (q[1] - 0.5).floor());
        let (u, v) = (q[0] - 0.5 - i, q[1] - 0.5 - j);
        let at = |dx: usize, dy: usize| f64::from(source.data[(j as usize + dy) * SIZE as usize + i as usize + dx]);
        let want = at(0, 0) * (1.0 - u) * (1.0 - v) + at(1, 0) * u * (1.0 - v) + at(0, 1) * (1.0 - u) * v + at(1, 1) * u * v;
        let got = window.data[((p[1] - area[1]) * area[2] + p[0] - area[0]) as usize];
        assert!((f64::from(got) - want).abs() <= 0.51, "{got} for {want}");
    }
    let off = Model::affine([[1.0, 0.0], [0.0, 1.0]], [9000.0, 9000.0], [0.0, 0.0]);
    assert!(extent_px(Extent::Sar, &map, [SIZE, SIZE], &off).unwrap_err().to_string().contains("off the map"));
}
