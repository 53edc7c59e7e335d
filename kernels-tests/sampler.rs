use crate::common::*;
use echogrid::gpu::shader::{expand, reflect};
use echogrid::gpu::{DType, Engine, PAGE, PageArray, PageTable, PlanBuilder, Tensor, cut_page};
use echogrid::kernels::sampler::{self as kernel, PatchRecord};
use echogrid::reference::sampler as twin;
use std::f64::consts::FRAC_PI_2;

type Texel = fn(u32, u32, u32) -> [f32; 4];

/// Images on the device: every page resident but page (1, 1) of image 0.
struct World {
    pages: PageArray,
    table: PageTable,
    texel: Texel,
}

const SIZES: [[u32; 2]; 3] = [[700, 600], [45, 37], [513, 3]];

impl World {
    fn new(e: &Engine, texel: Texel) -> Self {
        let pages = PageArray::new(e, 7).unwrap();
        let mut table = PageTable::new(e, &pages, &SIZES).unwrap();
        let mut layer = 7;
        for image in 0..3 {
            let [across, down] = table.pages(image);
            for page in (0..across * down).map(|p| [p % across, p / across]).filter(|p| (image, *p) != (0, [1, 1])) {
                layer -= 1;
                pages.write_page(e, layer, &cut_page(SIZES[image as usize], page, |x, y| texel(image, x, y))).unwrap();
                table.set(image, page, Some(layer)).unwrap();
            }
        }
        table.flush(e).unwrap();
        Self { pages, table, texel }
    }

    /// The decoded images, as the twin wants them.
    fn at(&self, image: u32, x: i32, y: i32) -> [f32; 4] {
        let Some(size) = SIZES.get(image as usize) else { return [0.0; 4] };
        if x < 0 || y < 0 || x >= size[0] as i32 || y >= size[1] as i32 {
            return [0.0; 4];
        }
        let page = [x, y].map(|v| v as u32 / PAGE as u32);
        match self.table.get(image, page).unwrap() {
            Some(_) => (self.texel)(image, x as u32, y as u32),
            None => [0.0; 4],
        }
    }

    fn gpu(&self, e: &Engine, records: &[PatchRecord], taps: u32, augment: bool, side: usize) -> Vec<f32> {
        let y = out(e, &[records.len(), side, side, 4]);
        run_twice(e, &y, |p| kernel::forward(p, &self.pages, &self.table, &upload(e, records), taps, augment, &y))
    }

    fn cpu(&self, records: &[PatchRecord], taps: u32, augment: bool, side: usize) -> Vec<f64> {
        twin::forward(|i, x, y| self.at(i, x, y), records, taps, augment, side)
    }
}

fn upload(e: &Engine, records: &[PatchRecord]) -> Tensor {
    let t = kernel::records(e, records.len()).unwrap();
    e.write(&t, records).unwrap();
    t
}

fn hash(image: u32, x: u32, y: u32) -> u32 {
    let mut h = (x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77) ^ image.wrapping_mul(0xC2B2_AE3D)).wrapping_mul(0x27D4_EB2F);
    h = (h ^ h >> 15).wrapping_mul(0x2C1B_3C6D);
    h ^ h >> 13
}

/// Values in [-4, 4) that f16 holds; one pixel in eight is no data.
fn noisy(image: u32, x: u32, y: u32) -> [f32; 4] {
    let h = hash(image, x, y);
    if h >> 29 == 0 {
        [0.0; 4]
    } else {
        [h, h >> 9, h >> 18].map(|b| (b & 511) as f32 / 64.0 - 4.0).into_iter().chain([1.0]).collect::<Vec<_>>()[..].try_into().unwrap()
    }
}

/// Every pixel says where it is.
fn places(image: u32, x: u32, y: u32) -> [f32; 4] {
    [x as f32, y as f32, image as f32, 1.0]
}

fn zeros(_: u32, _: u32, _: u32) -> [f32; 4] {
    [0.0, 0.0, 0.0, 1.0]
}

/// Inside one page, across page borders, into the absent page, over the image's border, outside, other images, no image;
/// at many angles, scales and shears, mirrored and not.
fn patches(side: usize, scale: f64) -> Vec<PatchRecord> {
    let mut all = Vec::new();
    for (k, centre) in
        [[200.3, 211.7], [512.0, 100.0], [100.25, 512.5], [512.0, 512.0], [600.0, 560.0], [0.0, 0.0], [699.5, 3.25], [-300.0, 40.0]]
            .into_iter()
            .enumerate()
    {
        let angle = 0.7 * k as f64;
        all.push(PatchRecord::new(0, centre, scale, angle, k % 2 == 0, side).unwrap());
        all.push(PatchRecord::from_affine(0, centre, [[scale, 0.3 * scale], [-0.2, -0.8 * scale]], side).unwrap());
    }
    all.push(PatchRecord::new(1, [22.0, 18.0], scale, 1.0, false, side).unwrap());
    all.push(PatchRecord::new(2, [256.0, 1.5], scale, 0.0, true, side).unwrap());
    all.push(PatchRecord::new(3, [10.0, 10.0], scale, 0.0, false, side).unwrap());
    all.push(PatchRecord::empty());
    all
}

