use super::*;
use sha2::{Digest, Sha256};

fn small(seed: u64, size: u32) -> SynthScene {
    generate(&SynthConfig { seed, size, ..SynthConfig::default() })
}

fn digest(scene: &SynthScene) -> String {
    let mut hash = Sha256::new();
    hash.update(&scene.optical);
    hash.update(&scene.sar);
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_seed_is_reproducible() {
    let one = small(7, 160);
    assert_eq!(one, small(7, 160));
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one, single.install(|| small(7, 160)));
    assert_ne!(digest(&one), digest(&small(8, 160)));
    // The same on every machine; changes with the city's design.
    assert_eq!(digest(&one), "7559fd827b663b931532a3505a8dc59e30d0d2e15517e6835a6c6f96720199df");
}

#[test]
fn every_pixel_is_valid() {
    let scene = small(3, 300);
    assert_eq!(scene.optical.len(), 300 * 300 * 3);
    assert_eq!(scene.sar.len(), 300 * 300);
    assert!(scene.optical.iter().chain(&scene.sar).all(|&v| v > 0));
    assert!(scene.height_m.iter().all(|h| h.is_finite()));
}

#[test]
fn any_size_works() {
    for size in [0, 1, 2, 3, 17, 101] {
        let scene = small(5, size);
        assert_eq!(scene.sar.len(), (size * size) as usize);
        assert!(scene.sar.iter().all(|&v| v > 0));
    }
    let coarse = generate(&SynthConfig { size: 33, pixel_m: 120.0, looks: 0, ..SynthConfig::default() });
    assert_eq!(coarse.optical.len(), 33 * 33 * 3);
}

/// One range line over flat ground with a tower on pixels 60 to 62.
fn tower_line(height: f32, incidence: f64, pixel_m: f32, hill: f32) -> Vec<f32> {
    let terrain = vec![hill; 160];
    let mut object = vec![0.0; 160];
    object[60..63].fill(height);
    let surface = sar::Surface { width: 160, pixel_m, terrain: &terrain, object: &object, sigma: &[0.05; 160], bounce: &[1.0; 160] };
    let mut line = vec![0.0; 160];
    sar::range_line(&surface, 0, sar::cotangent(incidence), &mut line);
    line
}

#[test]
fn a_tower_leans_to_the_sensor_and_casts_a_shadow() {
    for (height, incidence, pixel_m) in [(90.0, 35.0, 10.0), (150.0, 45.0, 10.0), (60.0, 25.0, 5.0)] {
        for hill in [0.0, 80.0] {
            let line = tower_line(height, incidence, pixel_m, hill);
            let tan = incidence.to_radians().tan() as f32;
            // The nearest return is that of the top of the facing wall.
            let first = line.iter().position(|v| (v - 0.05).abs() > 1e-3).unwrap() as f32;
            let expected = 60.0 - height / tan / pixel_m;
            assert!((first - expected).abs() <= 1.0, "layover from {first}, expected {expected}");
            // The corner at the wall's foot is the brightest.
            let brightest = (0..160).max_by(|&a, &b| line[a].total_cmp(&line[b])).unwrap();
            assert!((59..=60).contains(&brightest), "brightest at {brightest}");
            // Nothing returns from the shadow, which begins behind the foot of the facing wall (the roof has moved) and
            // ends where the ray over the far edge of the roof lands.
            let last = (0..160).rev().find(|&i| line[i] < 0.5 * 0.05).unwrap() as f32 + 1.0;
            let expected = 63.0 + height * tan / pixel_m;
            assert!((last - expected).abs() <= 1.0, "shadow to {last}, expected {expected}");
            assert!(line[63..last as usize - 1].iter().all(|&v| v == 0.0));
            assert!(line[last as usize + 1..].iter().all(|v| (v - 0.05).abs() < 1e-4));
        }
    }
}

#[test]
fn flat_ground_keeps_its_backscatter() {
    let line = tower_line(0.0, 35.0, 10.0, 0.0);
    assert!(line.iter().all(|v| (v - 0.05).abs() < 1e-6));
    assert!((sar::cotangent(35.0) - 1.428_148).abs() < 1e-5);
}

#[test]
fn slopes_to_the_sensor_are_brighter() {
    let terrain: Vec<f32> = (0..200i32).map(|i| 2.0 * (100 - (i - 100).abs()) as f32).collect();
    let surface =
        sar::Surface { width: 200, pixel_m: 10.0, terrain: &terrain, object: &[0.0; 200], sigma: &[0.05; 200], bounce: &[0.0; 200] };
    let mut line = vec![0.0; 200];
    sar::range_line(&surface, 0, sar::cotangent(35.0), &mut line);
    assert!(line[50] > 0.055 && line[150] < 0.045 && line[150] > 0.0, "{} {}", line[50], line[150]);
}

#[test]
fn speckle_has_the_looks_asked_for() {
    let n = 256;
    for looks in [1, 4, 9] {
        let image = sar::detect(&vec![0.06; n * n], n, looks, 99);
        let intensity: Vec<f64> = image.iter().map(|&v| f64::from(v) * f64::from(v)).collect();
        let mean = intensity.iter().sum::<f64>() / intensity.len() as f64;
        let variance = intensity.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / intensity.len() as f64;
        let variation = variance.sqrt() / mean;
        let expected = 1.0 / f64::from(looks).sqrt();
        assert!((variation / expected - 1.0).abs() < 0.10, "{looks} looks: {variation}, expected {expected}");
    }
}

#[test]
fn the_logarithm_is_accurate() {
    for k in 1..2000 {
        let v = k as f32 / 2000.0;
        assert!((noise::ln(v) - v.ln()).abs() < 3e-6 * (1.0 + v.ln().abs()));
    }
}

/// Writes pictures to look at: `SYNTH_LOOK=dir cargo test --release --lib synth::tests::look -- --ignored --nocapture`
#[test]
#[ignore = "writes pictures for a person to look at"]
fn look() {
    let dir = std::env::var("SYNTH_LOOK").unwrap_or_else(|_| "/tmp/synth-look".into());
    let seed = std::env::var("SYNTH_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let size = std::env::var("SYNTH_SIZE").ok().and_then(|s| s.parse().ok()).unwrap_or(2048);
    std::fs::create_dir_all(&dir).unwrap();
    // Warm up the thread pool.
    drop(small(seed, 8));
    let start = std::time::Instant::now();
    let scene = generate(&SynthConfig { seed, size, ..SynthConfig::default() });
    println!("{:?} {}", start.elapsed(), digest(&scene));
    let (w, h) = (scene.width, scene.height);
    image::save_buffer(format!("{dir}/optical.png"), &scene.optical, w, h, image::ColorType::Rgb8).unwrap();
    image::save_buffer(format!("{dir}/sar.png"), &scene.sar, w, h, image::ColorType::L8).unwrap();
    let height: Vec<u8> = scene.height_m.iter().map(|v| v.clamp(0.0, 255.0) as u8).collect();
    image::save_buffer(format!("{dir}/height.png"), &height, w, h, image::ColorType::L8).unwrap();
}
