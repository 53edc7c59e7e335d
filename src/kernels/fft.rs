//! Batched 2-D Fourier transforms of real images: host side of `shaders/fft.wgsl`.

use super::{expect, f32s, nhwc};
use crate::gpu::{Cost, DType, Engine, Error, Groups, PlanBuilder, Result, ShaderSource, Tensor, Variant};
use crate::shader;
use bytemuck::{Pod, Zeroable};

/// The shader of this family.
pub const SHADER: ShaderSource = shader!("fft");

/// Bytes of the uniforms of its variants.
#[doc(hidden)]
pub const PARAMS_BYTES: &[usize] = &[size_of::<Params>()];

/// The least and the largest extent of a transform.
pub const EXTENTS: [usize; 2] = [16, 4096];

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
struct Params {
    items: u32,
    columns: u32,
    steps: u32,
    along: u32,
    j: u32,
    s: u32,
    turn: u32,
    src_line: u32,
    src_step: u32,
    dst_line: u32,
    dst_step: u32,
    src_base: u32,
    dst_base: u32,
    limit: u32,
    scale: f32,
}

/// The radices of an extent, largest first: as few steps as 32 elements in registers allow.
fn radices(n: usize) -> &'static [usize] {
    match n {
        16 => &[4, 4],
        32 => &[8, 4],
        64 => &[8, 8],
        128 => &[16, 8],
        256 => &[16, 16],
        512 => &[32, 16],
        1024 => &[32, 32],
        2048 => &[16, 16, 8],
        _ => &[16, 16, 16],
    }
}

/// Up to this extent a GPU transforms a whole line in workgroup memory.
const LINE: usize = 1024;

/// Columns of a group that transforms lines of `n` elements: 16 KiB for one part of them, at most 256 invocations.
fn line_columns(n: usize) -> usize {
    (4096 / n).min(256 / radices(n)[1]).min(64)
}

/// How many steps a transform of `n` elements takes.
fn steps(engine: &Engine, n: usize) -> usize {
    if whole_lines(engine, n) { 1 } else { radices(n).len() }
}

/// Barriers cost a CPU more than a second pass over memory.
fn whole_lines(engine: &Engine, n: usize) -> bool {
    !engine.caps().software && n <= LINE
}

/// The variant for whole lines of `n` elements.
fn line_variant(n: usize, pair: i64, f16: i64, inverse: bool) -> Variant {
    let &[b, a, ..] = radices(n) else { unreachable!("two radices up to {LINE}") };
    let variant = Variant::new().int("KIND", 1).int("A", a as i64).int("B", b as i64).int("L", line_columns(n) as i64);
    variant.int("PAIR", pair).int("F16", f16).int("WIDE", 2).int("ROLE", 2).flag("INVERSE", inverse).ident("T", "vec2<f32>")
}

/// What a step is in its transform, as the shader's constants.
#[derive(Debug, Clone, Copy)]
struct Kind {
    radix: usize,
    role: i64,
    keep: usize,
    pair: i64,
    f16: i64,
    wide: i64,
    inverse: bool,
}

impl Kind {
    fn variant(self) -> Variant {
        Variant::new()
            .int("KIND", 0)
            .int("R", self.radix as i64)
            .int("ROLE", self.role)
            .int("KEEP", self.keep as i64)
            .int("PAIR", self.pair)
            .int("SETS", if self.pair == 1 { 2 } else { 1 })
            .int("F16", self.f16)
            .int("WIDE", self.wide)
            .flag("INVERSE", self.inverse)
            .ident("T", if self.wide == 4 { "vec4<f32>" } else { "vec2<f32>" })
    }
}

/// Of `radix` elements `spacing` apart, how many lie below `limit`, in quarters of the radix so that there are few variants.
fn keep(radix: usize, spacing: usize, limit: usize) -> usize {
    limit.div_ceil(spacing).next_multiple_of(radix / 4).min(radix)
}

