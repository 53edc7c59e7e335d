//! Ships at sea and in port, as a radar sees them, with a box about each.
//!
//! A port is land with buildings, and piers with cranes and containers, as bright as ships and none: what stands there leans and casts shadows as in the
//! city. Ships are drawn where they lie, a hull with its edge towards the sensor, a superstructure and a few strong points; those under way may draw a
//! wake. Speckle and the sensor's blur are the city's.

use super::noise::{cos_sin, fbm, hash2, lerp, mix, noise, pick, smooth};
use super::sar;
use rayon::prelude::*;

/// What to draw.
#[derive(Clone, Debug, PartialEq)]
pub struct ShipConfig {
    /// Seed of everything.
    pub seed: u64,
    /// Width and height in pixels.
    pub size: u32,
    /// Side of a pixel in metres, taken into 0.5..=30.
    pub pixel_m: f64,
    /// Whether a port lies in the image.
    pub port: bool,
    /// Whether ships under way draw wakes.
    pub wakes: bool,
    /// Most ships at sea; as many as there is room for. Ships at piers come on top.
    pub ships: u32,
    /// Incidence angle of the radar from the vertical, degrees. It looks along +x: the sensor is at the left.
    pub incidence_deg: f64,
    /// Looks averaged: the intensity speckle is gamma distributed with this shape.
    pub looks: u32,
}

impl Default for ShipConfig {
    fn default() -> Self {
        Self { seed: 1, size: 400, pixel_m: 4.0, port: false, wakes: true, ships: 6, incidence_deg: 35.0, looks: 4 }
    }
}

/// A drawn image. No pixel is 0, which stands for "no data".
#[derive(Clone, Debug, PartialEq)]
pub struct ShipScene {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Side of a pixel in metres.
    pub pixel_m: f64,
    /// Radar amplitude image, one band, row by row.
    pub sar: Vec<u8>,
    /// The upright box about each hull: x0, y0, x1, y1 in pixels, (0, 0) the upper left corner of the upper left pixel.
    pub boxes: Vec<[f64; 4]>,
}

/// Draws an image. A size of 0 gives an empty one.
pub fn ships(config: &ShipConfig) -> ShipScene {
    let n = config.size as usize;
    let pixel_m = config.pixel_m.clamp(0.5, 30.0);
    let pixel = pixel_m as f32;
    if n == 0 {
        return ShipScene { width: 0, height: 0, pixel_m, sar: vec![], boxes: vec![] };
    }
    let seed = mix(config.seed as u32) ^ mix((config.seed >> 32) as u32 ^ 0x51ed_270b);
    let water = Water::new(seed, n as f32 * pixel, config.port);
    let (mut object, mut sigma, mut bounce) = (vec![0f32; n * n], vec![0f32; n * n], vec![0f32; n * n]);
    let rows = (object.par_chunks_mut(n), sigma.par_chunks_mut(n), bounce.par_chunks_mut(n));
    rows.into_par_iter().enumerate().for_each(|(y, (object, sigma, bounce))| {
        for x in 0..n {
            let ground = water.ground((x as f32 + 0.5) * pixel, (y as f32 + 0.5) * pixel);
            (object[x], sigma[x], bounce[x]) = (ground.height, ground.sigma, ground.bounce);
        }
    });
    let terrain = vec![0f32; n * n];
    let surface = sar::Surface { width: n, pixel_m: pixel, terrain: &terrain, object: &object, sigma: &sigma, bounce: &bounce };
    let mut power = sar::reflectivity(&surface, sar::cotangent(config.incidence_deg));
    let fleet = fleet(&water, config.ships, pixel);
    for ship in fleet.iter().filter(|s| config.wakes && s.under_way) {
        ship.wake(&mut power, n, pixel);
    }
    for ship in &fleet {
        ship.hull(&mut power, n, pixel);
    }
    let sar = sar::detect(&power, n, config.looks.max(1), seed ^ 0x5a);
    let boxes = fleet.iter().map(|s| s.outline().map(|v| f64::from(v / pixel))).collect();
    ShipScene { width: config.size, height: config.size, pixel_m, sar, boxes }
}

