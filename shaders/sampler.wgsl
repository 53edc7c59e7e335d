// Patch sampler: cuts, turns, scales, filters and augments patches of paged images.
//
// Bindings: pages (texture array of 512 px rgba16float pages: three bands, validity; a no-data pixel is 0 throughout),
//           table (for each image pages across, pages down, first entry; entries layer + 1, or 0 for an absent page),
//           records [R] of 28 words, out [N, S, S] vec4 (three bands, validity share), params.
// Coordinates: pixel (x, y) covers [x, x+1) x [y, y+1). The output pixel of row i, column j lies at
//     centre + A * (j + 1/2 - S/2, i + 1/2 - S/2),  A = [[affine.x, affine.y], [affine.z, affine.w]] / 65536
// in source pixels. All of it is integer arithmetic in units of 1/131072 px relative to the centre's pixel, so one record
// means the same source pixels on any machine; while a patch spans at most 8,192 px along x and along y no value reaches
// 2^31. An output pixel spans at most 512 px along x and along y, so its taps lie in at most 2 x 2 pages: these are looked up
// first, and the loop over the taps has no branch (software adapters would walk both sides).
// TAPS 1: bilinear, weights in 1/4096 px, renormalised over the valid pixels. TAPS k: k x k nearest pixels at
// centre + (A / k, rounded to zero) * (t + 1/2 - k/2, s + 1/2 - k/2), mean of the valid ones. Validity: the share of the
// weight that was valid. Absent pages and what lies outside an image are not valid. Where nothing is valid the output is 0.
// AUGMENT: v = colour * (v, 1) + speckle * 10 log10(g) + sigma * z, on the bands of `flags`' bits 0..2 (others give 0), with
// g = -ln(u1 .. uL) / L (gamma of mean 1, L looks) and z a sum of twelve 16-bit uniforms, variance 1. Random words:
// pcg3d(i * S + j, stream, seed + draw * 0x9E3779B9), one component a band; draws 0..5 give z, 8..23 the looks.
// Several records may share an output: `onto` is its number + 1 (0: the record's own number), `part` the tiles of 8 x 8 px that the record
// fills, a byte each for first column, first row, end column, end row (0: all of them).
// Dispatch: (ceil(S/8), ceil(S/8), R) groups of 8 x 8. Variant: TAPS 1..8, AUGMENT. Workgroup memory: none.
#if AUGMENT
#import rng
#endif

struct Record {
    image: u32,
    x: i32,
    y: i32,
    sub: u32,
    affine: vec4<i32>,
    flags: u32,
    looks: u32,
    seed: u32,
    stream: u32,
    sigma: f32,
    speckle: f32,
    onto: u32,
    part: u32,
    colour: array<vec4<f32>, 3>,
}

struct Params {
    side: u32,
    images: u32,
    outputs: u32,
}

@group(0) @binding(0) var pages: texture_2d_array<f32>;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> records: array<Record>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

// Source pixels to load along a side.
const SPAN = ${TAPS + (TAPS == 1)};

// The table's entry of one page of an image: 0 outside it.
fn entry(extent: vec2<u32>, first: u32, page: vec2<i32>) -> u32 {
    let p = vec2<u32>(page);
    let inside = all(p < extent);
    return select(0u, table[select(0u, first + p.y * extent.x + p.x, inside)], inside);
}

#if AUGMENT
// Natural logarithm of a positive normal number to a few ulp, also near 1, where WGSL promises an absolute error only.
fn ln(v: f32) -> f32 {
    let bits = bitcast<u32>(v) - 0x3f3504f3u;
    let m = bitcast<f32>((bits & 0x7fffffu) + 0x3f3504f3u);
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let series = 1.0 + z * (0.33333334 + z * (0.2 + z * (0.14285715 + z * 0.11111111)));
    return f32(bitcast<i32>(bits) >> 23u) * 0.6931472 + 2.0 * s * series;
}

