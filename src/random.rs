//! The host's random numbers: counters under splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014), the
//! same on any machine.

/// Number `counter` of the splitmix64 stream that starts at `seed`.
pub(crate) fn stream(seed: u64, counter: u64) -> u64 {
    let mut z = seed.wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Number `counter` of the stream that starts at 0.
pub(crate) fn splitmix(counter: u64) -> u64 {
    stream(0, counter)
}

/// That number as one uniform in [0, 1).
pub(crate) fn unit(counter: u64) -> f64 {
    (splitmix(counter) >> 11) as f64 / (1u64 << 53) as f64
}

/// `n` numbers uniform in [-1, 1), which f32 holds exactly.
pub(crate) fn signed(n: usize, seed: u64) -> Vec<f32> {
    (0..n as u64).map(|i| (splitmix((seed << 32) + i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

/// A stream of random numbers from a seed and a stream number.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    key: u64,
    counter: u64,
}

impl Random {
    /// Streams of one seed with different numbers are independent.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self { key: splitmix(splitmix(seed) ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93)), counter: 0 }
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.counter += 1;
        splitmix(self.key.wrapping_add(self.counter))
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        self.counter += 1;
        unit(self.key.wrapping_add(self.counter))
    }

    /// Uniform in [a, b).
    pub(crate) fn range(&mut self, a: f64, b: f64) -> f64 {
        a + (b - a) * self.unit()
    }

    /// Beta(a, a), for a up to 1 (Joehnk, "Erzeugung von betaverteilten und gammaverteilten Zufallszahlen", 1964).
    pub(crate) fn beta(&mut self, a: f64) -> f64 {
        loop {
            let [x, y] = [0; 2].map(|_| self.unit().powf(1.0 / a));
            if x + y > 0.0 && x + y <= 1.0 {
                return x / (x + y);
            }
        }
    }

    /// Uniform in 0..n; n above 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean 1 / 2, variance 1 / (4 (2 a + 1)); uniform for a = 1.
    #[test]
    fn beta_has_its_moments() {
        for a in [0.1, 0.5, 1.0] {
            let mut random = Random::new(1, 2);
            let all: Vec<f64> = (0..20_000).map(|_| random.beta(a)).collect();
            let mean = all.iter().sum::<f64>() / 2e4;
            let var = all.iter().map(|v| (v - 0.5).powi(2)).sum::<f64>() / 2e4;
            // Four standard errors: of the mean sqrt(var / 20,000), at most 0.0033; of the variance less.
            assert!((mean - 0.5).abs() < 0.014 && (var - 0.25 / (2.0 * a + 1.0)).abs() < 0.014, "{a}: {mean} {var}");
            assert!(all.iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }

    #[test]
    fn the_stream_is_the_published_one() {
        assert_eq!(stream(0, 0), 0xE220_A839_7B1D_CDAF);
        assert_eq!(stream(0, 1), 0x6E78_9E6A_A1B9_65F4);
    }
}
