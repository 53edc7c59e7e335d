// RoIAlign (He, Gkioxari, Dollar, Girshick, "Mask R-CNN", 2017) of regions of images whose feature maps are the levels of a pyramid, with the shift
// by half a pixel: torchvision's roi_align(aligned=True). Maps are NHWC.
//
// A region is cut into P x P bins, a bin holds G x G samples at even steps, G being GRID or, where that is 0, `grid`, or where that is 0 too the
// bin's extent rounded up, each axis by itself. Along an axis of `size` pixels a bin is (end - start) / P long, start and end the region's times
// `scale` less 1/2, and its samples lie at start + (i + 1/2) / G of bins. A sample outside [-1, size] counts 0; else it is moved into [0, size - 1] and
// interpolated bilinearly. A bin is the mean of its samples; 0 where there are none. Weights are products of one an axis.
//
// KIND 0 forward   y [R, P, P, C] of the regions of level `level`; FIRST also zeros of those whose image or level does not exist
//                  bindings: x [N, H, W, C], boxes [R], places [R], y, params
// KIND 1 touch     bit t of word w of a tile of 8 x 8 pixels: region `first` + 32 w + t may touch it   bindings: boxes, places, bits [tiles, WORDS], params
// KIND 2 backward  dx of a pixel: over the regions whose bit its tile has, in order, the sum over bins of dy times both weights. FIRST writes; else it is
//                  added, and tiles without a bit are left alone     bindings: boxes, places, bits, dy [R, P, P, C], dx [N, H, W, C], params
// places are (image, level). Dispatch: KIND 0 one invocation `RUN` groups of channels of a bin, KIND 1 one a word, KIND 2 one `RUN` groups of
// channels of a pixel; in groups of 64, folded. Variant: VEC (1 or 4) with T; counts are of T; X how x and dx are stored, Y how y and dy are, f32 or f16.
// Workgroup memory: none.
#import fold

const RUN = 4u;

struct Params {
    total: u32,   // invocations
    columns: u32, // C / VEC
    runs: u32,    // invocations a pixel or bin
    images: u32,  // N
    h: u32,
    w: u32,
    bins: u32,    // P
    regions: u32, // R
    first: u32,   // KIND 1 and 2: the regions first .. last
    last: u32,
    words: u32,
    across: u32,  // tiles in a row
    down: u32,
    level: u32,
    levels: u32,
    grid: u32,
    scale: f32,
}

// A region along an axis.
struct Span {
    start: f32,
    bin: f32,  // extent of a bin
    grid: u32, // samples a bin
    step: f32,
}

fn span_of(low: f32, high: f32) -> Span {
    let start = low * params.scale - 0.5;
    let bin = (high * params.scale - 0.5 - start) / f32(params.bins);
#if GRID > 0
    let grid = ${GRID}u;
#else
    // More would be more than a sample a pixel of a map as wide as indices reach.
    let grid = select(u32(clamp(ceil(bin), 0.0, 1e9)), params.grid, params.grid > 0u);
#endif
    return Span(start, bin, grid, bin / f32(max(grid, 1u)));
}

#if KIND == 0
// What a sample takes of which two pixels of a line; nothing outside.
struct Taps {
    low: u32,
    high: u32,
    of_low: f32,
    of_high: f32,
}

fn taps_of(at: f32, size: u32) -> Taps {
    let inside = at >= -1.0 && at <= f32(size);
    let p = clamp(select(0.0, at, inside), 0.0, f32(size - 1u));
    let low = u32(p);
    let t = p - f32(low);
    return Taps(low, min(low + 1u, size - 1u), select(0.0, 1.0 - t, inside), select(0.0, t, inside));
}
#endif

#if KIND == 2
// The bins that may have a sample within a pixel of `at`.
fn bins_at(span: Span, at: u32) -> vec2<u32> {
    let a = (f32(at) - 1.0 - span.start) / span.bin;
    let b = (f32(at) + 1.0 - span.start) / span.bin;
    let low = clamp(floor(min(a, b) - 0.01), 0.0, f32(params.bins));
    let high = clamp(floor(max(a, b) + 0.01) + 1.0, 0.0, f32(params.bins));
    // So short that all samples lie in one place.
    let all = abs(span.bin) < 1e-3;
    return vec2<u32>(select(u32(low), 0u, all), select(u32(high), params.bins, all));
}