const VALUE: f64 = 4.0;

#[test]
fn equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        let world = World::new(e, noisy);
        for (taps, sides) in [(1, &[1, 7, 8, 9, 33][..]), (2, &[1, 9, 16]), (3, &[7, 17]), (5, &[8]), (8, &[3, 13])] {
            for &side in sides {
                let records = patches(side, f64::from(taps) - 0.35);
                let (got, want) = (world.gpu(e, &records, taps, false, side), world.cpu(&records, taps, false, side));
                assert!(want.contains(&0.0) && want.iter().any(|v| *v != 0.0));
                // A mean of taps^2 values of at most VALUE, and a division.
                close(&got, &want, (f64::from(taps * taps) + 10.0) * VALUE * EPS, 0.0);
            }
        }
    }
}

/// Four images in the quarters of one output, two halves of another, one whole; and records whose output does not exist.
#[test]
fn records_share_outputs() {
    let (engines, _lock) = engines();
    let (side, outputs) = (33, 3);
    let end = 40;
    for e in engines {
        let world = World::new(e, noisy);
        let patch = |k: usize| patches(side, 1.6)[k];
        let onto = |k, output, from, to| patch(k).onto(output, from, to).unwrap();
        let mut records = vec![
            onto(0, 1, [0, 0], [16, 8]),
            onto(1, 1, [16, 0], [end, 8]),
            patch(2),
            onto(3, 1, [0, 8], [16, end]),
            onto(4, 1, [16, 8], [end, end]),
            onto(5, 0, [0, 0], [end, 24]),
            onto(16, 0, [0, 24], [end, end]),
            onto(0, 3, [0, 0], [end, end]),
        ];
        records.push(PatchRecord::nowhere());
        let y = out(e, &[outputs, side, side, 4]);
        let table = upload(e, &records);
        let got = run_twice(e, &y, |p| kernel::forward(p, &world.pages, &world.table, &table, 2, true, &y));
        let want = twin::forward_onto(|i, x, y| world.at(i, x, y), &records, 2, true, [outputs, side]);
        close(&got, &want, 14.0 * VALUE * EPS, 0.0);
    }
    says(PatchRecord::empty().onto(0, [0, 4], [8, 8]).map(drop), "[0, 4] to [8, 8] is not made of tiles of 8 pixels");
    says(PatchRecord::empty().onto(0, [8, 0], [8, 8]).map(drop), "tiles of 8");
    says(PatchRecord::empty().onto(0, [0, 0], [8, 2048]).map(drop), "up to 2040");
}

/// With values that name the place, one wrong source pixel would move a sum of exact integers by 1 or more.
#[test]
fn chooses_the_same_source_pixels() {
    let (engines, _lock) = engines();
    for e in engines {
        let world = World::new(e, places);
        for taps in 2..=kernel::MAX_TAPS {
            for (scale, side) in [(0.77, 21), (f64::from(taps), 21), (12.5, 21), (360.0, 5)] {
                let records = patches(side, scale);
                close(&world.gpu(e, &records, taps, false, side), &world.cpu(&records, taps, false, side), 0.0, 5.0 * EPS);
            }
        }
    }
}

#[test]
fn augmentation_equals_its_twin() {
    let (engines, _lock) = engines();
    for e in engines {
        let world = World::new(e, noisy);
        for (taps, side) in [(1, 17), (3, 9)] {
            let plain = patches(side, f64::from(taps));
            let altered: Vec<_> = plain
                .iter()
                .enumerate()
                .map(|(k, r)| {
                    let r = r.with_rng(77, k as u32);
                    match k % 6 {
                        0 => r.with_gain([0.5, -1.0, 1.25], [0.25, 0.0, -1.0]),
                        1 => r.with_colour([[0.5, 0.25, 0.25], [0.0, 1.0, -0.5], [1.0, 0.0, 0.0]], [0.0, 1.0, 0.5]),
                        2 => r.with_noise(0.7),
                        3 => r.with_speckle(1 + k as u32 % 16, 5.0),
                        4 => r.with_speckle(16, 4.0).with_noise(0.25).with_bands([true, false, false]),
                        _ => r,
                    }
                })
                .collect();
            let (got, want) = (world.gpu(e, &altered, taps, true, side), world.cpu(&altered, taps, true, side));
            // The mean, four products, and logarithms of a few ulp of numbers under 30.
            close(&got, &want, (f64::from(taps * taps) + 60.0) * VALUE * EPS, 0.0);
            let same = world.gpu(e, &plain, taps, true, side);
            close(&same, &f64s(&world.gpu(e, &plain, taps, false, side)), 4.0 * VALUE * EPS, 0.0);
        }
    }
}

