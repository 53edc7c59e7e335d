//! The patch sampler: host side of `shaders/sampler.wgsl`.
//!
//! Pixels enter the GPU once, as pages ([`PageArray`], [`PageTable`]); patches are cut, turned, scaled, filtered and augmented
//! there, and never exist on the host. A [`PatchRecord`] says which patch; the host rewrites the records each step.
//!
//! Pixel (x, y) covers [x, x+1) x [y, y+1), so the centre of pixel (0, 0) is (0.5, 0.5). The output pixel of row i, column j
//! lies at centre + A (j + 1/2 - S/2, i + 1/2 - S/2), x to the right and y down.

use crate::gpu::{
    Binding, Cost, DType, Engine, Error, Groups, PAGE, PageArray, PageTable, PlanBuilder, Result, ShaderSource, Tensor, Variant,
};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("sampler");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// Most taps a side.
pub const MAX_TAPS: u32 = 8;

/// Most looks of the speckle.
pub const MAX_LOOKS: u32 = 16;

/// Largest extent of a patch along x or y of its image, pixels: a patch of 4,096 px fits at any angle.
pub const MAX_EXTENT: u32 = 8192;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    side: u32,
    images: u32,
    outputs: u32,
}

/// Side of the tiles that parts of an output are made of, pixels.
pub const TILE: u32 = 8;

/// One patch: which pixels, and how they are altered. Seven groups of four 32-bit words, as the shader reads them.
///
/// Where a patch lies is given in integers, so that a record means the same source pixels on any machine. Made by
/// [`PatchRecord::new`] or [`PatchRecord::from_affine`], which check the ranges; a record with other contents reads no memory
/// that is not its own, it only gives other pixels.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct PatchRecord {
    /// Image of the page table; a number the table does not have gives an empty patch.
    pub image: u32,
    /// Column of the pixel that holds the centre.
    pub x: i32,
    /// Row of the pixel that holds the centre.
    pub y: i32,
    /// Centre within its pixel in 1/65536 px: x in the lower half, y in the upper.
    pub sub: u32,
    /// 2x2 matrix, row by row, in 1/65536 source px per output px.
    pub affine: [i32; 4],
    /// Bits 0 to 2: the bands that are there; the others give 0 when augmented.
    pub flags: u32,
    /// Speckle: number of looks, at most [`MAX_LOOKS`]; 0 for none.
    pub looks: u32,
    /// Key of the random numbers.
    pub seed: u32,
    /// Second key: a sample's number, for instance.
    pub stream: u32,
    /// Standard deviation of the added Gaussian noise; 0 for none.
    pub sigma: f32,
    /// Standardised units per dB, for the speckle.
    pub speckle: f32,
    /// Number of the output that the patch is written to, plus one; 0 for the record's own number.
    pub onto: u32,
    /// The output's tiles ([`TILE`]) that the patch fills, a byte each from the lowest: first column, first row, end column, end row; 0 for all.
    pub part: u32,
    /// Each row: weights of the three bands, then the offset.
    pub colour: [[f32; 4]; 3],
}

impl PatchRecord {
    /// Words of a record.
    pub const WORDS: usize = size_of::<Self>() / 4;

    /// An empty patch: all 0, nothing valid; fills up a batch.
    pub fn empty() -> Self {
        let colour = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        Self { image: u32::MAX, flags: 7, colour, ..Self::zeroed() }
    }

    /// A patch of `side` x `side` output pixels about `centre` (x, y), at `scale` source pixels per output pixel, turned by
    /// `angle` radians (the output's x axis points along (cos, sin) in the image: clockwise as seen), and mirrored left to
    /// right before that if asked. Position and matrix are rounded to 1/65536 px.
    ///
    /// # Errors
    /// As [`PatchRecord::from_affine`].
    pub fn new(image: u32, centre: [f64; 2], scale: f64, angle: f64, mirror: bool, side: usize) -> Result<Self> {
        let (sin, cos) = angle.sin_cos();
        let flip = if mirror { -1.0 } else { 1.0 };
        Self::from_affine(image, centre, [[flip * scale * cos, -scale * sin], [flip * scale * sin, scale * cos]], side)
    }

