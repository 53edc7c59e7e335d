//! How far apart the embeddings of map and SAR patches lie as distributions, by several measures, and whether that is more than chance.
//!
//! Every measure is compared with what it gives after map and SAR were swapped within random pairs: were the two modalities alike, that
//! would change nothing. The share of such permutations that reach the measured value is its p.

use super::metrics::Interval;
use crate::align::{Adversary, Align, AlignConfig, Cost, Sinkhorn, Weights};
use crate::gpu::Engine;
use crate::index::Embedder;
use crate::kernels::sampler::{PatchRecord, taps_for};
use crate::nn::Modality;
use crate::random::Random;
use crate::scene::pages::DEFAULT_PAGES;
use crate::scene::{Image, PageCache, ScenePair, compose};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::sync::Arc;

/// How the gap is measured.
#[derive(Debug, Clone)]
pub struct GapConfig {
    /// Permutations of the measures that are read off the products of the embeddings.
    pub permutations: usize,
    /// Permutations of those that are solved or trained for each: Sinkhorn divergence, critic, classifier.
    pub dear_permutations: usize,
    /// Steps that critic and classifier are trained for, on half of the pairs; the other half is what they are judged on.
    pub steps: usize,
    /// Settings of critic, classifier, Sinkhorn divergence and discrepancy.
    pub align: AlignConfig,
    /// Everything random hangs on it.
    pub seed: u64,
}

impl Default for GapConfig {
    fn default() -> Self {
        let align = AlignConfig { hidden: vec![64, 64], ..AlignConfig::default() };
        Self { permutations: 199, dear_permutations: 19, steps: 200, align, seed: 7 }
    }
}

/// One measure of the gap.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GapEstimate {
    /// What it is called.
    pub measure: &'static str,
    /// Its value.
    pub value: f64,
    /// 95 % of the values under permutation.
    pub permuted: Interval,
    /// Share of the permutations, this value among them, that are as great.
    pub p: f64,
    /// How many.
    pub permutations: usize,
}

/// Both clouds in the plane of their first two principal components.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plane {
    /// Map embeddings.
    pub map: Vec<[f64; 2]>,
    /// SAR embeddings, in the same order.
    pub sar: Vec<[f64; 2]>,
    /// Share of the variance along each component.
    pub explained: [f64; 2],
}

/// The gap.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gap {
    /// Pairs measured on.
    pub pairs: usize,
    /// Length of an embedding.
    pub dim: usize,
    /// Each measure.
    pub estimates: Vec<GapEstimate>,
    /// To look at.
    pub plane: Plane,
}

/// What cuts `count` map and SAR patches at the same random places, `side` map pixels wide, out of the first image of a page cache each.
///
/// # Errors
/// Too few places where both have data.
pub fn pairs(pair: &ScenePair, side: f64, input: usize, count: usize, seed: u64) -> Result<[Vec<PatchRecord>; 2]> {
    let (w, h) = (f64::from(pair.map.raster.width()), f64::from(pair.map.raster.height()));
    let mut random = Random::new(seed, 41);
    let mut out = [Vec::with_capacity(count), Vec::with_capacity(count)];
    let scale = side / input as f64;
    for _ in 0..count.saturating_mul(1000) {
        if out[0].len() == count {
            return Ok(out);
        }
        let p = [random.range(side / 2.0, w - side / 2.0), random.range(side / 2.0, h - side / 2.0)];
        if pair.map_share(p, side) < VALID || pair.sar_share(p, side)? < VALID {
            continue;
        }
        let plain = [[scale, 0.0], [0.0, scale]];
        out[0].push(PatchRecord::from_affine(0, p, plain, input)?);
        out[1].push(PatchRecord::from_affine(0, pair.link().apply(p)?, compose(pair.link().jacobian(p)?, plain), input)?);
    }
    Err(Error::invalid(format!("only {} places where map and SAR both have data in a patch of {side:.0} map pixels", out[0].len())))
}

/// Embeds what [`pairs`] cuts out of a scene: unit rows of the maps and of the SAR patches.
///
/// # Errors
/// Reading, the device.
pub fn embed(embedder: &Embedder<'_>, pair: &ScenePair, records: &[Vec<PatchRecord>; 2]) -> Result<[Vec<f32>; 2]> {
    let one = |modality, image: &Arc<Image>, records: &[PatchRecord]| -> Result<Vec<f32>> {
        let mut cache = PageCache::new(embedder.engine(), vec![image.clone()], DEFAULT_PAGES)?;
        let scale = records.first().map_or(1.0, PatchRecord::scale);
        embedder.embed_all(modality, &mut cache, records, taps_for(scale))
    };
    Ok([one(Modality::Map, &pair.map, &records[0])?, one(Modality::Sar, &pair.sar, &records[1])?])
}