fn draw(pixel: u32, stream: u32, seed: u32, number: u32) -> vec3<u32> {
    return pcg3d(vec3<u32>(pixel, stream, seed + number * 0x9e3779b9u));
}
#endif

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(global_invocation_id) id: vec3<u32>) {
    let side = params.side;
    let n = group.z;
    let onto = records[n].onto;
    let output = select(onto - 1u, n, onto == 0u);
    let part = records[n].part;
    let first_tile = vec2<u32>(part, part >> 8u) & vec2<u32>(255u);
    let end_tile = vec2<u32>(part >> 16u, part >> 24u) & vec2<u32>(255u);
    let filled = part == 0u || (all(group.xy >= first_tile) && all(group.xy < end_tile));
    if id.x >= side || id.y >= side || output >= params.outputs || !filled {
        return;
    }
    let origin = vec2<i32>(records[n].x, records[n].y);
    let sub = records[n].sub;
    let affine = records[n].affine;
    let column = affine.xz;
    let row = affine.yw;
    let centred = 2 * vec2<i32>(id.xy) + 1 - i32(side);
    let at = column * centred.x + row * centred.y + 2 * vec2<i32>(vec2<u32>(sub & 0xffffu, sub >> 16u));

#if TAPS == 1
    let start = at - 65536;
    let across = vec2<i32>(131072, 0);
    let down = vec2<i32>(0, 131072);
    let f = vec2<f32>((start >> vec2<u32>(5u)) & vec2<i32>(4095)) * (1.0 / 4096.0);
#else
    let start = at - (column / TAPS + row / TAPS) * (TAPS - 1);
    let across = 2 * (column / TAPS);
    let down = 2 * (row / TAPS);
#endif
    let corner = start + min(across * (SPAN - 1), vec2<i32>(0)) + min(down * (SPAN - 1), vec2<i32>(0));
    let opposite = corner + (abs(across) + abs(down)) * (SPAN - 1);
    let low = (origin + (corner >> vec2<u32>(17u))) >> vec2<u32>(9u);
    let high = (origin + (opposite >> vec2<u32>(17u))) >> vec2<u32>(9u);
    let image = records[n].image;
    let known = image < params.images;
    let header = 3u * select(0u, image, known);
    let extent = select(vec2<u32>(0u), vec2<u32>(table[header], table[header + 1u]), known);
    let first = table[header + 2u];
    let e00 = entry(extent, first, low);
    let e10 = entry(extent, first, vec2<i32>(high.x, low.y));
    let e01 = entry(extent, first, vec2<i32>(low.x, high.y));
    let e11 = entry(extent, first, high);

    // Relative to the corner of page `low`.
    let local = start + ((origin - (low << vec2<u32>(9u))) << vec2<u32>(17u));
    var sum = vec4<f32>(0.0);
    for (var s = 0; s < SPAN; s++) {
        for (var t = 0; t < SPAN; t++) {
            let q = (local + across * t + down * s) >> vec2<u32>(17u);
            let layer = select(select(e00, e10, q.x > 511), select(e01, e11, q.x > 511), q.y > 511);
            let v = select(vec4<f32>(0.0), textureLoad(pages, q & vec2<i32>(511), max(layer, 1u) - 1u, 0), layer != 0u);
#if TAPS == 1
            sum += select(1.0 - f.x, f.x, t == 1) * select(1.0 - f.y, f.y, s == 1) * v;
#else
            sum += v;
#endif
        }
    }
#if TAPS == 1
    let share = sum.w;
#else
    let share = sum.w * (1.0 / ${TAPS * TAPS}.0);
#endif
    // A full weight of 1 must leave the value's bits alone.
    var v = select(sum.xyz / max(sum.w, 1e-30), sum.xyz, sum.w == 1.0);

#if AUGMENT
    let pixel = id.y * side + id.x;
    let seed = records[n].seed;
    let stream = records[n].stream;
    let sum1 = vec4<f32>(v, 1.0);
    v = vec3<f32>(dot(records[n].colour[0], sum1), dot(records[n].colour[1], sum1), dot(records[n].colour[2], sum1));
    let looks = min(records[n].looks, 16u);
    if looks > 0u {
        var total = vec3<f32>(0.0);
        var product = vec3<f32>(1.0);
        for (var l = 0u; l < looks; l++) {
            // Uniform in (0, 1), ends excluded, exact in f32. Products of four stay normal numbers.
            let bits = draw(pixel, stream, seed, 8u + l) >> vec3<u32>(9u);
            product *= (vec3<f32>(bits) + 0.5) * (1.0 / 8388608.0);
            if (l & 3u) == 3u || l + 1u == looks {
                total -= vec3<f32>(ln(product.x), ln(product.y), ln(product.z));
                product = vec3<f32>(1.0);
            }
        }
        let g = total / f32(looks);
        v += records[n].speckle * 4.3429448 * vec3<f32>(ln(g.x), ln(g.y), ln(g.z));
    }
    let sigma = records[n].sigma;
    if sigma > 0.0 {
        var z = vec3<u32>(0u);
        for (var d = 0u; d < 6u; d++) {
            let bits = draw(pixel, stream, seed, d);
            z += (bits & vec3<u32>(0xffffu)) + (bits >> vec3<u32>(16u));
        }
        v += sigma * (vec3<f32>(vec3<i32>(z) - 393210) * (1.0 / 65536.0));
    }
    let flags = records[n].flags;
    v = select(vec3<f32>(0.0), v, (vec3<u32>(flags) & vec3<u32>(1u, 2u, 4u)) != vec3<u32>(0u));
#endif
    out[(output * side + id.y) * side + id.x] = select(vec4<f32>(0.0), vec4<f32>(v, share), sum.w > 0.0);
}