    /// A patch under any 2x2 matrix (rotation, scale, mirror, shear): output offset to source offset, rows of (x, y).
    ///
    /// # Errors
    /// A centre beyond 2^24 px of the image's corner or not a number; a patch that spans more than [`MAX_EXTENT`]
    /// source pixels along x or y, or an output pixel that spans more than a page ([`PAGE`]).
    pub fn from_affine(image: u32, centre: [f64; 2], matrix: [[f64; 2]; 2], side: usize) -> Result<Self> {
        let far = f64::from(PageTable::MAX_SIDE) * 2.0;
        if centre.iter().any(|c| c.is_nan() || c.abs() > far) {
            return Err(Error::shape("sampler", format!("the centre {centre:?} lies outside any image")));
        }
        let fixed = centre.map(|c| (c * 65536.0).round() as i64);
        let affine = [matrix[0][0], matrix[0][1], matrix[1][0], matrix[1][1]].map(|a| (a * 65536.0).round());
        for pair in affine.chunks_exact(2) {
            let step = (pair[0].abs() + pair[1].abs()) / 65536.0;
            for (what, need, limit) in [("a patch", step * side as f64, MAX_EXTENT), ("an output pixel", step, PAGE as u32)] {
                if need.is_nan() || need > f64::from(limit) {
                    return Err(Error::shape(
                        "sampler",
                        format!(
                            "{what} would span {need:.1} source pixels of at most {limit}; use a smaller patch, or read the scene at a coarser scale"
                        ),
                    ));
                }
            }
        }
        Ok(Self {
            image,
            x: (fixed[0] >> 16) as i32,
            y: (fixed[1] >> 16) as i32,
            sub: (fixed[0] & 0xffff) as u32 | ((fixed[1] & 0xffff) as u32) << 16,
            affine: affine.map(|a| a as i32),
            ..Self::empty()
        })
    }

    /// The pixels of an output of this side that the patch fills: left, top, right, bottom.
    pub(crate) fn filled(&self, side: u32) -> [u32; 4] {
        match self.part {
            0 => [0, 0, side, side],
            part => part.to_le_bytes().map(|t| (u32::from(t) * TILE).min(side)),
        }
    }

    /// A record that writes nothing; fills up records of which several share an output.
    pub fn nowhere() -> Self {
        Self { onto: u32::MAX, ..Self::empty() }
    }

    /// The same place with output pixels `factor` times as large, `side` of them, as an output of its own.
    ///
    /// # Errors
    /// As [`PatchRecord::from_affine`].
    pub fn resized(self, factor: f64, side: usize) -> Result<Self> {
        let fixed = |v: u32| f64::from(v & 0xffff) / 65536.0;
        let centre = [f64::from(self.x) + fixed(self.sub), f64::from(self.y) + fixed(self.sub >> 16)];
        let [a, b, c, d] = self.affine.map(|v| f64::from(v) / 65536.0 * factor);
        let Self { x, y, sub, affine, .. } = Self::from_affine(self.image, centre, [[a, b], [c, d]], side)?;
        Ok(Self { x, y, sub, affine, onto: 0, part: 0, ..self })
    }

    /// Source pixels per output pixel: the root of the ratio of areas.
    pub fn scale(&self) -> f64 {
        let [a, b, c, d] = self.affine.map(|v| f64::from(v) / 65536.0);
        (a * d - b * c).abs().sqrt()
    }

    /// With the keys of the random numbers.
    #[must_use]
    pub fn with_rng(mut self, seed: u32, stream: u32) -> Self {
        (self.seed, self.stream) = (seed, stream);
        self
    }

    /// With a colour matrix and offsets: band b becomes matrix\[b\] . bands + offset\[b\].
    #[must_use]
    pub fn with_colour(mut self, matrix: [[f32; 3]; 3], offset: [f32; 3]) -> Self {
        self.colour = std::array::from_fn(|b| [matrix[b][0], matrix[b][1], matrix[b][2], offset[b]]);
        self
    }

    /// With a gain and an offset for each band.
    #[must_use]
    pub fn with_gain(self, gain: [f32; 3], offset: [f32; 3]) -> Self {
        self.with_colour(std::array::from_fn(|b| std::array::from_fn(|c| if b == c { gain[b] } else { 0.0 })), offset)
    }

    /// With Gaussian noise (a sum of twelve uniforms: it ends at six standard deviations).
    #[must_use]
    pub fn with_noise(mut self, sigma: f32) -> Self {
        self.sigma = sigma;
        self
    }

    /// With multiplicative speckle of `looks` looks (0 for none, at most [`MAX_LOOKS`]) for an image in dB that was divided by
    /// `db_scale` when it was standardised: 10 log10 of a gamma variate of mean 1, over `db_scale`, is added.
    #[must_use]
    pub fn with_speckle(mut self, looks: u32, db_scale: f32) -> Self {
        self.looks = looks.min(MAX_LOOKS);
        self.speckle = 1.0 / db_scale;
        self
    }

