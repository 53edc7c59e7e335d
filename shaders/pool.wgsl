// Pooling over windows and over whole images; images are NHWC.
//
// Windows of kh x kw at stride (sh, sw) with padding (ph, pw); what lies outside the image does not count.
// KIND 0  y = max over the window               x [N, H, W, C], y [N, OH, OW, C], params
// KIND 1  at = ky * kw + kx of the first maximum in scan order    x, at [N, OH, OW, C] u32, params
// KIND 2  dx = sum of dy over windows whose maximum it is         at, dy [N, OH, OW, C], dx [N, H, W, C], params
// KIND 3  y = sum over the window / elements inside the image     x, y, params
// KIND 4  dx = sum of dy / elements inside, over its windows      dy, dx, params
// Generalised mean over H x W: y = (mean of max(x, eps)^p)^(1/p)
// KIND 5  sums over a chunk of rows of max(x, eps)^p              x [N, H * W, C], p [1], partial [N, chunks, C], params
// KIND 6  y = m^(1/p)                                             m [N, C], p, y [N, C], params
// KIND 7  with v = max(x, eps), w = (v / y)^p, which cannot overflow: dx = dy y w / (v H W) where x >= eps, else 0;
//         partial sums of dy y w (ln v - ln y) / (p H W), whose total is dp
//                                                                 x, y, dy [N, C], p, dx, partial [N, chunks, C], params
// Dispatch: KIND 0, 1, 3: one invocation a strip of `run` pixels of a row of y; 2, 4: of dx; 5, 7: N * chunks * C; 6: N * C; each / VEC, in groups
// of 64, folded. Variant: KIND, STRIDE (1 or 2 where both strides are
// that, else 0), VEC (1 or 4) with T and U; counts are of T. KIND 0 to 4: X says how x and dx are stored, Y how y and dy are, in f32 or f16.
// Workgroup memory: none.
#import fold

alias V = ${T};
alias M = ${U};
#if KIND < 5
alias X = ${X};
alias Y = ${Y};
#endif

struct Params {
    n: u32,       // elements of x an image: H * W * C / VEC
    total: u32,   // invocations
    stride: u32,  // invocations an image
    columns: u32, // C / VEC
    span: u32,    // a chunk's first element is chunk * span + column,
    step: u32,    // the next one `step` on,
    limit: u32,   // all below chunk * span + limit and n
    h: u32,
    w: u32,
    oh: u32,
    ow: u32,
    kh: u32,
    kw: u32,
    sh: u32,
    sw: u32,
    ph: u32,
    pw: u32,
    run: u32,     // KIND 0-4: pixels an invocation
    eps: f32,
    scale: f32,   // KIND 7: 1 / (H * W)
}

#if KIND == 0 || KIND == 3
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
@group(0) @binding(2) var<uniform> params: Params;
#endif
#if KIND == 1
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> at: array<M>;
@group(0) @binding(2) var<uniform> params: Params;
#endif
#if KIND == 2
@group(0) @binding(0) var<storage, read> at: array<M>;
@group(0) @binding(1) var<storage, read> dy: array<Y>;
@group(0) @binding(2) var<storage, read_write> dx: array<X>;
@group(0) @binding(3) var<uniform> params: Params;
#endif
#if KIND == 4
@group(0) @binding(0) var<storage, read> dy: array<Y>;
@group(0) @binding(1) var<storage, read_write> dx: array<X>;
@group(0) @binding(2) var<uniform> params: Params;
#endif
#if KIND == 5
@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read_write> partials: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#endif
#if KIND == 6
@group(0) @binding(0) var<storage, read> m: array<V>;
@group(0) @binding(1) var<storage, read> p: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#endif
#if KIND == 7
@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> y: array<V>;
@group(0) @binding(2) var<storage, read> dy: array<V>;
@group(0) @binding(3) var<storage, read> p: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<V>;
@group(0) @binding(5) var<storage, read_write> partials: array<V>;
@group(0) @binding(6) var<uniform> params: Params;
#endif

// [first, end) of the rows or columns of window `o`, inside the image.
fn window(o: u32, stride: u32, pad: u32, kernel: u32, size: u32) -> vec2<u32> {
    let start = o * stride;
    return vec2<u32>(max(start, pad) - pad, min(start + kernel - pad, size));
}

