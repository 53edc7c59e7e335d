use super::super::{Fault, SceneOptions};
use super::*;
use crate::scene::{SampleData, write_geotiff};

/// Writes a grey or coloured image of one value that varies a little.
fn image(path: &Path, size: [u32; 2], bands: u32, base: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixels: Vec<u8> = (0..size[0] * size[1] * bands).map(|i| base + (i % 7) as u8).collect();
    write_geotiff(path, size[0], size[1], bands, SampleData::U8(&pixels), None, None, None).unwrap();
}

/// `n` pairs of 24 x 24 px, the i-th of value 10 i + 10 in SAR.
fn folders(dir: &Path, n: u8) -> (PathBuf, PathBuf) {
    let (sar, optical) = (dir.join("sar"), dir.join("opt"));
    for i in 0..n {
        image(&sar.join(format!("{i}.tif")), [24, 24], 1, 10 * i + 10);
        image(&optical.join(format!("{i}.tif")), [24, 24], 3, 10 * i + 15);
    }
    (sar, optical)
}

#[test]
fn equal_names_are_pairs_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let (sar, optical) = folders(dir.path(), 12);
    let set = PairSet::folders(&sar, &optical).unwrap();
    let names: Vec<&str> = set.pairs().iter().map(|p| &p.name[..]).collect();
    assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);
    assert_eq!((set.shortest_side(), set.own_pixel_m().unwrap()), (24, None));
    assert!(set.pairs().iter().all(|p| p.size == [24, 24] && p.sar.file_name() == p.optical.file_name()));
}

#[test]
fn one_folder_may_hold_both() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["1_sar", "1_opt", "10_sar", "10_opt", "2_sar", "2_optical", "readme"] {
        image(&dir.path().join(format!("{name}.tif")), [16, 16], 1, 40);
    }
    let set = PairSet::folders(dir.path(), dir.path()).unwrap();
    let names: Vec<&str> = set.pairs().iter().map(|p| &p.name[..]).collect();
    assert_eq!(names, ["1", "2", "10"]);
}

#[test]
fn what_does_not_fit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (sar, optical) = folders(dir.path(), 5);
    std::fs::remove_file(optical.join("1.tif")).unwrap();
    image(&optical.join("77.tif"), [24, 24], 3, 9);
    image(&optical.join("2.tif"), [24, 20], 3, 9);
    image(&sar.join("3.tif"), [24, 24], 2, 9);
    std::fs::write(sar.join("4.tif"), "no image").unwrap();
    let (set, faults) = PairSet::examine_folders(&sar, &optical).unwrap();
    assert_eq!(set.pairs().iter().map(|p| &p.name[..]).collect::<Vec<_>>(), ["0"]);
    let has = |f: fn(&Fault) -> bool| faults.0.iter().filter(|v| f(v)).count();
    assert_eq!(has(|f| matches!(f, Fault::NoPartner { .. })), 2);
    assert_eq!(has(|f| matches!(f, Fault::Sizes { sar_size: [24, 24], optical_size: [24, 20], .. })), 1);
    assert_eq!(has(|f| matches!(f, Fault::OtherType { is: (2, _), of_first: (1, _), .. })), 1);
    assert_eq!((has(|f| matches!(f, Fault::Unreadable(_))), faults.0.len()), (1, 5));
    let text = PairSet::folders(&sar, &optical).unwrap_err().to_string();
    for word in ["5 faults", "1.tif has no partner in", "77.tif has no partner", "24x24", "24x20", "2 bands of u8", "4.tif", "pairs check"]
    {
        assert!(text.contains(word), "`{word}` is not in {text}");
    }
    let many = Faults(vec![Fault::Unreadable("x".into()); 23]).to_string();
    assert!(many.starts_with("23 faults: x; x") && many.ends_with("and 13 more"), "{many}");
}

#[test]
fn folders_without_pairs_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let (sar, _) = folders(dir.path(), 2);
    let other = dir.path().join("other");
    image(&other.join("x.tif"), [24, 24], 1, 5);
    assert!(PairSet::folders(&sar, &other).unwrap_err().to_string().contains("no pair"));
    assert!(PairSet::folders(&sar, &dir.path().join("none")).unwrap_err().to_string().contains("is no folder"));
}

