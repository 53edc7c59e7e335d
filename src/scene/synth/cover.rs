//! What covers the ground at a point: its colour, its height, its backscatter.

use super::layout::{Block, Border, District, Kind, Layout, block, woodland};
use super::noise::{fbm, hash2, lerp, noise, pick, smooth};
use super::town::{lot, town_roof};

pub(super) type Rgb = [f32; 3];

/// The ground at a point.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub rgb: Rgb,
    /// Height above the terrain, metres.
    pub height: f32,
    pub sigma: f32,
    pub bounce: f32,
}

/// Samples of one pixel.
#[derive(Default)]
pub(super) struct Tally {
    rgb: Rgb,
    height: f32,
    sigma: f32,
    bounce: f32,
    count: f32,
}

impl Tally {
    pub fn add(&mut self, s: &Sample) {
        for c in 0..3 {
            self.rgb[c] += s.rgb[c];
        }
        self.height += s.height;
        self.sigma += s.sigma;
        self.bounce += s.bounce * s.height;
        self.count += 1.0;
    }

    pub fn colour(&self) -> [u8; 3] {
        self.rgb.map(|v| (v / self.count + 0.5).clamp(0.0, 255.0) as u8)
    }

    pub fn height(&self) -> f32 {
        self.height / self.count
    }

    pub fn sigma(&self) -> f32 {
        self.sigma / self.count
    }

    pub fn bounce(&self) -> f32 {
        self.bounce / self.height.max(1e-3)
    }
}

pub(super) const ASPHALT: Rgb = [104.0, 103.0, 103.0];
pub(super) const PAVED: Rgb = [142.0, 136.0, 128.0];
pub(super) const GRASS: Rgb = [82.0, 104.0, 56.0];
pub(super) const LAWN: Rgb = [92.0, 118.0, 64.0];
const TREES: Rgb = [40.0, 62.0, 32.0];
const CROPS: [Rgb; 10] = [
    [74.0, 100.0, 52.0],
    [104.0, 130.0, 66.0],
    [172.0, 156.0, 116.0],
    [122.0, 100.0, 78.0],
    [156.0, 136.0, 108.0],
    [90.0, 76.0, 64.0],
    [94.0, 112.0, 68.0],
    [122.0, 118.0, 80.0],
    [180.0, 168.0, 84.0],
    [144.0, 142.0, 98.0],
];

pub(super) fn flat(rgb: Rgb, sigma: f32) -> Sample {
    Sample { rgb, height: 0.0, sigma, bounce: 0.0 }
}

pub(super) fn tint(rgb: Rgb, gain: f32) -> Rgb {
    rgb.map(|v| v * gain)
}

pub(super) fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [lerp(a[0], b[0], t), lerp(a[1], b[1], t), lerp(a[2], b[2], t)]
}

/// What is the same for all samples of a pixel.
pub(super) struct Sampler<'a> {
    plan: &'a Layout,
    /// Displacement that bends the streets.
    warp: (f32, f32),
    pub terrain: f32,
    wood: f32,
    at: (f32, f32),
    /// Roads and rails that may touch the pixel, and its district if no border does.
    near: [bool; 4],
    inside: Option<&'a District>,
    /// Textures of about 20, 45 and 200 m.
    pub(super) fine: f32,
    middle: f32,
    broad: f32,
}