// [first, end) of the windows that hold row or column `i`.
fn windows(i: u32, any_stride: u32, pad: u32, kernel: u32, count: u32) -> vec2<u32> {
    #if STRIDE > 0
    let stride = ${STRIDE}u;
    #else
    let stride = any_stride;
    #endif
    let start = i + pad;
    let first = select(0u, (start - min(start, kernel)) / stride + 1u, start >= kernel);
    return vec2<u32>(first, min(start / stride + 1u, count));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
#if KIND == 0 || KIND == 1 || KIND == 3
    let columns = params.columns;
    let strips = (params.ow + params.run - 1u) / params.run;
    let strip = i / columns;
    let c = i - strip * columns;
    let row = strip / strips;
    let left = (strip - row * strips) * params.run;
    let image = row / params.oh;
    let oy = row - image * params.oh;
    let ys = window(oy, params.sh, params.ph, params.kh, params.h);
    let base = image * params.h * params.w * columns + c;
    for (var ox = left; ox < min(left + params.run, params.ow); ox++) {
        let xs = window(ox, params.sw, params.pw, params.kw, params.w);
    #if KIND == 3
        var sum = V(0.0);
    #else
        var best = V(x[base + (ys.x * params.w + xs.x) * columns]);
    #endif
    #if KIND == 1
        var first = M((ys.x + params.ph - oy * params.sh) * params.kw + xs.x + params.pw - ox * params.sw);
    #endif
        for (var iy = ys.x; iy < ys.y; iy++) {
            let start = base + iy * params.w * columns;
            for (var ix = xs.x; ix < xs.y; ix++) {
                let v = V(x[start + ix * columns]);
    #if KIND == 0
                best = max(best, v);
    #endif
    #if KIND == 1
                let better = v > best;
                best = select(best, v, better);
                first = select(first, M((iy + params.ph - oy * params.sh) * params.kw + ix + params.pw - ox * params.sw), better);
    #endif
    #if KIND == 3
                sum += v;
    #endif
            }
        }
    #if KIND == 0
        y[(row * params.ow + ox) * columns + c] = Y(best);
    #endif
    #if KIND == 1
        at[(row * params.ow + ox) * columns + c] = first;
    #endif
    #if KIND == 3
        y[(row * params.ow + ox) * columns + c] = Y(sum * (1.0 / f32((ys.y - ys.x) * (xs.y - xs.x))));
    #endif
    }
#endif
#if KIND == 2 || KIND == 4
    let columns = params.columns;
    let strips = (params.w + params.run - 1u) / params.run;
    let strip = i / columns;
    let c = i - strip * columns;
    let row = strip / strips;
    let left = (strip - row * strips) * params.run;
    let image = row / params.h;
    let iy = row - image * params.h;
    let ys = windows(iy, params.sh, params.ph, params.kh, params.oh);
    for (var ix = left; ix < min(left + params.run, params.w); ix++) {
        let xs = windows(ix, params.sw, params.pw, params.kw, params.ow);
        var sum = V(0.0);
        for (var oy = ys.x; oy < ys.y; oy++) {
            let start = (image * params.oh + oy) * params.ow;
    #if KIND == 2
            let here = (iy + params.ph - oy * params.sh) * params.kw + ix + params.pw;
    #else
            let rows = window(oy, params.sh, params.ph, params.kh, params.h);
    #endif
            for (var ox = xs.x; ox < xs.y; ox++) {
                let j = (start + ox) * columns + c;
    #if KIND == 2
                sum += select(V(0.0), V(dy[j]), at[j] == M(here - ox * params.sw));
    #else
                let cols = window(ox, params.sw, params.pw, params.kw, params.w);
                sum += V(dy[j]) * (1.0 / f32((rows.y - rows.x) * (cols.y - cols.x)));
    #endif
            }
        }
        dx[(row * params.w + ix) * columns + c] = X(sum);
    }
#endif
#if KIND == 5 || KIND == 7
    let image = i / params.stride;
    let inner = i - image * params.stride;
    let chunk = inner / params.columns;
    let c = inner - chunk * params.columns;
    let end = min(chunk * params.span + params.limit, params.n);
    let base = image * params.n;
    let power = p[0];
    var sum = V(0.0);
    #if KIND == 5
    for (var j = chunk * params.span + c; j < end; j += params.step) {
        sum += exp2(power * log2(max(x[base + j], V(params.eps))));
    }
    partials[i] = sum;
    #else
    let column = image * params.columns + c;
    let log_y = log2(y[column]);
    let t = dy[column] * y[column] * params.scale;
    for (var j = chunk * params.span + c; j < end; j += params.step) {
        let raw = x[base + j];
        let v = max(raw, V(params.eps));
        let l = log2(v) - log_y;
        let w = exp2(power * l);
        sum += w * l;
        dx[base + j] = select(V(0.0), t * w / v, raw >= V(params.eps));
    }
    // ln 2 turns the binary logarithm into the natural one.
    partials[i] = t * sum * (0.6931471805599453 / power);
    #endif
#endif
#if KIND == 6
    y[i] = exp2(log2(m[i]) * (1.0 / p[0]));
#endif
}