/// Every variant, for validation and translation tests.
pub fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for (inverse, wide) in [(false, 2), (false, 4), (true, 2), (true, 4)] {
        for radix in [4, 8, 16, 32] {
            let kind = Kind { radix, role: 1, keep: radix, pair: 0, f16: 0, wide, inverse };
            // Between two others; the pair steps of columns.
            if radix == 16 {
                all.push(kind);
            }
            all.push(if inverse { Kind { role: 0, pair: 2, ..kind } } else { Kind { role: 2, pair: 1, ..kind } });
            // The ends that skip zeros or crop, of columns and rows.
            let role = if inverse { 2 } else { 0 };
            all.extend((1..=4).map(|quarters| Kind { role, keep: quarters * radix / 4, ..kind }));
            // The ends at the whole half spectrum.
            if wide == 4 {
                let (role, f16) = if inverse { (0, 1) } else { (2, 2) };
                all.extend([Kind { role, ..kind }, Kind { role, f16, ..kind }]);
            }
        }
    }
    let lines = (EXTENTS[0].ilog2()..=LINE.ilog2()).map(|log| 1 << log).flat_map(|n| {
        [(1, 0, false), (0, 0, false), (0, 2, false), (2, 0, true), (0, 0, true), (0, 1, true)]
            .map(|(pair, f16, inverse)| line_variant(n, pair, f16, inverse))
    });
    all.into_iter().map(Kind::variant).chain(lines).collect()
}

/// Scratch memory and tables of transforms of one size, shared by all that run one after the other.
#[derive(Debug)]
pub struct Scratch {
    size: [usize; 2],
    halves: [Tensor; 2],
    tables: [Tensor; 2],
}

/// Scratch of about this many bytes (of each of two tensors) is filled before a transform goes on to the next images.
const SCRATCH_BYTES: usize = 1 << 25;

impl Scratch {
    /// For images of up to `channels` channels (even) transformed at `size` \[H, W\], `batch` at a time (fewer where they are large).
    ///
    /// # Errors
    /// An extent that is no power of two from 16 to 4,096; an odd number of channels; out of memory.
    pub fn new(engine: &Engine, size: [usize; 2], channels: usize, batch: usize) -> Result<Self> {
        check("fft scratch", size, channels)?;
        let image = (size[0] / 2 + 1) * size[1] * channels * 2;
        let most = SCRATCH_BYTES.min(engine.caps().max_binding as usize);
        let images = (most / (4 * image)).clamp(1, batch.max(1));
        let half = || engine.tensor("fft scratch", &[images, image], DType::F32);
        Ok(Self { size, halves: [half()?, half()?], tables: [table(engine, size[0])?, table(engine, size[1])?] })
    }
}

/// Cosine and sine of every k / n of a circle, each rounded once.
fn table(engine: &Engine, n: usize) -> Result<Tensor> {
    let circle = |k: usize| (std::f64::consts::TAU * k as f64 / n as f64).sin_cos();
    let values: Vec<f32> = (0..n).map(circle).flat_map(|(sin, cos)| [cos as f32, sin as f32]).collect();
    engine.upload_f32("fft table", &[n, 2], &values)
}

fn check(op: &str, size: [usize; 2], channels: usize) -> Result<()> {
    if !size.iter().all(|n| n.is_power_of_two() && (EXTENTS[0]..=EXTENTS[1]).contains(n)) {
        return Err(Error::shape(op, format!("extents must be powers of two from {} to {}, not {size:?}", EXTENTS[0], EXTENTS[1])));
    }
    if channels == 0 || channels % 2 != 0 {
        return Err(Error::shape(op, format!("channels go in pairs: their number must be even and above 0, not {channels}")));
    }
    Ok(())
}

/// Extents of the half spectrum of `batch` images transformed at `size` \[H, W\]: \[batch, H / 2 + 1, W, channels, 2\].
pub fn half_shape(batch: usize, size: [usize; 2], channels: usize) -> [usize; 5] {
    [batch, size[0] / 2 + 1, size[1], channels, 2]
}