impl<'a> Sampler<'a> {
    pub fn new(plan: &'a Layout, x: f32, y: f32, pixel: f32) -> Self {
        let seed = plan.seed;
        let warp = |k: u32| 210.0 * fbm(x / 1500.0, y / 1500.0, 2, seed ^ k) + 24.0 * noise(x / 290.0, y / 290.0, seed ^ (k + 1));
        let (dx, dy) = (x - plan.centre.0, y - plan.centre.1);
        let out = (dx * dx + dy * dy).sqrt() / plan.radius;
        let (_, shore) = plan.coast.locate(x, y);
        let (_, river) = plan.river.locate(x, y);
        let dry = smooth(0.0, 1500.0, -shore) * smooth(plan.river_half, plan.river_half + 900.0, river.abs());
        let hills = fbm(x / 3600.0, y / 3600.0, 5, seed ^ 81) + 0.28;
        let gentle = noise(x / 1500.0, y / 1500.0, seed ^ 82) + 1.0;
        let upland = smooth(0.4, 1.2, out) * hills.max(0.0);
        let spurs = if upland > 0.0 { fbm(x / 1150.0, y / 1150.0, 3, seed ^ 93) + 0.6 } else { 0.0 };
        let terrain = dry * (7.0 * gentle + upland * (190.0 + 210.0 * spurs));
        let warp = (warp(101), warp(103));
        let reach = 30.0 + 2.0 * pixel;
        let mut near = [false; 4];
        for (near, curve) in near.iter_mut().zip(plan.highways.iter().chain([&plan.rail])) {
            *near = curve.locate(x, y).1.abs() < reach;
        }
        let (district, border) = plan.locate(x + warp.0, y + warp.1);
        Self {
            plan,
            warp,
            at: (x, y),
            near,
            inside: (border.distance > reach).then_some(district),
            terrain,
            wood: woodland(plan, x, y),
            fine: noise(x / 17.0, y / 17.0, seed ^ 83),
            middle: noise(x / 45.0, y / 45.0, seed ^ 84),
            broad: noise(x / 210.0, y / 210.0, seed ^ 85),
        }
    }

    /// The cover of a point of the pixel.
    pub fn sample(&self, x: f32, y: f32) -> Sample {
        let plan = self.plan;
        let (_, shore) = plan.coast.locate(x, y);
        let (along, river) = plan.river.locate(x, y);
        if shore > -420.0
            && let Some(found) = self.harbour(x, y, shore)
        {
            return found;
        }
        for (road, _) in plan.highways.iter().zip(self.near).filter(|(_, near)| *near) {
            let (_, d) = road.locate(x, y);
            let d = d.abs();
            if d < 24.0 {
                return match d {
                    d if d < 2.0 => flat(GRASS, 0.05),
                    d if d < 14.5 => flat(tint([146.0, 143.0, 139.0], 1.0 + 0.03 * self.fine), 0.012),
                    _ => flat(tint(GRASS, 1.0 + 0.1 * self.middle), 0.06),
                };
            }
        }
        let (rx, ry) = (x - plan.centre.0, y - plan.centre.1);
        let r = (rx * rx + ry * ry).sqrt();
        let ring = 0.52 * plan.radius;
        if (r - ring).abs() < 0.2 * ring {
            let bulge = 0.16 * noise(1.6 * rx / r, 1.6 * ry / r, plan.seed ^ 86);
            if (r - ring * (1.0 + bulge)).abs() < 13.0 {
                return flat([138.0, 136.0, 133.0], 0.013);
            }
        }
        if self.near[3] && plan.rail.locate(x, y).1.abs() < 9.0 {
            return Sample { rgb: [112.0, 102.0, 94.0], height: 0.6, sigma: 0.13, bounce: 0.0 };
        }
        // Districts live on gently warped coordinates, so that arterials and country roads bend.
        let (wx, wy) = (x + self.warp.0, y + self.warp.1);
        let (d, border) = match self.inside {
            Some(d) => (d, Border::NONE),
            None => plan.locate(wx, wy),
        };
        let (edge, urban) = (border.distance, border.urban);
        let bank = river.abs() - plan.river_half * (1.0 + 0.25 * noise(along / 700.0, 3.0, plan.seed ^ 87));
        if bank < 0.0 {
            let bridge = border.urban && border.bridges && border.hash & 3 != 0 && edge < 11.0;
            return if bridge { flat(PAVED, 0.10) } else { self.water(x, y, bank, true) };
        }
        if d.density < 0.5 && plan.stream.locate(x, y).1.abs() < 9.0 + 4.0 * self.broad {
            return self.water(x, y, -5.0, true);
        }
        for lake in &plan.lakes {
            let (lx, ly) = ((x - lake.x) / lake.flat, (y - lake.y) * lake.flat);
            let far = (lx * lx + ly * ly).sqrt();
            if far < 1.6 * lake.radius {
                let inlet = 0.62 * fbm(x / (1.3 * lake.radius), y / (1.3 * lake.radius), 3, lake.hash) * lake.radius;
                let inside = lake.radius + inlet - far;
                if inside > 0.0 {
                    return self.water(x, y, -inside, false);
                }
                if inside > -22.0 {
                    return flat(blend(GRASS, TREES, 0.5 + 0.4 * self.fine), 0.08);
                }
            }
        }
        let road = if urban { 11.5 } else { 4.2 };
        if edge < road && (urban || border.hash & 3 != 0) {
            let surface = if urban { ASPHALT } else { [150.0, 142.0, 126.0] };
            return flat(tint(surface, 1.0 + 0.05 * self.fine), 0.018);
        }
        if urban && edge < road + 5.0 && border.hash & 4 == 0 {
            return self.trees(0.7, 7.0);
        }
        if bank < 26.0 && d.kind != Kind::Industry {
            return self.trees(0.6, 8.0);
        }
        let (bx, by) = (x + d.bend * self.warp.0, y + d.bend * self.warp.1);
        let b = block(d, bx, by);
        match d.kind {
            Kind::Fields => self.countryside(d, &b, 1.0),
            Kind::Park => self.park(&b),
            Kind::Village => {
                let far = ((wx - d.x) * (wx - d.x) + (wy - d.y) * (wy - d.y)).sqrt();
                let limit = 320.0 + 130.0 * self.broad + 150.0 * self.hamlet(wx, wy);
                if far < limit { self.town(d, &b) } else { self.countryside(d, &b, 0.0) }
            }
            _ => self.town(d, &b),
        }
    }

