//! Critics and classifiers on clouds whose distance is known.

use super::{Adversary, Align, AlignConfig};
use crate::gpu::{AdapterChoice, Engine};
use crate::random::Random;

const N: usize = 256;
const DIM: usize = 4;

/// A round cloud, and the same one elsewhere: W1 is the length of the way.
fn moved(by: [f32; DIM]) -> [Vec<f32>; 2] {
    let mut random = Random::new(11, 0);
    let cloud: Vec<f32> = (0..N * DIM).map(|_| (0..12).map(|_| random.range(-0.15, 0.15)).sum::<f64>() as f32).collect();
    let other = cloud.iter().enumerate().map(|(i, v)| v - by[i % DIM]).collect();
    [cloud, other]
}

fn estimate(engine: &Engine, config: &AlignConfig, by: [f32; DIM]) -> f64 {
    let [a, b] = moved(by);
    let half = N / 2 * DIM;
    Adversary::held_out(engine, config, DIM, [&a[..half], &b[..half]], [&a[half..], &b[half..]], 3).unwrap()
}

#[test]
fn a_critic_finds_the_length_of_a_planted_translation() {
    let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).unwrap();
    let gp = AlignConfig { method: Align::CriticGp, hidden: vec![32, 32], adversary_steps: 400, ..AlignConfig::default() };
    for (by, length) in [([1.5, 0.0, 0.0, 0.0], 1.5), ([0.6, -0.8, 0.0, 0.0], 1.0), ([3.0, 0.0, 4.0, 0.0], 5.0)] {
        let got = estimate(&engine, &gp, by);
        // The critic is trained for 400 steps only; its slopes vary about their mean.
        assert!((got / length - 1.0).abs() < 0.05, "{got} for {length}");
    }
    let one_sided = AlignConfig { penalty_one_sided: true, ..gp.clone() };
    let got = estimate(&engine, &one_sided, [1.5, 0.0, 0.0, 0.0]);
    assert!((got / 1.5 - 1.0).abs() < 0.05, "one-sided: {got}");
    // Clipped weights end in the corners of their cube, so that critic's slope points elsewhere by some angle: it falls short.
    let clip = AlignConfig { method: Align::CriticClip, ..gp.clone() };
    let got = estimate(&engine, &clip, [1.5, 0.0, 0.0, 0.0]);
    assert!((0.8..1.02).contains(&(got / 1.5)), "clipped: {got}");
}

#[test]
fn a_classifier_knows_what_can_be_known() {
    let engine = pollster::block_on(Engine::new(&AdapterChoice::from_option(None))).unwrap();
    let config = AlignConfig { method: Align::Class, hidden: vec![32, 32], adversary_steps: 200, ..AlignConfig::default() };
    assert!(estimate(&engine, &config, [6.0, 0.0, 0.0, 0.0]) > 0.99);
    // The same cloud twice: whatever it answers, it is right on one and wrong on the other.
    assert_eq!(estimate(&engine, &config, [0.0; DIM]), 0.5);
}