// What a bin takes of pixel `at`, in samples.
fn share_of(span: Span, bin: u32, at: u32, size: u32) -> f32 {
    let start = span.start + f32(bin) * span.bin;
    var sum = 0.0;
#if GRID > 0
    #for i in 0..GRID
    {
        let v = start + ${i}.5 * span.step;
        let p = clamp(v, 0.0, f32(size - 1u));
        sum += select(0.0, max(1.0 - abs(p - f32(at)), 0.0), v >= -1.0 && v <= f32(size));
    }
    #endfor
#else
    // Those within a pixel, and one more at either end.
    let a = (f32(at) - 1.0 - start) / span.step;
    let b = (f32(at) + 1.0 - start) / span.step;
    let all = abs(span.step) < 1e-3;
    let low = select(u32(clamp(floor(min(a, b)) - 1.0, 0.0, f32(span.grid))), 0u, all);
    let high = select(u32(clamp(ceil(max(a, b)) + 1.0, 0.0, f32(span.grid))), span.grid, all);
    for (var i = low; i < high; i++) {
        let v = start + (f32(i) + 0.5) * span.step;
        let p = clamp(v, 0.0, f32(size - 1u));
        sum += select(0.0, max(1.0 - abs(p - f32(at)), 0.0), v >= -1.0 && v <= f32(size));
    }
#endif
    return sum;
}
#endif

#if KIND != 1
alias V = ${T};
alias X = ${X};
alias Y = ${Y};
#endif

#if KIND == 0
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read> boxes: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> places: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<Y>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let columns = params.columns;
    let runs = params.runs;
    let bin = i / runs;
    let c = i - bin * runs;
    let row = bin / params.bins;
    let region = row / params.bins;
    let place = places[region];
    let to = bin * columns;
    #for k in 0..4
    let c${k} = min(c + ${k}u * runs, columns - 1u);
    var sum${k} = V(0.0);
    #endfor
    let exists = place.x < params.images && place.y < params.levels;
    #if FIRST
    if !exists {
        #for k in 0..4
        y[to + c${k}] = Y(sum${k});
        #endfor
    }
    #endif
    if !exists || place.y != params.level {
        return;
    }
    let box = boxes[region];
    let across = span_of(box.x, box.z);
    let down = span_of(box.y, box.w);
    let x0 = across.start + f32(bin - row * params.bins) * across.bin;
    let y0 = down.start + f32(row - region * params.bins) * down.bin;
    let base = place.x * params.h * params.w;
    #if GRID > 0
        #for s in 0..GRID
    let tx${s} = taps_of(x0 + ${s}.5 * across.step, params.w);
        #endfor
        #for r in 0..GRID
    {
        let ty = taps_of(y0 + ${r}.5 * down.step, params.h);
        let low = (base + ty.low * params.w) * columns;
        let high = (base + ty.high * params.w) * columns;
        #for s in 0..GRID
        {
            let left = tx${s}.low * columns;
            let right = tx${s}.high * columns;
            #for k in 0..4
            sum${k} += ty.of_low * (tx${s}.of_low * V(x[low + left + c${k}]) + tx${s}.of_high * V(x[low + right + c${k}]))
                + ty.of_high * (tx${s}.of_low * V(x[high + left + c${k}]) + tx${s}.of_high * V(x[high + right + c${k}]));
            #endfor
        }
        #endfor
    }
        #endfor
    #else
    // Samples off the map count nothing: only those on it are visited.
    let rows = on_map(y0, down, params.h);
    let cells = on_map(x0, across, params.w);
    for (var r = rows.x; r < rows.y; r++) {
        let ty = taps_of(y0 + (f32(r) + 0.5) * down.step, params.h);
        let low = (base + ty.low * params.w) * columns;
        let high = (base + ty.high * params.w) * columns;
        for (var s = cells.x; s < cells.y; s += 4u) {
        #for t in 0..4
            {
                let tx = taps_of(select(-2.0, x0 + (f32(s + ${t}u) + 0.5) * across.step, s + ${t}u < cells.y), params.w);
                let left = tx.low * columns;
                let right = tx.high * columns;
                #for k in 0..4
                sum${k} += ty.of_low * (tx.of_low * V(x[low + left + c${k}]) + tx.of_high * V(x[low + right + c${k}]))
                    + ty.of_high * (tx.of_low * V(x[high + left + c${k}]) + tx.of_high * V(x[high + right + c${k}]));
                #endfor
            }
        #endfor
        }
    }
    #endif
    let share = 1.0 / (f32(max(across.grid, 1u)) * f32(max(down.grid, 1u)));
    #for k in 0..4
    if c + ${k}u * runs < columns {
        y[to + c${k}] = Y(share * sum${k});
    }
    #endfor
}

    #if GRID == 0