struct Ground {
    height: f32,
    sigma: f32,
    bounce: f32,
}

/// The sea, and a port where there is one: a shore across the image, beyond which `q` grows seaward and along which `p` runs, metres.
struct Water {
    seed: u32,
    /// Side of the image, metres.
    side: f32,
    port: bool,
    /// The direction out to sea.
    cos: f32,
    sin: f32,
    /// How far the shore lies from the middle, towards the sea.
    shore: f32,
    /// From pier to pier.
    pitch: f32,
    /// Backscatter of the sea, by its wind.
    sea: f32,
    /// Wave length of the swell.
    swell: f32,
}

/// A pier: the place of its middle along the shore, half its width, its length, metres.
struct Pier {
    p: f32,
    half: f32,
    length: f32,
    hash: u32,
}

impl Water {
    fn new(seed: u32, side: f32, port: bool) -> Self {
        let h = hash2(3, 1, seed);
        let (cos, sin) = cos_sin(pick(h, 1));
        let wind = pick(h, 3);
        Self {
            seed,
            side,
            port,
            cos,
            sin,
            shore: (-0.25 + 0.2 * pick(h, 2)) * side,
            pitch: 150.0 + 170.0 * pick(h, 4),
            sea: 0.003 + 0.022 * wind * wind,
            swell: 50.0 + 110.0 * pick(h, 5),
        }
    }

    /// Coordinates along the shore and seaward of a place.
    fn ashore(&self, x: f32, y: f32) -> (f32, f32) {
        let (dx, dy) = (x - 0.5 * self.side, y - 0.5 * self.side);
        (-self.sin * dx + self.cos * dy, self.cos * dx + self.sin * dy - self.shore)
    }

    /// The place of such coordinates.
    fn place(&self, p: f32, q: f32) -> (f32, f32) {
        let q = q + self.shore;
        (0.5 * self.side - self.sin * p + self.cos * q, 0.5 * self.side + self.cos * p + self.sin * q)
    }

    fn pier(&self, number: i32) -> Pier {
        let hash = hash2(number, 7, self.seed);
        Pier {
            p: (number as f32 + 0.5) * self.pitch,
            half: 14.0 + 22.0 * pick(hash, 1),
            length: (0.12 + 0.2 * pick(hash, 2)) * self.side,
            hash,
        }
    }

    /// The pier nearest along the shore.
    fn pier_at(&self, p: f32) -> Pier {
        self.pier((p / self.pitch).floor() as i32)
    }

    /// Distance to what is solid, metres; negative on it.
    fn clearance(&self, x: f32, y: f32) -> f32 {
        if !self.port {
            return f32::INFINITY;
        }
        let (p, q) = self.ashore(x, y);
        let number = (p / self.pitch).floor() as i32;
        let pier = |k: i32| {
            let pier = self.pier(number + k);
            let (u, v) = ((p - pier.p).abs() - pier.half, q - pier.length);
            if u > 0.0 && v > 0.0 { (u * u + v * v).sqrt() } else { u.max(v) }
        };
        q.min(pier(-1)).min(pier(0)).min(pier(1))
    }

    fn ground(&self, x: f32, y: f32) -> Ground {
        if self.port {
            let (p, q) = self.ashore(x, y);
            let pier = self.pier_at(p);
            let across = p - pier.p;
            if q < 0.0 {
                return self.land(p, q);
            }
            if across.abs() < pier.half && q < pier.length {
                return self.quay(&pier, across, q);
            }
        }
        let gusts = fbm(x / 600.0, y / 600.0, 3, self.seed ^ 11);
        let (u, v) = (0.8 * x + 0.6 * y, 0.8 * y - 0.6 * x);
        let swell = noise(u / self.swell, v / (3.5 * self.swell), self.seed ^ 12);
        Ground { height: 0.0, sigma: self.sea * (1.0 + 0.5 * gusts) * (1.0 + 0.35 * swell), bounce: 0.0 }
    }