#[test]
fn a_table_names_files_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path(), 3);
    let table = dir.path().join("pairs.csv");
    let put = |text: &str| std::fs::write(&table, text).unwrap();
    put("split,sar,optical,name\ntrain,sar/0.tif,opt/0.tif,first\nval,sar/2.tif,opt/2.tif,\n");
    let set = PairSet::list(&table).unwrap();
    assert_eq!(set.pairs().iter().map(|p| &p.name[..]).collect::<Vec<_>>(), ["first", "2"]);
    assert_eq!((set.part(&["train"]).len(), set.part(&["VAL", "test"]).len(), set.part(&["other"]).len()), (1, 1, 0));
    put("radar,photo\na,b\n");
    assert!(PairSet::list(&table).unwrap_err().to_string().contains("`optical`"));
    put("sar,optical\nsar/0.tif,opt/0.tif\nsar/1.tif,\n");
    assert!(PairSet::list(&table).unwrap_err().to_string().contains("line 3 names no optical image"));
    put("sar,optical\nsar/0.tif,opt/9.tif\n");
    assert!(PairSet::list(&table).unwrap_err().to_string().contains("9.tif"));
    put("sar,optical\n");
    assert!(PairSet::list(&table).unwrap_err().to_string().contains("no pair"));
}

#[test]
fn parts_are_runs_of_numbers_with_a_neighbour_between() {
    let pair = |i: usize| Pair { name: i.to_string(), sar: "s".into(), optical: "o".into(), size: [9, 9], split: None };
    let set = PairSet { pairs: (0..100).map(pair).collect() };
    let numbers = |s: &PairSet| s.pairs().iter().map(|p| p.name.parse::<usize>().unwrap()).collect::<Vec<_>>();
    let (train, val) = set.split(0.2, 1);
    assert_eq!((numbers(&train), numbers(&val)), ((0..79).collect(), (80..100).collect()));
    let (train, val) = set.split(0.2, 4);
    let held = |i: usize| i % 25 >= 20;
    let beside = |i: usize| i % 25 == 19 || i > 0 && i.is_multiple_of(25);
    assert_eq!(numbers(&val), (0..100).filter(|i| held(*i)).collect::<Vec<_>>());
    assert_eq!(numbers(&train), (0..100).filter(|i| !(held(*i) || beside(*i))).collect::<Vec<_>>());
    let two = PairSet { pairs: (0..2).map(pair).collect() };
    let (train, val) = two.split(0.5, 1);
    assert_eq!((train.len(), val.len()), (0, 1));
    assert_eq!(PairSet::default().split(0.5, 3), (PairSet::default(), PairSet::default()));
}

#[test]
fn a_scene_shows_every_pair_at_its_place_and_nothing_between() {
    let dir = tempfile::tempdir().unwrap();
    let (sar, optical) = folders(dir.path(), 7);
    let set = PairSet::folders(&sar, &optical).unwrap();
    let scene = set.scene(10.0).unwrap();
    assert_eq!(scene.places.len(), 7);
    let (map, radar) = (&scene.pair.map.raster, &scene.pair.sar.raster);
    assert_eq!(([map.width(), map.height()], map.bands(), radar.bands()), ([radar.width(), radar.height()], 3, 1));
    let mut inside = 0;
    for (place, i) in scene.places.iter().zip(0u8..) {
        let window = radar.read_window(i64::from(place.x), i64::from(place.y), place.width, place.height).unwrap();
        assert!(window.valid.iter().all(|v| *v != 0) && window.data[0] == f32::from(10 * i + 10), "{place:?}");
        inside += window.valid.len();
        // A patch over the whole pair has data, one that lies half beside it has not.
        let middle = [f64::from(place.x) + 12.0, f64::from(place.y) + 12.0];
        assert!((scene.pair.map_share(middle, 24.0) - 1.0).abs() < 1e-9);
        assert!((scene.pair.sar_share(middle, 24.0).unwrap() - 1.0).abs() < 1e-4);
        assert!(scene.pair.map_share([middle[0] + 8.0, middle[1]], 24.0) < 0.7);
    }
    assert_eq!(scene.incomplete(), [0, 0]);
    let whole = radar.read_window(0, 0, radar.width(), radar.height()).unwrap();
    assert_eq!(whole.valid.iter().filter(|v| **v != 0).count(), inside);
    let metres = map.ground_pixel_size().unwrap().0;
    assert!((metres - 10.0).abs() < 1e-3, "{metres}");
    // An area of 0 is no data where nothing is said.
    let mut pixels = vec![50u8; 24 * 24 * 3];
    pixels[..24 * 10 * 3].fill(0);
    write_geotiff(optical.join("3.tif"), 24, 24, 3, SampleData::U8(&pixels), None, None, None).unwrap();
    assert_eq!(set.scene(10.0).unwrap().incomplete(), [0, 1]);
    // On a lattice every pair begins where a cell may.
    let on = set.scene_with(&SceneOptions { lattice: 50, ..SceneOptions::new(1.0) }).unwrap();
    assert!(on.places.iter().all(|p| p.x % 50 == 0 && p.y % 50 == 0));
    assert!(PairSet::default().scene(1.0).unwrap_err().to_string().contains("no pair"));
}
