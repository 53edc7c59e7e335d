//! How patches are changed at random.

use crate::kernels::sampler::PatchRecord;
use crate::random::Random;

/// How a patch's pixels are changed at random; the fields are [`super::Augment`]'s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) gain: f64,
    pub(super) offset: f64,
    pub(super) mixing: f64,
    pub(super) grey: f64,
    pub(super) random_channel: f64,
    pub(super) recolour: f64,
    pub(super) noise: f64,
    pub(super) speckle_looks: u32,
}

/// 1 or -1.
pub(super) fn sign(r: &mut Random) -> f64 {
    if r.unit() < 0.5 { -1.0 } else { 1.0 }
}

/// A rotation, a scale and a mirror image, as the sampler takes them. Quarter turns stay exact: cosine and sine of multiples of 90
/// degrees are rounded to the fixed point of the record.
pub(super) fn turn(angle: f64, scale: f64, flip: f64) -> [[f64; 2]; 2] {
    let (sin, cos) = angle.sin_cos();
    [[flip * scale * cos, -scale * sin], [flip * scale * sin, scale * cos]]
}

impl Look {
    fn contrast(&self, r: &mut Random) -> f32 {
        let g = 1.0 + r.unit() * self.gain;
        (if sign(r) > 0.0 { g } else { 1.0 / g }) as f32
    }

    pub(super) fn change_map(&self, record: PatchRecord, random: &mut Random) -> PatchRecord {
        let grey = random.unit() < self.grey;
        let overall = self.contrast(random);
        // What all three bands show instead; no number is drawn where neither is asked for, so that older runs come out the same.
        let same: Option<[f64; 3]> = if self.random_channel > 0.0 && random.unit() < self.random_channel {
            let band = random.below(3);
            Some(std::array::from_fn(|k| f64::from(u8::from(k == band))))
        } else if self.recolour > 0.0 && random.unit() < self.recolour {
            let weights: [f64; 3] = std::array::from_fn(|_| random.range(-1.0, 1.0));
            let length = weights.iter().map(|w| w.abs()).sum::<f64>().max(0.1);
            Some(weights.map(|w| w / length))
        } else {
            grey.then_some([1.0 / 3.0; 3])
        };
        let mixed: [[f32; 3]; 3] = std::array::from_fn(|b| {
            let weights: [f64; 3] = std::array::from_fn(|k| match same {
                Some(weights) => weights[k],
                None => f64::from(u8::from(b == k)) + random.range(-self.mixing, self.mixing),
            });
            weights.map(|w| w as f32 * overall)
        });
        let common = random.range(-self.offset, self.offset);
        let offsets = std::array::from_fn(|_| (common + random.range(-self.offset, self.offset) / 3.0) as f32);
        record.with_colour(mixed, offsets).with_noise((random.unit() * self.noise) as f32).with_rng(random.bits() as u32, 0)
    }

    pub(super) fn change_sar(&self, record: PatchRecord, db_scale: f32, random: &mut Random) -> PatchRecord {
        let g = self.contrast(random);
        let o = random.range(-self.offset, self.offset) as f32;
        let record = record.with_gain([g, 0.0, 0.0], [o, 0.0, 0.0]).with_bands([true, false, false]).with_rng(random.bits() as u32, 1);
        if self.speckle_looks == 0 || random.unit() >= 0.5 {
            return record;
        }
        let most = crate::kernels::sampler::MAX_LOOKS;
        let least = self.speckle_looks.min(most);
        record.with_speckle(least + random.below((most - least + 1) as usize) as u32, db_scale)
    }
}