/// A patch at whole pixels is a copy, bit for bit; quarter turns and mirrors are exact permutations of it.
#[test]
fn whole_pixels_are_copied() {
    let (engines, _lock) = engines();
    for e in engines {
        let world = World::new(e, noisy);
        for side in [16usize, 17] {
            // Across the border of two pages.
            let centre = [508.0 + (side % 2) as f64 / 2.0, 300.0 + (side % 2) as f64 / 2.0];
            let corner = centre.map(|c| (c - side as f64 / 2.0) as i32);
            let turns = [0i32, 1, 2, 3, -1].map(|q| [(q, false), (q, true)]).concat();
            let records: Vec<_> =
                turns.iter().map(|(q, m)| PatchRecord::new(0, centre, 1.0, f64::from(*q) * FRAC_PI_2, *m, side).unwrap()).collect();
            let got = world.gpu(e, &records, 1, false, side);
            for (k, (q, mirror)) in turns.into_iter().enumerate() {
                for i in 0..side {
                    for j in 0..side {
                        let (mut x, mut y) = (if mirror { side - 1 - j } else { j }, i);
                        for _ in 0..q.rem_euclid(4) {
                            (x, y) = (side - 1 - y, x);
                        }
                        let want = world.at(0, corner[0] + x as i32, corner[1] + y as i32);
                        let at = ((k * side + i) * side + j) * 4;
                        assert_eq!(
                            got[at..at + 4].iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
                            want.map(|v| (v + 0.0).to_bits()),
                            "turn {q}, mirror {mirror}, row {i}, column {j}"
                        );
                    }
                }
            }
        }
    }
}

/// Coordinates at the far end of the largest image, where one page is resident.
#[test]
fn reaches_the_end_of_the_largest_image() {
    let (e, _lock) = engine();
    // OpenGL would take some of these numbers of layers for textures of other kinds.
    for layers in [1, 2, 6, 12] {
        reaches_the_end(e, layers);
    }
}

fn reaches_the_end(e: &Engine, layers: u32) {
    let size = [PageTable::MAX_SIDE, 20];
    let pages = PageArray::new(e, layers).unwrap();
    let mut table = PageTable::new(e, &pages, &[size]).unwrap();
    let last = [table.pages(0)[0] - 1, 0];
    pages.write_page(e, layers - 1, &cut_page(size, last, |x, y| [(x % 512) as f32, y as f32, 1.0, 1.0])).unwrap();
    table.set(0, last, Some(layers - 1)).unwrap();
    let record = PatchRecord::new(0, [f64::from(size[0]) - 2.0, 18.0], 1.0, 0.0, false, 8).unwrap();
    let y = out(e, &[1, 8, 8, 4]);
    let records = upload(e, &[record]);
    let plan = plan(e, |p| kernel::forward(p, &pages, &table, &records, 1, false, &y));
    plan.submit(e).unwrap();
    assert!(e.read::<f32>(&y).unwrap().iter().all(|v| *v == 0.0), "nothing is resident before the flush");
    table.flush(e).unwrap();
    plan.submit(e).unwrap();
    let got: Vec<f32> = e.read(&y).unwrap();
    for (k, v) in got.chunks(4).enumerate() {
        let (i, j) = (k / 8, k % 8);
        let inside = i < 6 && j < 6;
        let want = if inside { [506.0 + j as f32, 14.0 + i as f32, 1.0, 1.0] } else { [0.0; 4] };
        assert_eq!(v, want, "row {i}, column {j}");
    }
    table.set(0, last, None).unwrap();
    table.flush(e).unwrap();
    plan.submit(e).unwrap();
    assert!(e.read::<f32>(&y).unwrap().iter().all(|v| *v == 0.0), "the page was sent away");
}