    fn water(&self, x: f32, y: f32, depth: f32, flowing: bool) -> Sample {
        let deep = smooth(0.0, 120.0, -depth);
        let near = if flowing { [62.0, 78.0, 74.0] } else { [48.0, 72.0, 74.0] };
        let rgb = blend(near, [22.0, 42.0, 62.0], deep);
        let swell = noise(x / 900.0, y / 500.0, self.plan.seed ^ 88);
        flat(tint(rgb, 1.0 + 0.04 * self.broad), 0.0055 * (1.0 + 0.6 * swell))
    }

    /// Sea, piers, quays and ships.
    fn harbour(&self, x: f32, y: f32, shore: f32) -> Option<Sample> {
        let plan = self.plan;
        let (t, _) = plan.coast.locate(x, y);
        let (rx, ry) = (x - plan.centre.0, y - plan.centre.1);
        let busy = t.abs() < (0.16 * plan.size).min(2200.0) && rx * rx + ry * ry < 2.2 * plan.radius * plan.radius;
        let pier = (t / 340.0).floor();
        let hash = hash2(pier as i32, 5, plan.seed ^ 89);
        let across = t - (pier + 0.5) * 340.0;
        let (half, length) = (45.0 + 55.0 * pick(hash, 1), 180.0 + 420.0 * pick(hash, 2));
        if busy && shore > -90.0 && shore < length && (across.abs() < half || shore < 0.0) {
            let b = Block { hash, edge: 30.0, p: across + 400.0, q: shore + 200.0 };
            return Some(self.yard(&b, 0.8));
        }
        if shore < 0.0 {
            return (shore > -18.0).then(|| flat([186.0, 172.0, 140.0], 0.03));
        }
        // Ships lie alongside the piers and at anchor.
        let cell = 520.0;
        let (iu, iv) = ((t / cell).floor(), (shore / cell).floor());
        let ship = hash2(iu as i32, iv as i32, plan.seed ^ 90);
        if pick(ship, 1) < 0.12 && shore > 120.0 {
            let (su, sv) = ((iu + 0.25 + 0.5 * pick(ship, 2)) * cell, (iv + 0.25 + 0.5 * pick(ship, 3)) * cell);
            let (u, v) = (t - su, shore - sv);
            let (u, v) = if ship & 1 == 0 { (u, v) } else { (0.8 * u + 0.6 * v, 0.8 * v - 0.6 * u) };
            let long = 32.0 + 70.0 * pick(ship, 4);
            if u.abs() < long && v.abs() < 0.17 * long {
                let rgb = blend([150.0, 60.0, 50.0], [200.0, 200.0, 196.0], pick(ship, 5));
                return Some(Sample { rgb, height: 14.0, sigma: 0.7, bounce: 1.2 });
            }
        }
        Some(self.water(x, y, -0.35 * shore, false))
    }

    pub(super) fn trees(&self, cover: f32, height: f32) -> Sample {
        let shade = 1.0 + 0.16 * self.fine + 0.10 * self.middle;
        let wooded = smooth(-0.2, 0.5, self.fine + 0.6 * self.middle + 2.2 * (cover - 0.5));
        let sigma = lerp(0.055, 0.14 + 0.03 * self.fine, wooded);
        let rgb = blend(GRASS, TREES, wooded);
        Sample { rgb: tint(rgb, shade), height: height * wooded * (0.8 + 0.3 * self.fine), sigma, bounce: 0.02 }
    }