    /// Streets, halls and yards behind the quay.
    fn land(&self, p: f32, q: f32) -> Ground {
        let (a, b) = ((p / 62.0).floor(), (q / 48.0).floor());
        let (u, v) = (p - (a + 0.5) * 62.0, q - (b + 0.5) * 48.0);
        let h = hash2(a as i32, b as i32, self.seed ^ 13);
        let rough = 1.0 + 0.3 * noise(p / 25.0, q / 25.0, self.seed ^ 14);
        let (half_u, half_v) = (12.0 + 16.0 * pick(h, 1), 8.0 + 13.0 * pick(h, 2));
        if u.abs() < half_u && v.abs() < half_v && pick(h, 3) < 0.6 && q < -20.0 {
            return Ground { height: 6.0 + 14.0 * pick(h, 4), sigma: 0.12 + 0.25 * pick(h, 5), bounce: 0.3 + 0.9 * pick(h, 6) };
        }
        Ground { height: 2.0, sigma: (0.03 + 0.06 * pick(h, 7)) * rough, bounce: 0.2 }
    }

    /// A pier with stacks of containers and a crane now and then at its edge.
    fn quay(&self, pier: &Pier, across: f32, q: f32) -> Ground {
        let row = (q / 34.0).floor();
        let h = hash2(row as i32, 17, pier.hash);
        let along = q - (row + 0.5) * 34.0;
        if across.abs() < 0.6 * pier.half && along.abs() < 6.0 + 9.0 * pick(h, 1) && pick(h, 2) < 0.7 {
            return Ground { height: 4.0 + 8.0 * pick(h, 3), sigma: 0.3 + 0.5 * pick(h, 4), bounce: 0.6 + 0.8 * pick(h, 5) };
        }
        let side = if pick(h, 6) < 0.5 { -1.0 } else { 1.0 };
        if pick(h, 7) < 0.35 && (across - side * 0.8 * pier.half).abs() < 4.0 && along.abs() < 4.0 {
            return Ground { height: 25.0, sigma: 1.5, bounce: 1.0 };
        }
        Ground { height: 3.0, sigma: 0.06 + 0.05 * pick(h, 8), bounce: 0.5 }
    }
}

/// A ship: its middle, the direction of its bow, half its length and half its beam, metres.
struct Ship {
    x: f32,
    y: f32,
    cos: f32,
    sin: f32,
    half: f32,
    beam: f32,
    under_way: bool,
    hash: u32,
}

/// Ships at sea and at the piers that lie wholly in the image, none closer to another or to what is solid than ships are.
fn fleet(water: &Water, at_sea: u32, pixel: f32) -> Vec<Ship> {
    let mut fleet: Vec<Ship> = Vec::new();
    if water.port {
        moor(water, pixel, &mut fleet);
    }
    let before = fleet.len();
    for attempt in 0..20 * at_sea as i32 {
        let hash = hash2(attempt, 23, water.seed);
        // Lengths of 10 to 55 pixels, the smaller ones more often.
        let long = pick(hash, 1);
        let half = (5.0 + 22.0 * long * long) * pixel;
        let (cos, sin) = cos_sin(pick(hash, 2));
        let ship = Ship {
            x: pick(hash, 3) * water.side,
            y: pick(hash, 4) * water.side,
            cos,
            sin,
            half,
            beam: (half * (0.15 + 0.1 * pick(hash, 5))).max(pixel),
            under_way: pick(hash, 6) < 0.6,
            hash,
        };
        if ship.is_inside(water.side) && water.clearance(ship.x, ship.y) > half + 30.0 && fleet.iter().all(|s| s.is_clear_of(&ship)) {
            fleet.push(ship);
        }
        if fleet.len() - before == at_sea as usize {
            break;
        }
    }
    fleet
}