/// Share of a patch that must hold data.
const VALID: f64 = 0.99;

/// Measures the gap between unit rows `map` and `sar` of length `dim`, row by row of the same place. `on` is told what is measured next.
///
/// # Errors
/// Fewer than 8 pairs; the device.
pub fn gap(engine: &Engine, map: &[f32], sar: &[f32], dim: usize, config: &GapConfig, mut on: impl FnMut(&str)) -> Result<Gap> {
    let n = map.len() / dim.max(1);
    if n < 8 || sar.len() != map.len() {
        return Err(Error::invalid(format!("{n} pairs are too few to measure a gap on: at least 8 are needed")));
    }
    let clouds = Clouds::new(map, sar, dim);
    let mut random = Random::new(config.seed, 42);
    let labels: Vec<Vec<bool>> =
        (0..config.permutations.max(config.dear_permutations)).map(|_| (0..n).map(|_| random.unit() < 0.5).collect()).collect();
    let own = vec![false; n];
    let mut estimates = Vec::new();
    let mut from_products = |name: &'static str, on: &mut dyn FnMut(&str), f: &(dyn Fn(&[bool]) -> f64 + Sync)| {
        on(name);
        let permuted: Vec<f64> = labels[..config.permutations].par_iter().map(|l| f(l)).collect();
        estimates.push(estimate(name, f(&own), permuted));
    };
    from_products("mean", &mut on, &|l| clouds.mean_distance(l));
    let kernel = clouds.kernel(&config.align.bandwidths);
    from_products("mmd", &mut on, &|l| clouds.discrepancy(&kernel, l));
    from_products("coral", &mut on, &|l| clouds.coral(l));
    on("sinkhorn");
    let sinkhorn = Sinkhorn::new(Cost::Cosine, f64::from(config.align.eps));
    let divergence = |labels: &[bool]| -> Result<f64> {
        let [a, b] = clouds.swapped(map, sar, labels).map(|rows| engine.upload_f32("embeddings", &[n, dim], &rows));
        let solution = sinkhorn.divergence(engine, &a?, &b?, Weights::default())?;
        Ok(solution.transport.divergence.expect("a divergence was asked for"))
    };
    let permuted = labels[..config.dear_permutations].iter().map(|l| divergence(l)).collect::<Result<Vec<f64>>>()?;
    estimates.push(estimate("sinkhorn", divergence(&own)?, permuted));
    for (name, method) in [("critic", Align::CriticGp), ("class_accuracy", Align::Class)] {
        on(name);
        let settings = AlignConfig { method, adversary_steps: config.steps, ..config.align.clone() };
        let trained = |labels: &[bool]| -> Result<f64> {
            let [a, b] = clouds.swapped(map, sar, labels);
            let half = n / 2 * dim;
            Ok(Adversary::held_out(engine, &settings, dim, [&a[..half], &b[..half]], [&a[half..], &b[half..]], config.seed)?)
        };
        let permuted = labels[..config.dear_permutations].iter().map(|l| trained(l)).collect::<Result<Vec<f64>>>()?;
        estimates.push(estimate(name, trained(&own)?, permuted));
    }
    Ok(Gap { pairs: n, dim, estimates, plane: clouds.plane() })
}

/// Both clouds, as [`gap`] takes them, in the plane of their first two principal components.
pub fn plane(map: &[f32], sar: &[f32], dim: usize) -> Plane {
    Clouds::new(map, sar, dim).plane()
}

fn estimate(measure: &'static str, value: f64, mut permuted: Vec<f64>) -> GapEstimate {
    permuted.sort_by(f64::total_cmp);
    let n = permuted.len();
    let at =
        |p: f64| permuted.get(((p * n.saturating_sub(1) as f64).round() as usize).min(n.saturating_sub(1))).copied().unwrap_or(f64::NAN);
    let reach = permuted.iter().filter(|v| **v >= value).count();
    GapEstimate { measure, value, permuted: [at(0.025), at(0.975)], p: (reach + 1) as f64 / (n + 1) as f64, permutations: n }
}

