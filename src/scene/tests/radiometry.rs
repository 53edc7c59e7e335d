//! Radiometry and standardisation.

use super::*;

#[test]
fn radiometry_standardises() {
    let dir = folder();
    let path = dir.path().join("sar.tif");
    let (w, h) = (300u32, 280u32);
    // Values 1..=1000 evenly, as intensity, amplitude and decibels of one scene.
    let power: Vec<f32> = (0..w * h).map(|p| ((p * 7919) % 1000 + 1) as f32 / 2000.0).collect();
    let open = |data: &[f32]| {
        write_geotiff(&path, w, h, 1, SampleData::F32(data), None, None, None).unwrap();
        Raster::open(&path).unwrap()
    };
    let mut seen = Vec::new();
    for unit in [SarUnit::Intensity, SarUnit::Amplitude, SarUnit::Decibel] {
        let data: Vec<f32> = power
            .iter()
            .map(|&p| match unit {
                SarUnit::Intensity => p,
                SarUnit::Amplitude => 300.0 * p.sqrt(),
                SarUnit::Decibel => 10.0 * p.log10(),
            })
            .collect();
        let raster = open(&data);
        assert_eq!(SarUnit::guess(&raster).unwrap(), unit);
        let radiometry = Radiometry::sar(&raster, None).unwrap();
        let stats = Standardisation::measure(&raster, radiometry).unwrap();
        assert_eq!(stats.samples, u64::from(w * h));
        assert_eq!(stats, Standardisation::measure(&raster, radiometry).unwrap());
        let text = serde_json::to_string(&stats).unwrap();
        assert_eq!(serde_json::from_str::<Standardisation>(&text).unwrap(), stats);
        let window = raster.read_window(-2, 5, 40, 40).unwrap();
        let out = stats.apply(&window);
        assert!(out.iter().all(|v| v.abs() <= rad::CLIP));
        assert_eq!(out[0], 0.0, "outside the raster");
        seen.push(out);
    }
    for other in &seen[1..] {
        let worst = seen[0].iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "the unit must not change the standardised scene: {worst}");
    }
    // Quartiles of 1..=1000 in decibels.
    let raster = open(&power);
    let stats = Standardisation::measure(&raster, Radiometry::sar(&raster, Some(SarUnit::Intensity)).unwrap()).unwrap();
    assert!((stats.median[0] - 10.0 * 0.25f32.log10()).abs() < 0.05);
    assert!((stats.scale[0] - 10.0 * 3f32.log10() / 1.349).abs() < 0.05);

    let bytes: Vec<u8> = (0..w * h).map(|p| (p % 255 + 1) as u8).collect();
    write_geotiff(&path, w, h, 1, SampleData::U8(&bytes), None, None, None).unwrap();
    let raster = Raster::open(&path).unwrap();
    let sar = Radiometry::sar(&raster, None).unwrap();
    assert_eq!(sar, Radiometry::Sar { unit: SarUnit::Amplitude, offset: 1.0 });
    assert_eq!(sar.scale(9.0), 20.0);
    let constant = vec![7u8; (w * h) as usize];
    write_geotiff(&path, w, h, 1, SampleData::U8(&constant), None, None, None).unwrap();
    let stats = Standardisation::measure(&Raster::open(&path).unwrap(), Radiometry::Optical).unwrap();
    assert_eq!((stats.median[0], stats.scale[0]), (7.0, 1.0));
}