/// Ships alongside the piers.
fn moor(water: &Water, pixel: f32, fleet: &mut Vec<Ship>) {
    let reach = (water.side / water.pitch) as i32 + 1;
    for number in -reach..=reach {
        let pier = water.pier(number);
        for side in [-1.0f32, 1.0] {
            let mut q = 12.0 + 40.0 * pick(pier.hash, 31);
            for berth in 0..12u32 {
                let hash = hash2(berth as i32, if side < 0.0 { 29 } else { 31 }, pier.hash);
                let half = (5.0 + 12.0 * pick(hash, 1)) * pixel;
                let beam = (half * (0.16 + 0.08 * pick(hash, 2))).max(pixel);
                let middle = q + half;
                q += 2.0 * half + (2.0 + 8.0 * pick(hash, 3)) * pixel;
                if middle + half > pier.length {
                    break;
                }
                let (x, y) = water.place(pier.p + side * (pier.half + beam + 2.0 * pixel), middle);
                // Out to sea or towards the shore.
                let bow = if hash & 1 == 0 { 1.0 } else { -1.0 };
                let ship = Ship { x, y, cos: bow * water.cos, sin: bow * water.sin, half, beam, under_way: false, hash };
                // Not so far out that it meets the next pier or who lies there.
                let room = water.clearance(x, y) > 0.8 * beam && fleet.iter().all(|s| s.is_clear_of(&ship));
                if pick(hash, 4) < 0.55 && room && ship.is_inside(water.side) {
                    fleet.push(ship);
                }
            }
        }
    }
}

impl Ship {
    /// Half the beam at a place along the ship, from -1 (stern) to 1 (bow), as a share of the greatest.
    fn taper(along: f32) -> f32 {
        let bow = ((along - 0.62) / 0.38).max(0.0);
        let stern = ((-0.9 - along) / 0.1).max(0.0);
        (1.0 - bow * bow) * (1.0 - 0.3 * stern)
    }

    /// The upright box about the hull: x0, y0, x1, y1, metres.
    fn outline(&self) -> [f32; 4] {
        let mut all = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
        for i in 0..=80 {
            let along = -1.0 + i as f32 / 40.0;
            for side in [-1.0, 1.0] {
                let (u, v) = (along * self.half, side * Self::taper(along) * self.beam);
                let (x, y) = (self.x + self.cos * u - self.sin * v, self.y + self.sin * u + self.cos * v);
                all = [all[0].min(x), all[1].min(y), all[2].max(x), all[3].max(y)];
            }
        }
        all
    }

    fn is_inside(&self, side: f32) -> bool {
        let [x0, y0, x1, y1] = self.outline();
        x0 >= 0.0 && y0 >= 0.0 && x1 <= side && y1 <= side
    }

    /// Whether there is water between two ships: ships are held apart as rows of discs along their lengths.
    fn is_clear_of(&self, other: &Self) -> bool {
        let discs =
            |s: &Self| [-0.8f32, -0.4, 0.0, 0.4, 0.8].map(|a| (s.x + s.cos * a * s.half, s.y + s.sin * a * s.half, 0.2 * s.half + s.beam));
        discs(self)
            .iter()
            .all(|(x, y, r)| discs(other).iter().all(|(a, b, s)| (x - a) * (x - a) + (y - b) * (y - b) > (r + s) * (r + s) * 0.8))
    }

    /// Coordinates along and across the ship of a place.
    fn aboard(&self, x: f32, y: f32) -> (f32, f32) {
        let (dx, dy) = (x - self.x, y - self.y);
        (self.cos * dx + self.sin * dy, self.cos * dy - self.sin * dx)
    }

    /// Visits the pixels about the ship within a distance, metres.
    fn pixels(&self, within: f32, n: usize, pixel: f32, mut visit: impl FnMut(usize, f32, f32)) {
        let range = |middle: f32| {
            let at = |v: f32| (v / pixel).floor().clamp(0.0, n as f32) as usize;
            at(middle - within)..at(middle + within + pixel)
        };
        for y in range(self.y) {
            for x in range(self.x) {
                visit(y * n + x, (x as f32 + 0.5) * pixel, (y as f32 + 0.5) * pixel);
            }
        }
    }