/// Extents of a transform: of the image, and of the grid it is transformed on.
fn extents(op: &str, image: &Tensor, spectrum: &Tensor) -> Result<([usize; 4], [usize; 2])> {
    let [b, h, w, c] = nhwc(op, "image", image)?;
    let &[_, rows, wide, _, 2] = spectrum.shape() else {
        return Err(Error::shape(op, format!("a half spectrum is [B, H / 2 + 1, W, C, 2], not {:?}", spectrum.shape())));
    };
    let size = [rows.saturating_sub(1) * 2, wide];
    check(op, size, c)?;
    if h > size[0] || w > size[1] {
        return Err(Error::shape(op, format!("an image of {h} x {w} does not fit into a transform of {} x {wide}", size[0])));
    }
    if spectrum.dtype() != DType::F16 {
        f32s(op, &[spectrum])?;
    }
    expect(op, "spectrum", spectrum, &half_shape(b, size, c), spectrum.dtype())?;
    Ok(([b, h, w, c], size))
}

fn scratch_for(plan: &PlanBuilder<'_>, op: &str, image: &Tensor, spectrum: &Tensor) -> Result<Scratch> {
    let ([b, _, _, c], size) = extents(op, image, spectrum)?;
    Scratch::new(plan.engine(), size, c, b)
}

/// Appends the half spectrum \[B, H / 2 + 1, W, C, 2\] (the last extent: real and imaginary part; F32 or F16) of x \[B, h, w, C\]
/// (F32, C even, zero beyond h <= H and w <= W): X(ky, kx) = scale sum x(y, x) e^(-2 pi i (ky y / H + kx x / W)). H and W, powers
/// of two from 16 to 4,096, are read off the spectrum.
///
/// F16 holds up to 65,504: a spectrum grows as the number of pixels for a mean, as its root for noise, so choose `scale`
/// (1 / sqrt(H W) keeps noise at its size) such that it fits; what does not becomes infinite.
///
/// # Errors
/// Extents or types other than these; out of memory.
pub fn forward(plan: &mut PlanBuilder<'_>, x: &Tensor, spectrum: &Tensor, scale: f32) -> Result<()> {
    let scratch = scratch_for(plan, "fft", x, spectrum)?;
    forward_with(plan, &scratch, x, spectrum, scale)
}

/// Appends the top left h x w of the inverse of a half spectrum \[B, H / 2 + 1, W, C, 2\] (F32 or F16) as y \[B, h, w, C\] F32:
/// the sum over all ky and kx (those of ky > H / 2 by symmetry) of X e^(+2 pi i (ky y / H + kx x / W)), times `scale`. So
/// `forward` with scale 1 and this with 1 / (H W) give x back. Of the rows ky = 0 and H / 2 the part counts whose transform is real.
///
/// # Errors
/// As [`forward`].
pub fn inverse(plan: &mut PlanBuilder<'_>, spectrum: &Tensor, y: &Tensor, scale: f32) -> Result<()> {
    let scratch = scratch_for(plan, "inverse fft", y, spectrum)?;
    inverse_with(plan, &scratch, spectrum, y, scale)
}

/// [`forward`] in scratch memory that other transforms of the plan use too.
///
/// # Errors
/// As [`forward`]; scratch of another size.
pub fn forward_with(plan: &mut PlanBuilder<'_>, scratch: &Scratch, x: &Tensor, spectrum: &Tensor, scale: f32) -> Result<()> {
    run(plan, "fft", scratch, x, spectrum, scale, false)
}

/// [`inverse`] in scratch memory that other transforms of the plan use too.
///
/// # Errors
/// As [`forward`]; scratch of another size.
pub fn inverse_with(plan: &mut PlanBuilder<'_>, scratch: &Scratch, spectrum: &Tensor, y: &Tensor, scale: f32) -> Result<()> {
    run(plan, "inverse fft", scratch, y, spectrum, scale, true)
}

/// One side of a step: a tensor, where it begins, from line to line and from element to element, in vectors.
#[derive(Clone, Copy)]
struct Side<'a> {
    tensor: &'a Tensor,
    base: usize,
    line: usize,
    step: usize,
}