#[test]
fn noise_is_normal_and_independent() {
    let (e, _lock) = engine();
    let world = World::new(e, zeros);
    let side = 128;
    let records: Vec<_> = (0..4)
        .map(|k| PatchRecord::new(0, [256.0; 2], 1.0, 0.0, false, side).unwrap().with_rng(5 + k % 2, k / 2).with_noise(2.0))
        .collect();
    let got = world.gpu(e, &records, 1, true, side);
    let n = (got.len() / 4) as f64;
    let at = |p: usize, b: usize| f64::from(got[p * 4 + b]) / 2.0;
    let mean = |f: &dyn Fn(usize) -> f64| (0..got.len() / 4).map(f).sum::<f64>() / n;
    let bound = 4.5 / n.sqrt();
    for b in 0..3 {
        assert!(mean(&|p| at(p, b)).abs() < bound);
        assert!((mean(&|p| at(p, b).powi(2)) - 1.0).abs() < 1.5 * bound);
        // A sum of twelve uniforms has a fourth moment of 2.9.
        assert!((mean(&|p| at(p, b).powi(4)) - 2.9).abs() < 10.0 * bound);
        let last = got.len() / 4;
        for far in [1, side, side * side, 2 * side * side] {
            let c = mean(&|p| at(p, b) * at((p + far) % last, b));
            assert!(c.abs() < bound, "band {b}, {far} pixels on: correlation {c}");
        }
        let c = mean(&|p| at(p, b) * at(p, (b + 1) % 3));
        assert!(c.abs() < bound, "bands {b} and {}: correlation {c}", (b + 1) % 3);
    }
}

#[test]
fn speckle_has_the_looks_asked_for() {
    let (e, _lock) = engine();
    let world = World::new(e, zeros);
    let side = 128;
    for looks in [1u32, 2, 4, 7, 16] {
        let record = PatchRecord::new(0, [256.0; 2], 1.0, 0.0, false, side).unwrap().with_rng(9, looks).with_speckle(looks, 5.0);
        let got = world.gpu(e, &[record], 1, true, side);
        let intensity: Vec<f64> = got.chunks(4).flat_map(|v| v[..3].to_vec()).map(|v| 10f64.powf(f64::from(v) * 5.0 / 10.0)).collect();
        let n = intensity.len() as f64;
        let mean = intensity.iter().sum::<f64>() / n;
        let variance = intensity.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let want = 1.0 / f64::from(looks);
        assert!((mean - 1.0).abs() < 4.5 * (want / n).sqrt(), "{looks} looks: mean {mean}");
        // The variance of a gamma's sample variance: (2 + 6 / L) / (L^2 n).
        assert!((variance - want).abs() < 4.5 * want * ((2.0 + 6.0 * want) / n).sqrt(), "{looks} looks: variance {variance}");
    }
}

#[test]
fn validity_is_the_share_of_the_taps() {
    let (e, _lock) = engine();
    let world = World::new(e, zeros);
    let two = PatchRecord::new(1, [0.0, 10.0], 2.0, 0.0, false, 1).unwrap();
    assert_eq!(world.gpu(e, &[two], 2, false, 1), [0.0, 0.0, 0.0, 0.5]);
    let quarter = PatchRecord::new(1, [-0.25, 10.5], 1.0, 0.0, false, 1).unwrap();
    assert_eq!(world.gpu(e, &[quarter], 1, false, 1), [0.0, 0.0, 0.0, 0.25]);
}

#[test]
fn taps_follow_the_scale() {
    let got = [0.3, 1.0, 1.01, 2.0, 3.125, 8.0, 100.0].map(kernel::taps_for);
    assert_eq!(got, [1, 1, 2, 2, 4, 8, 8]);
}

/// Every variant passes naga, and the shader's record is the host's.
#[test]
fn layouts_agree() {
    for v in kernel::variants() {
        let r = reflect("sampler", &v.to_string(), &expand(&kernel::SHADER, &v).unwrap()).unwrap();
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty()).validate(&r.module).unwrap();
        let (_, record) = r.module.types.iter().find(|(_, t)| t.name.as_deref() == Some("Record")).unwrap();
        let naga::TypeInner::Struct { members, span } = &record.inner else { panic!("not a struct") };
        assert_eq!(*span as usize, size_of::<PatchRecord>());
        let place = |name: &str| members.iter().find(|m| m.name.as_deref() == Some(name)).unwrap().offset as usize;
        for (name, want) in [
            ("sub", std::mem::offset_of!(PatchRecord, sub)),
            ("affine", std::mem::offset_of!(PatchRecord, affine)),
            ("flags", std::mem::offset_of!(PatchRecord, flags)),
            ("stream", std::mem::offset_of!(PatchRecord, stream)),
            ("speckle", std::mem::offset_of!(PatchRecord, speckle)),
            ("onto", std::mem::offset_of!(PatchRecord, onto)),
            ("part", std::mem::offset_of!(PatchRecord, part)),
            ("colour", std::mem::offset_of!(PatchRecord, colour)),
        ] {
            assert_eq!(place(name), want, "{name}");
        }
    }
}

