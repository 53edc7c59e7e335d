//! The built-up blocks: roofs, yards, towers and houses.

use super::cover::{ASPHALT, GRASS, LAWN, PAVED, Rgb, Sample, Sampler, blend, flat, tint};
use super::layout::{Block, District, Kind};
use super::noise::{hash2, mix, pick};

/// A tiled or flat roof of a town house.
pub(super) fn town_roof(hash: u32, tiled: f32) -> Rgb {
    let base = if pick(hash, 90) < tiled {
        blend([152.0, 100.0, 80.0], [122.0, 88.0, 76.0], pick(hash, 91))
    } else {
        blend([112.0, 110.0, 110.0], [176.0, 172.0, 166.0], pick(hash, 91))
    };
    tint(base, 0.86 + 0.28 * pick(hash, 92))
}

/// The position within a lot of `sx` by `sy` metres: its hash, and the offset from its centre.
pub(super) fn lot(b: &Block, sx: f32, sy: f32, stream: u32) -> (u32, f32, f32) {
    let (iu, iv) = ((b.p / sx).floor(), (b.q / sy).floor());
    let hash = hash2(iu as i32, iv as i32, b.hash ^ stream);
    (hash, b.p - (iu + 0.5) * sx, b.q - (iv + 0.5) * sy)
}