fn run(
    plan: &mut PlanBuilder<'_>,
    op: &str,
    scratch: &Scratch,
    image: &Tensor,
    spectrum: &Tensor,
    scale: f32,
    inverse: bool,
) -> Result<()> {
    let ([b, h, w, c], size) = extents(op, image, spectrum)?;
    let most = scratch.halves[0].len() / half_shape(1, size, c).iter().product::<usize>();
    if scratch.size != size || most == 0 {
        let (made, room) = (scratch.size, scratch.halves[0].shape());
        return Err(Error::shape(op, format!("scratch of {room:?} at {made:?}, the transform has {c} channels at {size:?}")));
    }
    let (rows, wide) = (size[0] / 2 + 1, size[1]);
    // Vectors along y: of packed rows; along x: of channels of half spectra.
    let lines = size.map(|n| whole_lines(plan.engine(), n));
    let vec = if w * c % 4 == 0 && !lines[0] { 4 } else { 2 };
    let vec_x = if lines[1] { 2 } else { 4 };
    for first in (0..b).step_by(most) {
        let images = most.min(b - first);
        // Along x: lines of channels of a half spectrum.
        let x_side = |tensor, line: usize, base| Side { tensor, base, line: 2 * line * c / vec_x, step: 2 * c / vec_x };
        // Along y: a line is an image, its columns the row of it.
        let y_side = |tensor, n: usize, base: usize| Side { tensor, base, line: n * w * c / vec, step: w * c / vec };
        let whole = x_side(spectrum, wide, first * rows * wide * 2 * c / vec_x);
        let along_y = Axis { n: size[0], lines: images, columns: w * c / vec, crop: h, vec, table: &scratch.tables[0], rows: false };
        let along_x =
            Axis { n: wide, lines: images * rows, columns: 2 * c / vec_x, crop: w, vec: vec_x, table: &scratch.tables[1], rows: true };
        let real = y_side(image, h, first * h * w * c / vec);
        let half = |tensor| Side { tensor, base: 0, line: rows * w * c / 2, step: w * c / 2 };
        let [a, z] = [&scratch.halves[0], &scratch.halves[1]];
        let [ny, nx] = size.map(|n| steps(plan.engine(), n));
        // Scratch tensors take turns: after n steps the result lies in this one.
        let turn = |n: usize| if n % 2 == 1 { a } else { z };
        if inverse {
            along_x.run(plan, op, whole, |i| x_side(turn(i), wide, 0), x_side(turn(nx), w, 0), spectrum.dtype(), 1.0, true)?;
            along_y.run(plan, op, half(turn(nx)), |i| y_side(turn(nx + i), size[0], 0), real, DType::F32, scale, true)?;
        } else {
            // A half each, exactly: the unpacking leaves out the division.
            along_y.run(plan, op, real, |i| y_side(turn(i), size[0], 0), half(turn(ny)), DType::F32, 0.5, false)?;
            along_x.run(plan, op, x_side(turn(ny), w, 0), |i| x_side(turn(ny + i), wide, 0), whole, spectrum.dtype(), scale, false)?;
        }
    }
    Ok(())
}

/// Transforms of all lines along one axis.
struct Axis<'a> {
    n: usize,
    lines: usize,
    columns: usize,
    crop: usize,
    vec: usize,
    table: &'a Tensor,
    rows: bool,
}

