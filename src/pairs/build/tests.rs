use super::*;
use crate::scene::synth::{SynthConfig, SynthScene, generate};
use crate::scene::{OpenOptions, SampleData, write_geotiff};
use std::path::PathBuf;

const SIZE: u32 = 300;

/// A city whose optical image is wiped out in the upper left 100 x 100 px (one grey value) and white in a strip on the right.
fn sources(dir: &Path) -> (SynthScene, Image, Image) {
    let scene = generate(&SynthConfig { seed: 5, size: SIZE, ..SynthConfig::default() });
    let mut optical = scene.optical.clone();
    for (p, pixel) in optical.chunks_exact_mut(3).enumerate() {
        let (x, y) = (p as u32 % SIZE, p as u32 / SIZE);
        match () {
            () if x < 100 && y < 100 => pixel.fill(90),
            () if x >= 230 => pixel.fill(255),
            () => {}
        }
    }
    let write = |name: &str, bands, data: &[u8]| -> PathBuf {
        let path = dir.join(name);
        write_geotiff(&path, SIZE, SIZE, bands, SampleData::U8(data), None, None, None).unwrap();
        path
    };
    let (map, sar) = (write("optical.tif", 3, &optical), write("sar.tif", 1, &scene.sar));
    let plain = OpenOptions { no_data: crate::scene::NoData::None, ..OpenOptions::default() };
    let map = Image::of_map(plain.open(&map).unwrap()).unwrap();
    let sar = Image::of_sar(plain.open(&sar).unwrap(), None).unwrap();
    (scene, map, sar)
}

/// Remembers what it is told, and finds the crop at `off` far off.
struct Told {
    off: [u32; 2],
    asked: usize,
    dropped: Vec<([u32; 2], Vec<Reason>)>,
}

impl Watch for Told {
    fn misfits(&mut self, crops: &[Crop]) -> Result<Option<Vec<Misfit>>> {
        self.asked = crops.len();
        let one = |c: &Crop| Misfit { px: if c.at == self.off { 30.0 } else { 1.0 }, probability: 0.9 };
        Ok(Some(crops.iter().map(one).collect()))
    }

    fn dropped(&mut self, crop: &Crop, why: &[Reason], windows: &[Window; 2]) -> Result<()> {
        assert!(windows.iter().all(|w| (w.width, w.height) == (64, 64)) && (windows[0].bands, windows[1].bands) == (1, 3));
        self.dropped.push((crop.at, why.to_vec()));
        Ok(())
    }
}

#[test]
fn crops_are_the_pixels_of_both_images_and_what_is_dropped_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (scene, optical, sar) = sources(dir.path());
    // The optical image lies 7 px to the right and 3 down of the SAR image's pixels.
    let place = |p: [f64; 2]| [p[0] + 7.0, p[1] + 3.0];
    let out = dir.path().join("pairs");
    let config = BuildConfig { size: 64, stride: 51, limits: Limits { texture: 0.05, ..Limits::default() }, ..BuildConfig::default() };
    let mut told = Told { off: [102, 102], asked: 0, dropped: Vec::new() };
    let sources = Sources { sar: &sar, optical: &optical, place: &place };
    let manifest = build(&sources, &config, "shift".into(), &out, &mut told).unwrap();
    // Five crops a row fit into 300 px.
    assert_eq!(manifest.pairs.len() + manifest.dropped.len(), 25);
    assert_eq!(told.asked, manifest.pairs.len() + 1);
    let why = |at: [u32; 2]| manifest.dropped.iter().find(|d| d.crop.at == at).map(|d| d.why.clone());
    assert_eq!(why([0, 0]), Some(vec![Reason::Texture]), "a wiped corner");
    assert_eq!(why([204, 51]), Some(vec![Reason::Saturated]), "mostly white");
    assert_eq!(why([102, 102]), Some(vec![Reason::Misfit]));
    assert_eq!(told.dropped.len(), manifest.dropped.len());
    assert_eq!(manifest.failing(Reason::Misfit), 1);
    let numbers: Vec<usize> = manifest.pairs.iter().map(|p| p.number).collect();
    assert_eq!(numbers, (1..=manifest.pairs.len()).collect::<Vec<_>>());
    for kept in &manifest.pairs {
        let [x0, y0] = kept.crop.at;
        let [radar, map] = [&kept.sar, &kept.optical].map(|f| image::open(out.join(f)).unwrap());
        let (radar, map) = (radar.into_luma8(), map.into_rgb8());
        for (x, y) in [(0, 0), (63, 63), (20, 41)] {
            assert_eq!(radar.get_pixel(x, y)[0], scene.sar[((y0 + y) * SIZE + x0 + x) as usize], "{}", kept.sar);
            let at = ((y0 + y + 3) * SIZE + x0 + x + 7) as usize;
            let want = if x0 + x + 7 >= 230 { [255; 3] } else { [0, 1, 2].map(|b| scene.optical[at * 3 + b]) };
            assert!(x0 + x + 7 < 100 && y0 + y + 3 < 100 || map.get_pixel(x, y).0 == want, "{}", kept.optical);
        }
    }
    let read: Manifest = serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(read, manifest);
    // They are a set of pairs.
    let set = super::super::PairSet::folders(&out.join("sar"), &out.join("opt")).unwrap();
    assert_eq!((set.len(), set.shortest_side()), (manifest.pairs.len(), 64));
    let again = build(&sources, &config, "shift".into(), &out, &mut told).unwrap_err().to_string();
    assert!(again.contains("not empty"), "{again}");
}

#[test]
fn what_lies_outside_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (_, optical, sar) = sources(dir.path());
    let config = BuildConfig { size: 64, stride: 64, onto: Onto::Optical, format: Format::Geotiff, ..BuildConfig::default() };
    let build_at = |shift: f64, limits: Limits, name: &str| {
        let place = move |p: [f64; 2]| [p[0] + shift, p[1]];
        let sources = Sources { sar: &sar, optical: &optical, place: &place };
        let mut told = Told { off: [0, 0], asked: 0, dropped: Vec::new() };
        build(&sources, &BuildConfig { limits, ..config }, serde_json::Value::Null, &dir.path().join(name), &mut told)
    };
    let loose = Limits { texture: 0.0, saturated: 1.0, misfit_px: Some(1e9), missing: 0.0 };
    let manifest = build_at(100.0, loose, "some").unwrap();
    // Of four columns, those from 0 and 64 lie on SAR pixels 100 to 228, that from 128 ends at 292, the last wholly outside but for 8 px.
    assert_eq!((manifest.pairs.len(), manifest.failing(Reason::Missing), manifest.empty), (12, 4, 0));
    let crop = OpenOptions::default().open(dir.path().join("some/sar/1.tif")).unwrap();
    let own = sar.raster.read_window(100, 0, 64, 64).unwrap();
    assert_eq!(crop.read_window(0, 0, 64, 64).unwrap().data, own.data);
    let none = build_at(1000.0, loose, "none").unwrap_err().to_string();
    assert!(none.contains("of 0 crops"), "{none}");
    let odd = build_at(0.0, Limits { missing: 1.5, ..loose }, "odd").unwrap_err().to_string();
    assert!(odd.contains("missing") && odd.contains("1.5"), "{odd}");
}
