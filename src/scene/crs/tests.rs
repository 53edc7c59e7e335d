//! Systems against PROJ.

use super::*;

/// See its head.
const SAMPLES: &str = include_str!("samples.tsv");

/// A system, a place in it and its coordinates there.
type Sample = (&'static str, (f64, f64), (f64, f64));

fn samples() -> impl Iterator<Item = Sample> {
    SAMPLES.lines().filter(|l| !l.starts_with("# ")).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let v: Vec<f64> = fields[1..].iter().map(|f| f.parse().unwrap()).collect();
        (fields[0], (v[0], v[1]), (v[2], v[3]))
    })
}

fn text(definition: &str) -> Crs {
    Crs::from_text(definition).unwrap_or_else(|e| panic!("{definition}: {e}"))
}

fn refusal(result: Result<Crs>) -> String {
    result.map_or_else(|e| e.to_string(), |crs| panic!("{crs:?} is taken"))
}

/// Metres by which a system misses a sample, there and back.
fn miss(crs: &Crs, place: (f64, f64), point: (f64, f64)) -> f64 {
    let there = crs.from_lonlat(place.0, place.1).unwrap_or_else(|e| panic!("{crs:?}: {e}"));
    let back = crs.to_lonlat(point.0, point.1).unwrap_or_else(|e| panic!("{crs:?}: {e}"));
    let (mx, my) = crs.meters_per_unit_at(point.0, point.1).unwrap();
    let forward = ((there.0 - point.0) * mx).hypot((there.1 - point.1) * my);
    forward.max(lonlat_distance_m(back, place))
}