// The samples of a bin that may lie on a line of `size` pixels.
fn on_map(start: f32, span: Span, size: u32) -> vec2<u32> {
    let a = (-1.0 - start) / span.step;
    let b = (f32(size) - start) / span.step;
    let all = abs(span.step) < 1e-3;
    let low = select(u32(clamp(floor(min(a, b)) - 1.0, 0.0, f32(span.grid))), 0u, all);
    let high = select(u32(clamp(ceil(max(a, b)) + 1.0, 0.0, f32(span.grid))), span.grid, all);
    return vec2<u32>(low, high);
}
    #endif
#endif

#if KIND == 1
@group(0) @binding(0) var<storage, read> boxes: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> places: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> bits: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

// Whether pixels first .. first + 7 of a line may have a share of a region.
fn near(span: Span, first: u32, size: u32) -> bool {
    let end = span.start + span.bin * f32(params.bins);
    let low = min(span.start, end);
    let high = max(span.start, end);
    // Samples are up to a pixel off the map, their neighbours less than one away; another half for rounding.
    return high >= -1.5 && low <= f32(size) + 0.5 && clamp(high, 0.0, f32(size)) > f32(first) - 1.5
        && clamp(low, 0.0, f32(size - 1u)) < f32(first) + 8.5;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let tile = i / params.words;
    let word = i - tile * params.words;
    let line = tile / params.across;
    let image = line / params.down;
    let left = (tile - line * params.across) * 8u;
    let top = (line - image * params.down) * 8u;
    var out = 0u;
    for (var t = 0u; t < 32u; t++) {
        let region = params.first + 32u * word + t;
        let known = min(region, params.regions - 1u);
        let place = places[known];
        let box = boxes[known];
        let here = region < params.last && place.x == image && place.y == params.level;
        let touches = near(span_of(box.x, box.z), left, params.w) && near(span_of(box.y, box.w), top, params.h);
        out |= select(0u, 1u << t, here && touches);
    }
    bits[i] = out;
}
#endif

#if KIND == 2
@group(0) @binding(0) var<storage, read> boxes: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> places: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> bits: array<u32>;
@group(0) @binding(3) var<storage, read> dy: array<Y>;
@group(0) @binding(4) var<storage, read_write> dx: array<X>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
    let columns = params.columns;
    let runs = params.runs;
    // The pixels of a tile follow one another.
    let at = i / runs;
    let c = i - at * runs;
    let tile = at / 64u;
    let line = tile / params.across;
    let image = line / params.down;
    let px = (tile - line * params.across) * 8u + (at & 7u);
    let py = (line - image * params.down) * 8u + (at >> 3u & 7u);
    if px >= params.w || py >= params.h {
        return;
    }
    #for k in 0..4
    let c${k} = min(c + ${k}u * runs, columns - 1u);
    var sum${k} = V(0.0);
    #endfor
    var any = 0u;
    for (var word = 0u; word < params.words; word++) {
        var left = bits[tile * params.words + word];
        any |= left;
        while left != 0u {
            let region = params.first + 32u * word + countTrailingZeros(left);
            left &= left - 1u;
            let box = boxes[region];
            let across = span_of(box.x, box.z);
            let down = span_of(box.y, box.w);
            let rows = bins_at(down, py);
            let cells = bins_at(across, px);
            let share = 1.0 / (f32(max(across.grid, 1u)) * f32(max(down.grid, 1u)));
            for (var r = rows.x; r < rows.y; r++) {
                let wy = share * share_of(down, r, py, params.h);
                if wy == 0.0 {
                    continue;
                }
                for (var s0 = cells.x; s0 < cells.y; s0 += 2u) {
                #for t in 0..2
                    {
                        let s = s0 + ${t}u;
                        let weight = wy * share_of(across, s, px, params.w);
                        if s < cells.y && weight != 0.0 {
                            let cell = ((region * params.bins + r) * params.bins + s) * columns;
                    #for k in 0..4
                            sum${k} += weight * V(dy[cell + c${k}]);
                    #endfor
                        }
                    }
                #endfor
                }
            }
        }
    }
    #if !FIRST
    if any == 0u {
        return;
    }
    #endif
    let to = ((image * params.h + py) * params.w + px) * columns;
    #for k in 0..4
    if c + ${k}u * runs < columns {
        #if FIRST
        dx[to + c${k}] = X(sum${k});
        #else
        dx[to + c${k}] = X(V(dx[to + c${k}]) + sum${k});
        #endif
    }
    #endfor
}
#endif