#[test]
fn refuses_with_a_reason() {
    let (engines, _lock) = engines();
    let [_, e] = engines;
    says(PageArray::new(e, 257).map(drop), "number of resident pages is 257, over this device's limit of 256; keep at most 256 pages");
    let pages = PageArray::new(e, 1).unwrap();
    says(PageTable::new(e, &pages, &[[5, 0]]).map(drop), "image 0 has 5 x 0 px");
    says(PageTable::new(e, &pages, &[[1 << 24, 1 << 24]]).map(drop), "open fewer scenes");
    let mut table = PageTable::new(e, &pages, &[[600, 20]]).unwrap();
    says(pages.write_page(e, 1, &[]), "layer 1 of an array of 1");
    says(pages.write_page(e, 0, &[]), "0 values for a page of 512 x 512 x 4");
    says(table.set(0, [2, 0], None), "page [2, 0] of image 0, which has 2 x 1");
    says(table.set(1, [0, 0], None), "image 1 of 1");
    says(PatchRecord::new(0, [f64::NAN, 0.0], 1.0, 0.0, false, 8).map(drop), "lies outside any image");
    says(
        PatchRecord::new(0, [0.0; 2], 64.1, 0.0, false, 128).map(drop),
        "a patch would span 8204.8 source pixels of at most 8192; use a smaller patch",
    );
    says(PatchRecord::new(0, [0.0; 2], f64::NAN, 0.0, false, 8).map(drop), "would span NaN");
    says(PatchRecord::new(0, [0.0; 2], 513.0, 0.0, false, 1).map(drop), "an output pixel would span 513.0 source pixels of at most 512");
    let records = kernel::records(e, 2).unwrap();
    let mut p = PlanBuilder::new(e);
    let mut go = |table: &PageTable, taps, y: &Tensor| kernel::forward(&mut p, &pages, table, &records, taps, false, y);
    says(go(&table, 1, &out(e, &[2, 8, 9, 4])), "[2, 8, 9, 4] of F32, expected [N, S, S, 4]");
    says(go(&table, 1, &e.tensor("y", &[2, 8, 8, 4], DType::U32).unwrap()), "of U32, expected");
    says(go(&table, 1, &out(e, &[3, 8, 8, 4])), "the records are 2 of U32, expected 3 or more of U32");
    says(go(&table, 9, &out(e, &[2, 8, 8, 4])), "9 taps, expected 1 to 8");
    says(table.set(0, [1, 0], Some(1)), "layer 1 of an array of 1");
    let larger = PageTable::new(e, &PageArray::new(e, 2).unwrap(), &[[600, 20]]).unwrap();
    says(go(&larger, 1, &out(e, &[2, 8, 8, 4])), "for an array of 2 layers, this one has 1");
}

/// Of a part of an output only the pages are asked for that it shows.
#[test]
fn parts_need_their_own_pages() {
    use echogrid::scene::{Image, OpenOptions, PageCache, SampleData, write_geotiff};
    let (engines, _lock) = engines();
    let dir = tempfile::tempdir().unwrap();
    let (path, side) = (dir.path().join("sar.tif"), 2048);
    let pixels: Vec<u8> = (0..side * side).map(|p: u32| 1 + (p % 251) as u8).collect();
    write_geotiff(&path, side, side, 1, SampleData::U8(&pixels), None, None, None).unwrap();
    let image = std::sync::Arc::new(Image::open_sar(&path, None, OpenOptions::default()).unwrap());
    let cache = PageCache::new(engines[0], vec![image], 4).unwrap();
    // 64 outputs of 32 pixels: the whole image, 4 x 4 pages.
    for turn in 0..4 {
        let whole = PatchRecord::new(0, [1024.0; 2], 32.0, f64::from(turn) * FRAC_PI_2, turn % 2 == 1, 64).unwrap();
        let quarter = |x, y| whole.onto(0, [x, y], [x + 24, y + 24]).unwrap();
        assert_eq!(cache.fitting(&[whole], 64), 0);
        // 768 pixels from a corner, and the border of a filter: 2 x 2 pages. About the middle: 3 x 3 at most, here 2 x 2.
        assert!([[0, 0], [40, 0], [0, 40], [40, 40]].iter().all(|[x, y]| cache.fitting(&[quarter(*x, *y)], 64) == 1));
        assert_eq!(cache.fitting(&[quarter(0, 0), quarter(40, 40)], 64), 1);
    }
}