#[test]
fn codes_texts_and_keys_against_proj() {
    let mut wrong = Vec::new();
    for (name, place, point) in samples() {
        match system_of(name) {
            Ok(crs) => {
                let off = miss(&crs, place, point);
                if off > 10.0 {
                    wrong.push(format!("{off:.1} m: {name}"));
                }
            }
            Err(e) => wrong.push(format!("{name}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn modern_datums_to_the_millimetre() {
    for code in [27700, 2154, 3035, 3031, 3413, 3995, 6933, 2263, 4326, 2193, 3857, 3395, 2048, 32611, 32733, 25832, 3006, 5070, 3978] {
        let (_, place, point) = samples().find(|(name, ..)| *name == format!("EPSG:{code}")).unwrap();
        let off = miss(&Crs::from_epsg(code).unwrap(), place, point);
        assert!(off < 2e-3, "EPSG:{code}: {off} m");
    }
}

#[test]
fn definitions_and_keys_round_trip() {
    let mut written = 0;
    for (name, place, point) in samples() {
        let crs = system_of(name).unwrap();
        let again = text(crs.definition());
        assert_eq!(again, crs);
        assert_eq!((again.epsg(), again.is_geographic()), (crs.epsg(), crs.is_geographic()));
        let off = miss(&again, crs.to_lonlat(point.0, point.1).unwrap(), point);
        assert!(off < 0.05, "{name}: {off} m by its definition");
        let Ok(tags) = crs.geo_keys() else { continue };
        written += 1;
        assert!(tags.directory[4..].as_chunks::<4>().0.is_sorted_by_key(|k| k[0]) && tags.ascii.is_ascii());
        let directory: Vec<u64> = tags.directory.iter().map(|v| u64::from(*v)).collect();
        let keys = GeoKeys::parse(&directory, &tags.doubles, &tags.ascii);
        let read = keys.crs().unwrap().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(!keys.pixel_is_point && read.is_geographic() == crs.is_geographic());
        assert!(crs.epsg().is_none_or(|code| read.epsg() == Some(code)), "{name}");
        let there = crs.from_lonlat(place.0, place.1).unwrap();
        let off = miss(&read, crs.to_lonlat(there.0, there.1).unwrap(), there);
        assert!(off < 0.05, "{name}: {off} m by its keys");
    }
    assert!(written > 140, "{written}");
}

#[test]
fn refusals_name_the_reason() {
    let refused = |definition: &str, words: &[&str]| {
        let message = refusal(system_of(definition));
        assert!(words.iter().all(|w| message.contains(w)) && message.contains("gdalwarp"), "{definition}: {message}");
    };
    for (code, words) in [
        (0, &["not in the built-in table"][..]),
        (70_000, &["not in the built-in table"]),
        (4978, &["geocentric"]),
        (4267, &["datum North American Datum 1927", "region"]),
        (2327, &["datum Xian 1980"]),
        (4610, &["datum Xian 1980"]),
        (5513, &["axes run south and west"]),
        (2065, &["axes"]),
        (3167, &["unit"]),
        (27200, &["nzmg"]),
    ] {
        refused(&format!("EPSG:{code}"), &[&[format!("EPSG:{code}").as_str()][..], words].concat());
    }
    refused("", &["(empty)"]);
    refused("WGS 84 / UTM zone 11N", &["neither EPSG:nnnn"]);
    refused("+proj=utm +zone=32 +ellps=intl", &["datum"]);
    refused("+proj=utm +zone=61 +datum=WGS84", &["zone 61"]);
    refused("+proj=utm +zone=32 +datum=NAD27", &["datum", "region"]);
    refused("+proj=tmerc +ellps=bessel +nadgrids=BETA2007.gsb", &["datum", "BETA2007.gsb"]);
    refused("+proj=vandg +datum=WGS84", &["vandg"]);
    refused("+proj=laea +lat_0=10 +axis=neu +sweep=x +datum=WGS84", &["+sweep"]);
    refused("+proj=merc +axis=esu +datum=WGS84", &["axes"]);
    refused("+proj=tmerc +units=ells +datum=WGS84", &["unit"]);
    let wkt = |datum: &str, projection: &str, more: &str| {
        format!(
            "PROJCS[\"mine\",GEOGCS[\"base\",DATUM[{datum}],PRIMEM[\"Greenwich\",0],UNIT[\"degree\",0.0174532925199433]],\
             PROJECTION[\"{projection}\"]{more},UNIT[\"metre\",1]]"
        )
    };
    const BESSEL: &str = "\"Here 1907\",SPHEROID[\"Bessel 1841\",6377397.155,299.1528128]";
    const MODERN: &str = "\"D_WGS_1984\",SPHEROID[\"WGS_1984\",6378137,298.257223563]";
    refused(&wkt(BESSEL, "Transverse_Mercator", ""), &["mine", "datum Here 1907"]);
    refused(&wkt(MODERN, "Aitoff", ""), &["Aitoff"]);
    refused(&wkt(MODERN, "Transverse_Mercator", ",PARAMETER[\"skew\",3]"), &["skew"]);
    refused(&wkt(MODERN, "Transverse_Mercator", ",AXIS[\"X\",SOUTH],AXIS[\"Y\",WEST]"), &["axes"]);
    refused(&wkt(&MODERN.replace("6378137,", "6377397,"), "Sinusoidal", ""), &["datum", "another ellipsoid"]);
    refused(&wkt(MODERN, "Sinusoidal", "").replace(",UNIT[\"metre\",1]", ""), &["unit"]);
    assert!(Crs::from_text(&wkt(MODERN, "Sinusoidal", "")).is_ok());
    // Damaged texts end in messages.
    let whole = wkt(MODERN, "Sinusoidal", ",PARAMETER[\"central_meridian\",10]");
    for end in 0..whole.len() {
        assert!(Crs::from_text(&whole[..end]).is_err());
    }
    refused(&"A[".repeat(100_000), &["deep"]);
    refused("LOCAL_CS[\"site\",UNIT[\"metre\",1]]", &["LOCAL_CS"]);
    refused("GEOCCS[\"g\",DATUM[\"WGS_1984\",SPHEROID[\"WGS 84\",6378137,298.257223563]]]", &["geocentric"]);
}

#[test]
fn ways_to_name_a_code() {
    for name in [
        "EPSG:32611",
        " epsg : 32611 \r\n",
        "\u{feff}EPSG:32611\0",
        "urn:ogc:def:crs:EPSG::32611",
        "urn:ogc:def:crs:EPSG:9.8.6:32611",
        "+init=epsg:32611",
        "EPSG::32611",
    ] {
        assert_eq!(text(name).epsg(), Some(32611), "{name}");
    }
    let crs = text("EPSG:3395");
    assert_eq!((crs.name(), crs.definition()), ("WGS 84 / World Mercator", "EPSG:3395"));
    assert_eq!(format!("{crs:?}"), "EPSG:3395 (WGS 84 / World Mercator)");
    assert_ne!(crs, text("EPSG:3857"));
    // The root's own code counts, not that of its parts; a shift that the text states wins.
    let wkt = |id: &str, shift: &str| {
        format!(
            "PROJCS[\"DHDN / 3\",GEOGCS[\"DHDN\",DATUM[\"Deutsches_Hauptdreiecksnetz\",SPHEROID[\"Bessel 1841\",6377397.155,299.1528128],{shift}\
             AUTHORITY[\"EPSG\",\"6314\"]],PRIMEM[\"Greenwich\",0],UNIT[\"degree\",0.0174532925199433,AUTHORITY[\"EPSG\",\"9122\"]],\
             AUTHORITY[\"EPSG\",\"4314\"]],PROJECTION[\"Transverse_Mercator\"],PARAMETER[\"central_meridian\",9],\
             PARAMETER[\"scale_factor\",1],PARAMETER[\"false_easting\",3500000],UNIT[\"metre\",1,AUTHORITY[\"EPSG\",\"9001\"]]{id}]"
        )
    };
    let by_parameters = text(&wkt("", ""));
    assert_eq!(by_parameters.epsg(), None);
    let by_code = text(&wkt(",AUTHORITY[\"EPSG\",\"31467\"]", ""));
    assert_eq!(by_code.epsg(), Some(31467));
    let (x, y) = by_code.from_lonlat(9.2, 49.3).unwrap();
    assert!(by_parameters.to_lonlat(x, y).is_ok_and(|p| lonlat_distance_m(p, (9.2, 49.3)) < 1e-3));
    let shifted = text(&wkt(",AUTHORITY[\"EPSG\",\"31467\"]", "TOWGS84[698.1,73.7,418.2,0.202,0.045,-2.455,6.7],"));
    let there = shifted.from_lonlat(9.2, 49.3).unwrap();
    assert!((there.0 - x).hypot(there.1 - y) > 50.0 && shifted.epsg().is_none());
    // A code that the table does not hold leaves the parameters.
    assert!(text(&wkt(",AUTHORITY[\"EPSG\",\"60999\"]", "")).to_lonlat(x, y).is_ok());
}

#[test]
fn keys_without_a_code() {
    const BAR: &str = "";
    let keys = |list: &[(u64, u64)]| {
        let mut directory = vec![1, 1, 0, list.len() as u64];
        list.iter().for_each(|(k, v)| directory.extend([*k, 0, 1, *v]));
        GeoKeys::parse(&directory, &[], BAR)
    };
    // A base system's code is not that of a projected file.
    let message = refusal(keys(&[(1024, 1), (2048, 4326), (3072, 32767)]).crs().unwrap());
    assert!(message.contains("ProjMethodGeoKey"), "{message}");
    let message = refusal(keys(&[(1024, 1), (2048, 4326)]).crs().unwrap());
    assert!(message.contains("ProjectedCRSGeoKey"), "{message}");
    // UTM zone 11 north and 33 south by their conversions; one that is not known; one in feet.
    for (code, conversion) in [(32611, 16011), (32733, 16133)] {
        let crs = keys(&[(1024, 1), (2048, 4326), (3072, 32767), (3074, conversion)]).crs().unwrap().unwrap();
        let (_, place, point) = samples().find(|(name, ..)| *name == format!("EPSG:{code}")).unwrap();
        assert!(miss(&crs, place, point) < 2e-3);
    }
    let crs = keys(&[(1024, 1), (2048, 4269), (3072, 32767), (3074, 15311), (3076, 9003)]).crs().unwrap().unwrap();
    let (_, place, point) = samples().find(|(name, ..)| *name == "EPSG:2229").unwrap();
    assert!(miss(&crs, place, point) < 2e-3);
    let message = refusal(keys(&[(1024, 1), (2048, 4326), (3072, 32767), (3074, 9)]).crs().unwrap());
    assert!(message.contains("ProjectionGeoKey") && message.contains("EPSG"), "{message}");
    // Others.
    assert!(keys(&[]).crs().is_none() && keys(&[(1025, 2)]).pixel_is_point);
    assert_eq!(keys(&[(1024, 2), (2048, 4326), (4096, 5703)]).crs().unwrap().unwrap().epsg(), Some(4326));
    assert_eq!(keys(&[(2048, 4326)]).crs().unwrap().unwrap().epsg(), Some(4326));
    assert_eq!(keys(&[(3072, 32611)]).crs().unwrap().unwrap().epsg(), Some(32611));
    for (list, word) in [
        (&[(1024, 3), (2048, 4978)][..], "geocentric"),
        (&[(1024, 1), (3072, 32611), (3076, 9002)], "unit"),
        (&[(1024, 1), (3072, 32611), (3076, 9999)], "unit"),
        (&[(1024, 1), (2050, 32767), (3075, 1)], "datum"),
        (&[(1024, 1), (2050, 6267), (3075, 1)], "datum"),
        (&[(1024, 1), (2048, 4326), (3075, 25)], "method 25"),
        (&[(1024, 2), (2050, 6999), (2056, 7004)], "datum"),
        (&[(1024, 2), (2048, 4326), (2054, 9105)], "unit"),
    ] {
        let message = refusal(keys(list).crs().unwrap());
        assert!(message.contains(word), "{list:?}: {message}");
    }
    // Counts and places that lead outside.
    assert!(GeoKeys::parse(&[1, 1, 0, 9, 1026, 34737, 60_000, 60_000, 2057, 34736, 5, 65_535, 3072], &[1.0], "x|").crs().is_none());
}

#[test]
fn longitudes_and_edges() {
    let crs = text("EPSG:4326");
    let (a, b) = (crs.to_lonlat(350.0, 10.0).unwrap(), crs.to_lonlat(-10.0, 10.0).unwrap());
    assert!((a.0 - b.0).abs() < 1e-12 && (a.1 - b.1).abs() < 1e-12 && (b.0 + 10.0).abs() < 1e-12);
    assert!((text("EPSG:32611").from_lonlat(242.5, 34.25).unwrap().0 - 453_961.575_582).abs() < 1e-3);
    let paris = text("EPSG:4807");
    let (lon, lat) = paris.to_lonlat(0.0, 50.0).unwrap();
    assert!((lon - 2.3372).abs() < 2e-3 && (lat - 45.0).abs() < 2e-3, "{lon} {lat}");
    let (east, north) = paris.meters_per_unit_at(0.0, 50.0).unwrap();
    assert!((north / 100_000.0 - 1.0).abs() < 0.01 && (east / 70_900.0 - 1.0).abs() < 0.01, "{east} {north}");
    for (x, y) in [(f64::NAN, 0.0), (0.0, 91.0), (1000.0, 0.0), (0.0, f64::INFINITY)] {
        let message = crs.to_lonlat(x, y).unwrap_err().to_string();
        assert!(message.contains("EPSG:4326") && message.contains("check the georeference"), "{message}");
    }
    assert!(text("EPSG:3395").from_lonlat(0.0, 90.0).is_err());
    // Corners around a round map are no places.
    let round = text("+proj=moll +datum=WGS84");
    assert!(round.to_lonlat(17_900_000.0, 1000.0).is_ok() && round.to_lonlat(17_000_000.0, 8_500_000.0).is_err());
    assert!(text("+proj=eqearth +datum=WGS84").to_lonlat(17_000_000.0, 8_000_000.0).is_err());
    let (x, y) = round.from_lonlat(179.999_999_9, 10.0).unwrap();
    let seam = round.to_lonlat(x, y).unwrap();
    assert!((seam.0.abs() - 180.0).abs() < 1e-6, "{seam:?}");
    assert!(text("+proj=sinu +R=6371007.181").to_lonlat(20_000_000.0, 8_000_000.0).is_err());
    assert!(text("+proj=laea +lat_0=40 +lon_0=10 +datum=WGS84").from_lonlat(-170.0, -40.0).is_err());
    // A datum whose shift is known in parts of the area alone.
    let message = text("EPSG:21413").from_lonlat(75.1, 37.2).unwrap_err().to_string();
    assert!(message.contains("datum") && message.contains("EPSG:21413"), "{message}");
}

/// A system by its text, or by GeoTIFF's three tags after `KEYS `, a list of lists as in JSON.
fn system_of(text: &str) -> Result<Crs> {
    let Some(keys) = text.strip_prefix("KEYS ") else { return Crs::from_text(text) };
    let (directory, doubles, ascii): (Vec<u64>, Vec<f64>, String) = serde_json::from_str(keys).unwrap();
    GeoKeys::parse(&directory, &doubles, &ascii).crs().unwrap_or_else(|| Err(unknown("keys", "no system")))
}

/// Not a test but the way of `studies/crs_sweep.py` into this module: lines of system, longitude, latitude, x and y between tabs in the
/// file `$ECHOGRID_CRS_POINTS`; beside it, with `.out` added, x and y of the place, longitude and latitude of the point, or `!` and the error.
#[test]
#[ignore = "reads points from a file"]
fn crs_sweep() {
    let Some(path) = std::env::var_os("ECHOGRID_CRS_POINTS") else { return };
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut out, mut last) = (String::new(), None);
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let v: Vec<f64> = fields[1..].iter().map(|f| f.parse().unwrap()).collect();
        if last.as_ref().is_none_or(|(name, _)| *name != fields[0]) {
            last = Some((fields[0], system_of(fields[0])));
        }
        let Some((_, system)) = &last else { unreachable!() };
        let found = system.as_ref().map_err(ToString::to_string).map(|crs| {
            let forward = crs.from_lonlat(v[0], v[1]).map_err(|e| e.to_string());
            let inverse = crs.to_lonlat(v[2], v[3]).map_err(|e| e.to_string());
            let show =
                |p: std::result::Result<(f64, f64), String>| p.map_or_else(|e| format!("! {e}"), |p| format!("{:?}\t{:?}", p.0, p.1));
            let keys = crs.geo_keys().map_or_else(|e| format!("! {e}"), |k| format!("[{:?},{:?},{:?}]", k.directory, k.doubles, k.ascii));
            format!("{}\t{}\t{keys}", show(forward), show(inverse))
        });
        out += &found.unwrap_or_else(|e| format!("! {e}"));
        out.push('\n');
    }
    let mut to = path;
    to.push(".out");
    std::fs::write(to, out).unwrap();
}

#[test]
fn damaged_keys_and_texts_are_errors() {
    // Samples with characters and numbers replaced: whatever comes of them, nothing panics or runs on.
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let strange = ['[', ']', '"', ',', '9', '-', 'e', '\u{e9}', '(', ' '];
    let mut taken = 0;
    for (name, place, point) in samples() {
        for _ in 0..6 {
            let system = if let Some(keys) = name.strip_prefix("KEYS ") {
                let (mut directory, doubles, ascii): (Vec<u64>, Vec<f64>, String) = serde_json::from_str(keys).unwrap();
                let at = random(directory.len());
                directory[at] = [0, 1, 2, 7, 2048, 3072, 32_767, 34_736, 34_737, 65_535][random(10)];
                GeoKeys::parse(&directory, &doubles, &ascii).crs().unwrap_or_else(|| Err(unknown("keys", "no system")))
            } else {
                let mut text: Vec<char> = name.chars().collect();
                let at = random(text.len());
                text[at] = strange[random(strange.len())];
                Crs::from_text(&text.iter().collect::<String>())
            };
            let Ok(crs) = system else { continue };
            taken += 1;
            // Errors are as good as results here.
            _ = (crs.from_lonlat(place.0, place.1), crs.to_lonlat(point.0, point.1), crs.geo_keys());
            assert_eq!(text(crs.definition()), crs, "{name}");
        }
    }
    assert!(taken > 50, "{taken}");
}