    /// Written to a part of an output that several records share, each as if it alone were that output: columns `from`\[0\] up to before `to`\[0\] and
    /// rows `from`\[1\] up to before `to`\[1\], pixels. Records must not share tiles, and must fill an output together: what none fills keeps what it held.
    ///
    /// # Errors
    /// An empty part, corners that are no multiples of [`TILE`], or beyond pixel 2,040.
    pub fn onto(mut self, output: u32, from: [u32; 2], to: [u32; 2]) -> Result<Self> {
        let tiles = [from[0], from[1], to[0], to[1]].map(|v| v / TILE);
        let whole = [from, to].iter().flatten().all(|v| v.is_multiple_of(TILE));
        if !whole || from[0] >= to[0] || from[1] >= to[1] || tiles.iter().any(|t| *t > 255) {
            let most = 255 * TILE;
            return Err(Error::shape(
                "sampler",
                format!("a part from {from:?} to {to:?} is not made of tiles of {TILE} pixels up to {most}"),
            ));
        }
        self.onto = output + 1;
        self.part = u32::from_le_bytes(tiles.map(|t| t as u8));
        Ok(self)
    }

    /// With only these bands there; the others stay 0 through noise, speckle and offsets.
    #[must_use]
    pub fn with_bands(mut self, there: [bool; 3]) -> Self {
        self.flags = (0..3).map(|b| u32::from(there[b]) << b).sum();
        self
    }
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    (1..=i64::from(MAX_TAPS)).flat_map(|taps| [false, true].map(|a| Variant::new().int("TAPS", taps).flag("AUGMENT", a))).collect()
}

/// The taps a side that suit a scale in source pixels per output pixel: 1 (bilinear) up to scale 1, then a tap for each
/// source pixel, at most [`MAX_TAPS`].
pub fn taps_for(scale: f64) -> u32 {
    ((scale - 1e-6).ceil() as u32).clamp(1, MAX_TAPS)
}

/// A tensor for the records of `n` patches; `Engine::write` fills it with a slice of [`PatchRecord`].
///
/// # Errors
/// Out of memory.
pub fn records(engine: &Engine, n: usize) -> Result<Tensor> {
    engine.upload("patch records", &[n, PatchRecord::WORDS], DType::U32, &vec![PatchRecord::empty(); n])
}

/// Appends the cutting of patches: `records` [R, 28] of u32 to `out` [N, S, S, 4] of f32, three bands and the share of valid
/// pixels; as many records as outputs, or more where some share an output ([`PatchRecord::onto`]). `taps` as [`taps_for`] gives it for the usual scale of the batch; without `augment` the records' colour, speckle,
/// noise and bands are not looked at.
///
/// # Errors
/// Shapes or types that do not fit, taps out of range, a page table of a larger page array, more than
/// 65,535 patches.
pub fn forward(
    plan: &mut PlanBuilder<'_>,
    pages: &PageArray,
    table: &PageTable,
    records: &Tensor,
    taps: u32,
    augment: bool,
    out: &Tensor,
) -> Result<()> {
    let fail = |reason: String| Err(Error::shape("sampler", reason));
    let &[n, side, width, 4] = out.shape() else { return fail(format!("the output is {:?}, expected [N, S, S, 4]", out.shape())) };
    if side != width || side == 0 || out.dtype() != DType::F32 {
        return fail(format!("the output is {:?} of {:?}, expected [N, S, S, 4] of F32", out.shape(), out.dtype()));
    }
    let &[count, PatchRecord::WORDS] = records.shape() else {
        return fail(format!("the records are {:?}, expected [{n}, {}] or more of them", records.shape(), PatchRecord::WORDS));
    };
    if count < n || records.dtype() != DType::U32 {
        return fail(format!("the records are {count} of {:?}, expected {n} or more of U32", records.dtype()));
    }
    if !(1..=MAX_TAPS).contains(&taps) {
        return fail(format!("{taps} taps, expected 1 to {MAX_TAPS}"));
    }
    if table.layers() > pages.layers() {
        return fail(format!("the page table is for an array of {} layers, this one has {}", table.layers(), pages.layers()));
    }
    let variant = Variant::new().int("TAPS", taps).flag("AUGMENT", augment);
    let params = Params { side: side as u32, images: table.images(), outputs: n as u32 };
    let bindings = [Binding::Texture(pages.view()), table.tensor().into(), records.into(), out.into()];
    let tiles = side.div_ceil(8) as u32;
    let pixels = (n * side * side) as f64;
    let loads = if taps == 1 { 4.0 } else { f64::from(taps * taps) };
    let cost = Cost { flops: pixels * loads * 4.0, bytes: pixels * (loads * 8.0 + 16.0) };
    plan.dispatch("sampler", &SHADER, &variant, &bindings, &params, Groups::Grid(tiles, tiles, count as u32), cost)
}