    pub(super) fn park(&self, b: &Block) -> Sample {
        if b.edge < 3.5 {
            return flat([158.0, 146.0, 120.0], 0.03);
        }
        match pick(b.hash, 1) {
            v if v < 0.88 => {
                let open_share = smooth(-0.15, 0.2, self.broad + 0.3 * self.middle + v - 0.5);
                if open_share < 0.5 {
                    return self.trees(0.75, 13.0);
                }
                let open = self.trees(0.1, 9.0);
                let rgb = blend(open.rgb, LAWN, 0.6);
                Sample { rgb, ..open }
            }
            // A sports ground.
            _ => {
                let (h, lx, ly) = lot(b, 96.0, 130.0, 31);
                let pitch = lx.abs() < 36.0 && ly.abs() < 53.0 && b.edge > 18.0;
                if pitch && h & 1 == 0 { flat([102.0, 136.0, 72.0], 0.035) } else { self.trees(0.2, 6.0) }
            }
        }
    }

    pub(super) fn countryside(&self, d: &District, b: &Block, woods: f32) -> Sample {
        let h = b.hash;
        let copse = woods > 0.0 && pick(h, 9) < 0.07;
        let ragged = self.wood + 0.35 * self.middle * self.wood * (1.0 - self.wood) * 4.0;
        if copse || woods * ragged > 0.5 {
            let stand = fbm(self.at.0 / 620.0, self.at.1 / 620.0, 3, self.plan.seed ^ 92) + 0.12 * (pick(b.hash, 60) - 0.5);
            let conifers = smooth(-0.06, 0.06, stand);
            let base = blend([54.0, 78.0, 36.0], [32.0, 52.0, 34.0], conifers);
            let shade = 1.0 + 0.15 * self.fine + 0.10 * self.middle;
            let height = 15.0 + 3.5 * self.fine + 2.0 * self.middle;
            let sigma = (0.15 + 0.035 * self.middle + 0.02 * self.fine) * lerp(1.12, 0.88, conifers) * (1.0 + 0.08 * self.broad);
            return Sample { rgb: tint(base, shade), height, sigma, bounce: 0.02 };
        }
        if b.edge < 2.6 && h & 7 != 0 {
            return flat([140.0, 132.0, 104.0], 0.04);
        }
        // A farmstead in the corner of a parcel now and then.
        let (_, lx, ly) = lot(b, 34.0, 26.0, 41);
        if pick(h, 8) < 0.06 && b.p < 110.0 && b.q < 90.0 && b.edge > 12.0 {
            let barn = lx.abs() < 12.0 && ly.abs() < 8.0;
            return if barn { Sample { rgb: town_roof(h, 0.5), height: 7.0, sigma: 0.2, bounce: 0.7 } } else { self.trees(0.4, 7.0) };
        }
        // Farms of a district prefer a crop.
        let usual = pick(h, 10) < 0.35;
        let crop = CROPS[(if usual { pick(d.hash, 65) } else { pick(h, 1) * pick(h, 2).max(0.4) } * 9.99) as usize];
        let other = CROPS[(pick(h, 3) * 9.99) as usize];
        let stripes = if (b.q / 22.0).floor() as i32 & 1 == 0 { 1.0 } else { -1.0 };
        let rgb = tint(blend(crop, other, 0.35 * pick(h, 4)), 0.92 + 0.16 * pick(h, 5));
        let rgb = tint(rgb, 1.0 + 0.025 * stripes * pick(h, 6) + 0.05 * self.broad + 0.03 * self.middle);
        // Roughness and moisture, which the colour does not tell.
        let v = pick(h, 7);
        let wet = fbm(b.p / 160.0, b.q / 160.0, 2, h ^ 5);
        let sigma = (0.022 + 0.12 * v * v) * (1.0 + 0.22 * wet) * (1.0 + 0.25 * self.broad);
        Sample { rgb, height: 0.0, sigma, bounce: 0.0 }
    }

    fn hamlet(&self, x: f32, y: f32) -> f32 {
        noise(x / 190.0, y / 190.0, self.plan.seed ^ 91)
    }
}