impl Axis<'_> {
    /// From `src` to `dst`; between them, after i steps, `between(i)`. The half spectrum's side may be f16.
    fn run<'t>(
        &self,
        plan: &mut PlanBuilder<'_>,
        op: &str,
        src: Side<'t>,
        between: impl Fn(usize) -> Side<'t>,
        dst: Side<'t>,
        dtype: DType,
        scale: f32,
        inverse: bool,
    ) -> Result<()> {
        if whole_lines(plan.engine(), self.n) {
            return self.whole(plan, op, src, dst, dtype, scale, inverse);
        }
        let mut radices = radices(self.n).to_vec();
        // The step that pairs has twice the elements: it gets the smallest radix, and the end that crops the largest.
        if inverse {
            radices.reverse();
        }
        let last = radices.len() - 1;
        let (mut s, mut from) = (1, src);
        for (i, radix) in radices.iter().copied().enumerate() {
            let role = if i == 0 {
                0
            } else if i == last {
                2
            } else {
                1
            };
            let to = if i == last { dst } else { between(i + 1) };
            // At the spectrum's end of the axis: paired columns or f16 rows; at the other: zeros beyond the crop.
            let spectral = role != 1 && inverse == (role == 0);
            let end = role != 1 && !spectral;
            let spacing = self.n / radix;
            let pair = if spectral && !self.rows { if inverse { 2 } else { 1 } } else { 0 };
            let f16 = if spectral && self.rows && dtype == DType::F16 { if inverse { 1 } else { 2 } } else { 0 };
            let limit = if end { self.crop } else { self.n };
            let keep = if end { keep(radix, spacing, limit) } else { radix };
            let kind = Kind { radix, role, keep, pair, f16, wide: self.vec as i64, inverse };
            let steps = if pair > 0 { spacing / 2 + 1 } else { spacing };
            let items = self.lines * self.columns;
            let params = Params {
                items: items as u32,
                columns: self.columns as u32,
                steps: steps as u32,
                along: self.rows.into(),
                j: spacing as u32,
                s: s as u32,
                turn: (self.n / (radix * s)) as u32,
                src_line: from.line as u32,
                src_step: from.step as u32,
                dst_line: to.line as u32,
                dst_step: to.step as u32,
                src_base: from.base as u32,
                dst_base: to.base as u32,
                limit: limit as u32,
                scale: if role == 2 { scale } else { 1.0 },
            };
            let elements = (items * self.n * self.vec) as f64;
            let bytes = elements * (if f16 > 0 { 6.0 } else { 8.0 }) * (keep as f64 / radix as f64 + 1.0) / 2.0;
            let cost = Cost { flops: 2.5 * elements * f64::from(radix.ilog2()), bytes };
            let groups = Groups::Linear((items.div_ceil(64) * steps) as u64);
            let all = [self.table.into(), from.tensor.into(), to.tensor.into()];
            plan.dispatch(op, &SHADER, &kind.variant(), &all[usize::from(role == 0)..], &params, groups, cost)?;
            (s, from) = (s * radix, to);
        }
        Ok(())
    }

    /// [`Axis::run`] in one step.
    fn whole(
        &self,
        plan: &mut PlanBuilder<'_>,
        op: &str,
        src: Side<'_>,
        dst: Side<'_>,
        dtype: DType,
        scale: f32,
        inverse: bool,
    ) -> Result<()> {
        let items = self.lines * self.columns;
        let params = Params {
            items: items as u32,
            columns: self.columns as u32,
            src_line: src.line as u32,
            src_step: src.step as u32,
            dst_line: dst.line as u32,
            dst_step: dst.step as u32,
            src_base: src.base as u32,
            dst_base: dst.base as u32,
            limit: self.crop as u32,
            scale,
            ..Params::default()
        };
        let [pair, f16] = match (self.rows, inverse) {
            (false, false) => [1, 0],
            (false, true) => [2, 0],
            (true, false) => [0, 2],
            (true, true) => [0, 1],
        };
        let variant = line_variant(self.n, pair, if dtype == DType::F16 { f16 } else { 0 }, inverse);
        let elements = (items * self.n * self.vec) as f64;
        let bytes = 4.0 * elements * (1.0 + self.crop as f64 / self.n as f64);
        let cost = Cost { flops: 2.5 * elements * f64::from(self.n.ilog2()), bytes };
        let groups = Groups::for_items(items, line_columns(self.n));
        plan.dispatch(op, &SHADER, &variant, &[self.table.into(), src.tensor.into(), dst.tensor.into()], &params, groups, cost)
    }
}