impl Sampler<'_> {
    /// Halls, yards and tanks.
    pub(super) fn yard(&self, b: &Block, busy: f32) -> Sample {
        let wide = 80.0 + 90.0 * pick(b.hash, 51);
        let deep = 60.0 + 60.0 * pick(b.hash, 52);
        let (h, lx, ly) = lot(b, wide, deep, 53);
        let fill = 0.30 + 0.14 * pick(h, 1);
        let hall = lx.abs() < fill * wide && ly.abs() < fill * deep;
        let use_ = pick(h, 2);
        if use_ < 0.10 {
            // Storage tanks.
            let (_, tx, ty) = lot(b, 46.0, 46.0, 54);
            if tx * tx + ty * ty < 17.0 * 17.0 {
                return Sample { rgb: [214.0, 214.0, 208.0], height: 14.0, sigma: 0.35, bounce: 1.6 };
            }
        } else if use_ < 0.10 + busy && hall {
            let v = pick(h, 3);
            let rgb = match v {
                v if v < 0.20 => [222.0, 222.0, 218.0],
                v if v < 0.55 => [168.0, 170.0, 172.0],
                v if v < 0.74 => [104.0, 128.0, 158.0],
                v if v < 0.84 => [150.0, 92.0, 78.0],
                _ => [110.0, 110.0, 112.0],
            };
            let metal = pick(h, 4) < 0.5;
            let sigma = if metal { 0.25 + 0.9 * pick(h, 5) } else { 0.08 };
            let height = 8.0 + 9.0 * pick(h, 6);
            return Sample { rgb: tint(rgb, 0.94 + 0.12 * pick(h, 7)), height, sigma, bounce: 0.8 };
        }
        let ground = blend(PAVED, [150.0, 136.0, 112.0], pick(b.hash, 55));
        let ground = if pick(h, 8) < 0.25 { GRASS } else { ground };
        flat(tint(ground, 1.0 + 0.06 * self.fine), 0.035 + 0.04 * pick(h, 9))
    }

    /// Blocks of buildings.
    pub(super) fn town(&self, d: &District, b: &Block) -> Sample {
        let h = b.hash;
        // Some blocks are put to another use than their district's.
        let draw = pick(h, 30);
        let kind = match d.kind {
            Kind::Suburb | Kind::Village if draw < 0.05 => Kind::Slabs,
            Kind::Suburb if draw < 0.10 => Kind::Perimeter,
            Kind::Suburb if draw < 0.14 => Kind::Park,
            Kind::Slabs if draw < 0.14 => Kind::Suburb,
            Kind::Slabs | Kind::Perimeter | Kind::Core if (0.14..0.20).contains(&draw) => Kind::Park,
            Kind::Slabs if draw < 0.32 => Kind::Industry,
            Kind::Perimeter if draw < 0.34 => Kind::Slabs,
            Kind::Perimeter if draw < 0.39 => Kind::Industry,
            Kind::Core if draw < 0.36 => Kind::Perimeter,
            Kind::Industry if draw < 0.09 => Kind::Slabs,
            Kind::Industry if draw < 0.17 => Kind::Fields,
            kind => kind,
        };
        let (street, setback) = match kind {
            Kind::OldTown => (4.0, 0.0),
            Kind::Core => (8.5, 2.0),
            Kind::Perimeter => (6.5, 1.0),
            Kind::Slabs => (6.5, 6.0),
            Kind::Industry => (7.5, 8.0),
            _ => (5.0, 5.0),
        };
        if b.edge < street {
            let quiet = matches!(kind, Kind::Suburb | Kind::Village);
            return flat(tint(if quiet { PAVED } else { ASPHALT }, 1.0 + 0.06 * self.fine), 0.02);
        }
        let inner = b.edge - street - setback;
        let built = inner > 0.0;
        // Walls that face the sensor send back more.
        let facing = if d.organic { 0.25 + 0.6 * pick(h, 20) } else { 0.28 + 1.15 * d.align };
        let building = |rgb: Rgb, height: f32, sigma: f32| Sample { rgb, height, sigma, bounce: facing };
        let green = pick(h, 21);
        let square = green < 0.03 && kind != Kind::Industry;
        if square {
            return if h & 1 == 0 { self.trees(0.55, 10.0) } else { flat(tint(PAVED, 1.12), 0.04) };
        }
        let garden = || self.trees(0.30 + 0.25 * green, 6.0);
        let paved = || flat(tint(PAVED, 0.92 + 0.06 * self.fine), 0.05);
        match kind {
            Kind::Park => self.park(b),
            Kind::Fields => self.countryside(d, b, 1.0),
            Kind::OldTown | Kind::Perimeter => {
                let (seg, _, _) = lot(b, 26.0, 24.0, 22);
                let tall = if d.kind == Kind::OldTown { 9.0 } else { 14.0 } + 10.0 * d.density;
                let height = tall * (0.75 + 0.5 * pick(seg, 1));
                let tiled = if d.kind == Kind::OldTown { 0.9 } else { 0.2 + 0.6 * pick(d.hash, 61) };
                let full = pick(h, 23) < 0.22;
                // A church or a hall stands out.
                let high = if pick(seg, 2) < 0.012 { 28.0 } else { 0.0 };
                if built && (full || inner < 15.0) {
                    building(town_roof(seg, tiled), height + high, 0.16 + 0.12 * pick(seg, 3))
                } else if built && inner < 27.0 {
                    garden()
                } else if built && pick(seg, 4) < 0.4 {
                    building(town_roof(seg, 0.4), 0.5 * height, 0.15)
                } else if built {
                    paved()
                } else {
                    flat(tint(PAVED, 1.03), 0.05)
                }
            }
            Kind::Core => {
                let (tower, lx, ly) = lot(b, 58.0, 52.0, 24);
                let slim = 13.0 + 10.0 * pick(tower, 1);
                let is_tower = pick(tower, 2) < 0.42 && lx.abs() < slim && ly.abs() < slim && inner > 2.0;
                if is_tower {
                    let v = pick(tower, 3);
                    let height = 32.0 + 105.0 * v * v * d.density;
                    let rgb = blend([92.0, 100.0, 112.0], [206.0, 204.0, 200.0], pick(tower, 4));
                    building(rgb, height, 0.30)
                } else if built && pick(tower, 5) < 0.72 {
                    let height = 14.0 + 16.0 * pick(tower, 6);
                    building(tint(town_roof(tower, 0.06), 1.08), height, 0.18 + 0.15 * pick(tower, 7))
                } else {
                    paved()
                }
            }
            Kind::Slabs => {
                let deep = 44.0 + 18.0 * pick(h, 25);
                let (slab, lx, ly) = if h & 2 == 0 { lot(b, 96.0, deep, 26) } else { lot(b, deep, 96.0, 26) };
                let (lx, ly) = if h & 2 == 0 { (lx, ly) } else { (ly, lx) };
                if built && lx.abs() < 28.0 + 14.0 * pick(slab, 1) && ly.abs() < 7.0 && pick(slab, 2) < 0.86 {
                    let rgb = blend([150.0, 146.0, 140.0], [204.0, 200.0, 192.0], pick(h, 27));
                    let storeys = if pick(slab, 3) < 0.25 { 34.0 } else { 17.0 };
                    building(rgb, storeys + 5.0 * pick(h, 28), 0.2)
                } else if pick(slab, 4) < 0.22 {
                    paved()
                } else {
                    garden()
                }
            }
            Kind::Industry => {
                if built {
                    let yard = self.yard(b, 0.74);
                    Sample { bounce: yard.bounce * (0.35 + 0.9 * facing), ..yard }
                } else {
                    flat(tint(GRASS, 1.1), 0.05)
                }
            }
            _ => {
                // Houses line the streets; gardens lie behind.
                let (house, lx, ly) = lot(b, 23.0 + 8.0 * pick(d.hash, 62), 27.0, 29);
                let tiled = 0.3 + 0.6 * pick(d.hash, 63);
                let (hw, hd) = (5.0 + 3.0 * pick(house, 1), 5.0 + 3.0 * pick(house, 2));
                if built && inner < 34.0 && lx.abs() < hw && ly.abs() < hd && pick(house, 3) < 0.92 {
                    building(town_roof(house, tiled), 6.5 + 3.5 * pick(house, 4), 0.17)
                } else {
                    let yard = self.trees(0.16 + 0.5 * pick(d.hash, 66), 6.0);
                    let mut rgb = blend(yard.rgb, LAWN, 0.35);
                    rgb = blend(rgb, PAVED, 0.18 * pick(house, 5));
                    rgb = tint(rgb, 0.95 + 0.12 * pick(mix(d.hash), 64));
                    Sample { rgb, height: 0.6 * yard.height, ..yard }
                }
            }
        }
    }
}