/// All products of the rows of both clouds: map rows 0 to n, SAR rows n to 2n.
struct Clouds {
    n: usize,
    dim: usize,
    products: Vec<f64>,
}

impl Clouds {
    fn new(map: &[f32], sar: &[f32], dim: usize) -> Self {
        let n = map.len() / dim;
        let rows: Vec<&[f32]> = map.chunks_exact(dim).chain(sar.chunks_exact(dim)).collect();
        let products = (0..4 * n * n)
            .into_par_iter()
            .map(|i| rows[i / (2 * n)].iter().zip(rows[i % (2 * n)]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum())
            .collect();
        Self { n, dim, products }
    }

    /// Row numbers of both clouds with the pairs of `swap` exchanged.
    fn rows(&self, swap: &[bool]) -> [Vec<usize>; 2] {
        let at = |side: bool| swap.iter().enumerate().map(|(i, s)| if *s != side { i + self.n } else { i }).collect();
        [at(false), at(true)]
    }

    /// The embeddings with the pairs of `swap` exchanged.
    fn swapped(&self, map: &[f32], sar: &[f32], swap: &[bool]) -> [Vec<f32>; 2] {
        let all = |first: &[f32], second: &[f32]| {
            (0..self.n).flat_map(|i| (if swap[i] { second } else { first })[i * self.dim..][..self.dim].to_vec()).collect()
        };
        [all(map, sar), all(sar, map)]
    }

    /// Mean of a matrix of all rows over rows a and columns b.
    fn mean(&self, matrix: &[f64], a: &[usize], b: &[usize]) -> f64 {
        a.iter().map(|i| b.iter().map(|j| matrix[i * 2 * self.n + j]).sum::<f64>()).sum::<f64>() / (a.len() * b.len()) as f64
    }

    /// mean(aa) + mean(bb) - 2 mean(ab).
    fn discrepancy(&self, matrix: &[f64], swap: &[bool]) -> f64 {
        let [a, b] = self.rows(swap);
        self.mean(matrix, &a, &a) + self.mean(matrix, &b, &b) - 2.0 * self.mean(matrix, &a, &b)
    }

    /// Distance of the two means.
    fn mean_distance(&self, swap: &[bool]) -> f64 {
        self.discrepancy(&self.products, swap).max(0.0).sqrt()
    }

    /// Mean of Gaussian kernels of the distances.
    fn kernel(&self, bandwidths: &[f32]) -> Vec<f64> {
        let kernel = |product: &f64| {
            let squared = (2.0 - 2.0 * product).max(0.0);
            bandwidths.iter().map(|s| (-squared / (2.0 * f64::from(*s).powi(2))).exp()).sum::<f64>() / bandwidths.len() as f64
        };
        self.products.par_iter().map(kernel).collect()
    }

    /// |C_a - C_b|_F^2 / (4 dim^2).
    fn coral(&self, swap: &[bool]) -> f64 {
        let [a, b] = self.rows(swap);
        let squares = |a: &[usize], b: &[usize]| -> f64 {
            let at = |i: usize, j: usize| self.products[i * 2 * self.n + j];
            let columns: Vec<f64> = b.iter().map(|j| a.iter().map(|i| at(*i, *j)).sum::<f64>() / self.n as f64).collect();
            let mean = columns.iter().sum::<f64>() / self.n as f64;
            a.iter()
                .map(|i| {
                    let row = b.iter().map(|j| at(*i, *j)).sum::<f64>() / self.n as f64;
                    b.iter().zip(&columns).map(|(j, column)| (at(*i, *j) - row - column + mean).powi(2)).sum::<f64>()
                })
                .sum()
        };
        let scale = (2 * self.dim * (self.n - 1)) as f64;
        (squares(&a, &a) + squares(&b, &b) - 2.0 * squares(&a, &b)) / (scale * scale)
    }

    /// The first two principal components, by orthogonal iteration on the centred products.
    fn plane(&self) -> Plane {
        let m = 2 * self.n;
        let rows: Vec<f64> = self.products.chunks_exact(m).map(|r| r.iter().sum::<f64>() / m as f64).collect();
        let mean = rows.iter().sum::<f64>() / m as f64;
        let centred: Vec<f64> = (0..m * m).map(|i| self.products[i] - rows[i / m] - rows[i % m] + mean).collect();
        let trace: f64 = (0..m).map(|i| centred[i * m + i]).sum::<f64>().max(f64::MIN_POSITIVE);
        let mut random = Random::new(1, 43);
        let mut basis: [Vec<f64>; 2] = std::array::from_fn(|_| (0..m).map(|_| random.range(-1.0, 1.0)).collect());
        let mut values = [0.0; 2];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        for _ in 0..200 {
            for k in 0..2 {
                let mut y: Vec<f64> = centred.par_chunks_exact(m).map(|r| dot(r, &basis[k])).collect();
                if k == 1 {
                    let along = dot(&y, &basis[0]);
                    y.iter_mut().zip(&basis[0]).for_each(|(y, b)| *y -= along * b);
                }
                let length = dot(&y, &y).sqrt();
                values[k] = length;
                if length > 0.0 {
                    y.iter_mut().for_each(|v| *v /= length);
                }
                basis[k] = y;
            }
        }
        let place = |i: usize| [0, 1].map(|k| basis[k][i] * values[k].sqrt());
        Plane { map: (0..self.n).map(place).collect(), sar: (self.n..m).map(place).collect(), explained: values.map(|v| v / trace) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 40;
    const DIM: usize = 6;

    /// Unit rows about two directions.
    fn clouds(shift: f64) -> (Vec<f32>, Vec<f32>) {
        let mut random = Random::new(3, 0);
        let mut cloud = |shift: f64| -> Vec<f32> {
            (0..N)
                .flat_map(|_| {
                    let row: [f64; DIM] = std::array::from_fn(|k| random.range(-1.0, 1.0) + if k == 0 { shift } else { 0.0 });
                    let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
                    row.map(|v| (v / length) as f32)
                })
                .collect()
        };
        (cloud(0.0), cloud(shift))
    }

    #[test]
    fn measures_are_those_of_their_definitions() {
        let (map, sar) = clouds(0.5);
        let c = Clouds::new(&map, &sar, DIM);
        let mut swap = vec![false; N];
        swap[3] = true;
        let [a, b] = c.swapped(&map, &sar, &swap);
        let mean = |x: &[f32], k: usize| x.iter().skip(k).step_by(DIM).map(|v| f64::from(*v)).sum::<f64>() / N as f64;
        let distance = (0..DIM).map(|k| (mean(&a, k) - mean(&b, k)).powi(2)).sum::<f64>().sqrt();
        assert!((c.mean_distance(&swap) - distance).abs() < 1e-9);
        let covariance = |x: &[f32], k: usize, l: usize| {
            let (mk, ml) = (mean(x, k), mean(x, l));
            x.chunks_exact(DIM).map(|r| (f64::from(r[k]) - mk) * (f64::from(r[l]) - ml)).sum::<f64>() / (N - 1) as f64
        };
        let coral: f64 = (0..DIM * DIM).map(|i| (covariance(&a, i / DIM, i % DIM) - covariance(&b, i / DIM, i % DIM)).powi(2)).sum();
        let coral = coral / (4 * DIM * DIM) as f64;
        assert!((c.coral(&swap) - coral).abs() < 1e-9 * coral.max(1.0), "{} {coral}", c.coral(&swap));
    }

    #[test]
    fn a_shift_is_seen_and_its_absence_too() {
        for (shift, seen) in [(1.0, true), (0.0, false)] {
            let (map, sar) = clouds(shift);
            let c = Clouds::new(&map, &sar, DIM);
            let mut random = Random::new(9, 0);
            let permuted = (0..99).map(|_| c.mean_distance(&(0..N).map(|_| random.unit() < 0.5).collect::<Vec<_>>())).collect();
            let e = estimate("mean", c.mean_distance(&[false; N]), permuted);
            assert_eq!(e.p <= 0.02, seen, "{e:?}");
        }
    }

    #[test]
    fn the_plane_keeps_the_variance_it_says() {
        let (map, sar) = clouds(2.0);
        let plane = Clouds::new(&map, &sar, DIM).plane();
        assert!(plane.explained[0] > plane.explained[1] && plane.explained.iter().sum::<f64>() < 1.0);
        // The shift is the greatest difference, so it lies along the first component.
        let mean = |p: &[[f64; 2]]| p.iter().map(|v| v[0]).sum::<f64>() / p.len() as f64;
        assert!((mean(&plane.map) - mean(&plane.sar)).abs() > 0.3);
    }
}