    fn hull(&self, power: &mut [f32], n: usize, pixel: f32) {
        let h = self.hash;
        let deck = 0.12 + 0.5 * pick(h, 11) * pick(h, 12);
        let house = -0.85 + if pick(h, 13) < 0.8 { 0.0 } else { 1.2 };
        // The side towards the sensor meets the water in a corner.
        let facing = if self.cos > 0.0 { self.sin } else { -self.sin };
        let near = if self.sin > 0.0 { 1.0 } else { -1.0 };
        let points: Vec<(f32, f32, f32)> = (0..3 + (5.0 * pick(h, 14)) as u32)
            .map(|i| {
                let along = -0.9 + 1.7 * pick(h, 40 + i);
                let across = (pick(h, 60 + i) - 0.5) * Self::taper(along);
                let strength = 3.0 + 14.0 * pick(h, 80 + i) * pick(h, 80 + i);
                (along * self.half, across * self.beam, strength * (0.4 + pick(h, 11)))
            })
            .collect();
        self.pixels(self.half + self.beam, n, pixel, |at, x, y| {
            let (mut sum, mut covered) = (0.0, 0.0);
            for k in 0..16 {
                let sub = |bits: usize| (bits as f32 - 1.5) * 0.25 * pixel;
                let (u, v) = self.aboard(x + sub(k & 3), y + sub(k >> 2));
                let along = u / self.half;
                let wide = Self::taper(along) * self.beam;
                if along.abs() > 1.0 || v.abs() > wide {
                    continue;
                }
                covered += 1.0;
                let superstructure = (along - house).abs() < 0.16;
                let rim = v * near > wide - 1.2 * pixel;
                sum += deck
                    + if superstructure { 0.9 + 1.8 * pick(h, 15) } else { 0.0 }
                    + if rim { 1.6 * facing.abs() * pick(h, 16) } else { 0.0 };
            }
            if covered > 0.0 {
                power[at] = lerp(power[at], sum / covered, covered / 16.0);
            }
            let (u, v) = self.aboard(x, y);
            for (a, b, strength) in &points {
                let (du, dv) = ((u - a) / pixel, (v - b) / pixel);
                let reach = 1.0 - 0.5 * (du * du + dv * dv);
                power[at] += if reach > 0.0 { strength * reach * 0.35 } else { 0.0 };
            }
        });
    }

    /// Smooth water behind the ship between two bright arms.
    fn wake(&self, power: &mut [f32], n: usize, pixel: f32) {
        let length = self.half * (4.0 + 8.0 * pick(self.hash, 21));
        self.pixels(length + self.half, n, pixel, |at, x, y| {
            let (u, v) = self.aboard(x, y);
            let behind = -u - 0.9 * self.half;
            if !(0.0..length).contains(&behind) || power[at] > 0.2 {
                return;
            }
            let fade = 1.0 - behind / length;
            let smoothed = self.beam * (0.8 + 0.6 * behind / length);
            let dark = 1.0 - smooth(0.6, 1.2, v.abs() / smoothed);
            // Arms at about a quarter to the track.
            let arm = (v.abs() - self.beam - 0.25 * behind).abs() / (1.5 * pixel);
            let bright = (1.0 - arm).max(0.0);
            power[at] *= (1.0 - 0.75 * fade * dark) * (1.0 + 1.6 * fade * bright);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn drawn(seed: u64, port: bool) -> ShipScene {
        ships(&ShipConfig { seed, port, ..ShipConfig::default() })
    }

    #[test]
    fn a_seed_is_reproducible_on_every_machine() {
        let digest = |s: &ShipScene| Sha256::digest(&s.sar).iter().map(|b| format!("{b:02x}")).collect::<String>();
        let (sea, port) = (drawn(3, false), drawn(3, true));
        let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(port, single.install(|| drawn(3, true)));
        assert_ne!(digest(&sea), digest(&drawn(4, false)));
        // Change with the design.
        assert_eq!(digest(&sea), "391640b2d008fefbb0e4bc46f5eae2a148626c70f6822a845d42227d77ae1051");
        assert_eq!(digest(&port), "a8cff522f96a79f3e5304adce18472d63e1438545edc42c6a4dea7c5a677c678");
    }

    #[test]
    fn ships_are_bright_and_lie_inside_apart_from_each_other() {
        let (mut count, mut moored) = (0, 0);
        for seed in 0..20 {
            for port in [false, true] {
                let scene = drawn(seed, port);
                let n = scene.width as usize;
                assert!(scene.sar.len() == n * n && scene.sar.iter().all(|v| *v > 0));
                let mean = |[x0, y0, x1, y1]: [f64; 4]| {
                    let (xs, ys) = (x0 as usize..(x1 as usize).min(n - 1) + 1, y0 as usize..(y1 as usize).min(n - 1) + 1);
                    let all: Vec<f64> =
                        ys.flat_map(|y| xs.clone().map(move |x| (x, y))).map(|(x, y)| f64::from(scene.sar[y * n + x])).collect();
                    all.iter().sum::<f64>() / all.len() as f64
                };
                for b in &scene.boxes {
                    let [x0, y0, x1, y1] = *b;
                    assert!(x0 >= 0.0 && y0 >= 0.0 && x1 <= n as f64 && y1 <= n as f64 && x1 - x0 > 1.99 && y1 - y0 > 1.99, "{b:?}");
                    // Far more than the sea returns.
                    if !port {
                        assert!(mean(*b) > 1.3 * mean([0.0, 0.0, n as f64, n as f64]), "{seed}: {b:?}");
                    }
                }
                (count, moored) = if port { (count, moored + scene.boxes.len()) } else { (count + scene.boxes.len(), moored) };
            }
        }
        assert!(count >= 80 && moored >= 80, "{count} {moored}");
    }

    #[test]
    fn any_size_and_number_works() {
        for size in [0, 1, 7, 90] {
            for port in [false, true] {
                let scene = ships(&ShipConfig { size, port, ships: 3, ..ShipConfig::default() });
                assert_eq!(scene.sar.len(), (size * size) as usize);
            }
        }
        assert!(ships(&ShipConfig { ships: 0, ..ShipConfig::default() }).boxes.is_empty());
        let calm = ShipConfig { wakes: false, seed: 7, ..ShipConfig::default() };
        assert_eq!(ships(&calm).boxes, drawn(7, false).boxes);
        assert_ne!(ships(&calm).sar, drawn(7, false).sar);
    }

    /// Writes pictures to look at: `SYNTH_LOOK=dir cargo test --release --lib synth::ships::tests::look -- --ignored`
    #[test]
    #[ignore = "writes pictures for a person to look at"]
    fn look() {
        let dir = std::env::var("SYNTH_LOOK").unwrap_or_else(|_| "/tmp/synth-look".into());
        std::fs::create_dir_all(&dir).unwrap();
        for seed in 1..5 {
            for port in [false, true] {
                let scene = drawn(seed, port);
                let mut rgb: Vec<[u8; 3]> = scene.sar.iter().map(|v| [*v; 3]).collect();
                let n = scene.width as usize;
                for [x0, y0, x1, y1] in scene.boxes.iter().map(|b| b.map(|v| (v as usize).min(n - 1))) {
                    (x0..=x1)
                        .flat_map(|x| [(x, y0), (x, y1)])
                        .chain((y0..=y1).flat_map(|y| [(x0, y), (x1, y)]))
                        .for_each(|(x, y)| rgb[y * n + x] = [255, 40, 40]);
                }
                let name = format!("{dir}/{}-{seed}.png", if port { "port" } else { "sea" });
                image::save_buffer(name, &rgb.concat(), scene.width, scene.height, image::ColorType::Rgb8).unwrap();
                image::save_buffer(format!("{dir}/plain-{port}-{seed}.png"), &scene.sar, scene.width, scene.height, image::ColorType::L8)
                    .unwrap();
            }
        }
    }
}
