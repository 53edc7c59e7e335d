// Batch normalisation over all rows of each channel; x is [R, C].
//
// KIND 0  statistics of a chunk of rows: mean and sum of squared differences   x, mean [P, C], m2 [P, C], params
// KIND 1  the same of P chunks merged into Q (Q divides P)                      mean [P, C], m2 [P, C], mean2 [Q, C], m22 [Q, C], params
// KIND 2  merged into one: saved = (mean, rstd), running statistics updated     mean [P, C], m2 [P, C], saved [2, C], running_mean [C], running_var [C], params
// KIND 3  saved = (running mean, 1 / sqrt(running var + eps))                   running_mean [C], running_var [C], saved [2, C], params
// KIND 4  y = (x - mean) rstd gamma + beta, RELU: max(.., 0)                    x, saved, gamma [C], beta [C], y, params
// KIND 5  partial sums of g and g xh                                            x, saved, gamma, beta, dy, partial [P, 2, C], params
// KIND 6  dx = gamma rstd (g - (dbeta + xh dgamma) / R)                         x, saved, gamma, beta, dy, sums_g [C], sums_gx [C], dx, params
// KIND 7  KIND 5 and dx = gamma rstd g at once (frozen statistics)              x, saved, gamma, beta, dy, dx, partial [P, 2, C], params
// KIND 8  dx of KIND 7 alone                                                    x, saved, gamma, beta, dy, dx, params
// xh = (x - mean) rstd; g = dy, with RELU only where xh gamma + beta > 0 (recomputed: one load less than reading y).
// Statistics: blocks of four rows (mean, then squares about it), merged by Chan's update, so no large squares cancel. A chunk
// is a run of rows (merged at once), or every P-th row: merging chunks k, k + Q, ... gives the rows k mod Q.
// Dispatch: chunks * C / VEC invocations in groups of 64, folded; invocation i works on channel group i mod C / VEC.
// Variant: KIND, RELU, VEC (1 or 4) with T; counts are of T; X how x and dx are stored, Y how y and dy are, in f32 or f16. Workgroup memory: none.
#import fold

alias V = ${T};
#if KIND == 0 || KIND > 3
alias X = ${X};
#endif
#if KIND > 3
alias Y = ${Y};
#endif

struct Params {
    n: u32,       // elements walked: R * C / VEC (KIND 1, 2: P * C / VEC)
    total: u32,   // invocations
    stride: u32,  // invocations
    columns: u32, // C / VEC
    span: u32,    // a chunk's first element is chunk * span + column,
    step: u32,    // the next one `step` on,
    limit: u32,   // all below chunk * span + limit and n
    rows: u32,    // R
    block: u32,   // rows of a chunk that is a run of rows; 0 where a chunk is every P-th row
    eps: f32,
    momentum: f32,
}

#if KIND == 0
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> mean_out: array<V>;
@group(0) @binding(2) var<storage, read_write> m2_out: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#endif
#if KIND == 1 || KIND == 2
@group(0) @binding(0) var<storage, read> mean_in: array<V>;
@group(0) @binding(1) var<storage, read> m2_in: array<V>;
#endif
#if KIND == 1
@group(0) @binding(2) var<storage, read_write> mean_out: array<V>;
@group(0) @binding(3) var<storage, read_write> m2_out: array<V>;
@group(0) @binding(4) var<uniform> params: Params;
#endif
#if KIND == 2
@group(0) @binding(2) var<storage, read_write> saved: array<V>;
@group(0) @binding(3) var<storage, read_write> running_mean: array<V>;
@group(0) @binding(4) var<storage, read_write> running_var: array<V>;
@group(0) @binding(5) var<uniform> params: Params;
#endif
#if KIND == 3
@group(0) @binding(0) var<storage, read> running_mean: array<V>;
@group(0) @binding(1) var<storage, read> running_var: array<V>;
@group(0) @binding(2) var<storage, read_write> saved: array<V>;
@group(0) @binding(3) var<uniform> params: Params;
#endif
#if KIND >= 4
@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read> saved: array<V>;
@group(0) @binding(2) var<storage, read> gamma: array<V>;
@group(0) @binding(3) var<storage, read> beta: array<V>;
#endif
#if KIND == 4
@group(0) @binding(4) var<storage, read_write> y: array<Y>;
@group(0) @binding(5) var<uniform> params: Params;
#endif
#if KIND >= 5
@group(0) @binding(4) var<storage, read> dy: array<Y>;
#endif
#if KIND == 5
@group(0) @binding(5) var<storage, read_write> partials: array<V>;
@group(0) @binding(6) var<uniform> params: Params;
#endif
#if KIND == 6
@group(0) @binding(5) var<storage, read> sums_g: array<V>;
@group(0) @binding(6) var<storage, read> sums_gx: array<V>;
@group(0) @binding(7) var<storage, read_write> dx: array<X>;
@group(0) @binding(8) var<uniform> params: Params;
#endif
#if KIND == 7
@group(0) @binding(5) var<storage, read_write> dx: array<X>;
@group(0) @binding(6) var<storage, read_write> partials: array<V>;
@group(0) @binding(7) var<uniform> params: Params;
#endif
#if KIND == 8
@group(0) @binding(5) var<storage, read_write> dx: array<X>;
@group(0) @binding(6) var<uniform> params: Params;
#endif

#if KIND == 1 || KIND == 2
// Rows of chunk k of `chunks`.
fn rows_of(k: u32, chunks: u32) -> f32 {
    if params.block > 0u {
        return f32(min(params.block, params.rows - k * params.block));
    }
    return f32((params.rows - 1u - k) / chunks + 1u);
}
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.total {
        return;
    }
#if KIND == 0
    let chunk = i / params.columns;
    let c = i - chunk * params.columns;
    let end = min(chunk * params.span + params.limit, params.n);
    let step = params.step;
    var mean = V(0.0);
    var m2 = V(0.0);
    var count = 0.0;
    var j = chunk * params.span + c;
    for (; j + 3u * step < end; j += 4u * step) {
        let v0 = V(x[j]);
        let v1 = V(x[j + step]);
        let v2 = V(x[j + 2u * step]);
        let v3 = V(x[j + 3u * step]);
        let m = 0.25 * ((v0 + v1) + (v2 + v3));
        let d0 = v0 - m;
        let d1 = v1 - m;
        let d2 = v2 - m;
        let d3 = v3 - m;
        let total = count + 4.0;
        let delta = m - mean;
        mean += delta * (4.0 / total);
        m2 += ((d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)) + delta * delta * (count * 4.0 / total);
        count = total;
    }
    for (; j < end; j += step) {
        let v = V(x[j]);
        count += 1.0;
        let delta = v - mean;
        mean += delta * (1.0 / count);
        m2 += delta * (v - mean);
    }
    mean_out[i] = mean;
    m2_out[i] = m2;
#endif
#if KIND == 1 || KIND == 2
    let chunks = params.n / params.columns;
    let step = params.stride / params.columns;
    var k = i / params.columns;
    var mean = mean_in[i];
    var m2 = m2_in[i];
    var count = rows_of(k, chunks);
    for (var j = i + params.stride; j < params.n; j += params.stride) {
        k += step;
        let more = rows_of(k, chunks);
        let total = count + more;
        let delta = mean_in[j] - mean;
        mean += delta * (more / total);
        m2 += m2_in[j] + delta * delta * (count * (more / total));
        count = total;
    }
    #if KIND == 1
    mean_out[i] = mean;
    m2_out[i] = m2;
    #else
    saved[i] = mean;
    saved[params.columns + i] = V(1.0) / sqrt(m2 * (1.0 / f32(params.rows)) + V(params.eps));
    let m = params.momentum;
    running_mean[i] += m * (mean - running_mean[i]);
    running_var[i] += m * (m2 * (1.0 / f32(params.rows - 1u)) - running_var[i]);
    #endif
#endif
#if KIND == 3
    saved[i] = running_mean[i];
    saved[params.columns + i] = V(1.0) / sqrt(running_var[i] + V(params.eps));
#endif
#if KIND >= 4
    let chunk = i / params.columns;
    let c = i - chunk * params.columns;
    let end = min(chunk * params.span + params.limit, params.n);
    let mean = saved[c];
    let rstd = saved[params.columns + c];
    let weight = gamma[c];
    #if KIND == 4 || RELU
    let offset = beta[c];
    #endif
    #if KIND == 4
    for (var j = chunk * params.span + c; j < end; j += params.step) {
        let v = (V(x[j]) - mean) * rstd * weight + offset;
        #if RELU
        y[j] = Y(max(v, V(0.0)));
        #else
        y[j] = Y(v);
        #endif
    }
    #else
        #if KIND == 6
    let shift = sums_g[c] * (1.0 / f32(params.rows));
    let slope = sums_gx[c] * (1.0 / f32(params.rows));
        #endif
        #if KIND == 5 || KIND == 7
    var sum = V(0.0);
    var sum_x = V(0.0);
        #endif
    for (var j = chunk * params.span + c; j < end; j += params.step) {
        let xh = (V(x[j]) - mean) * rstd;
        var g = V(dy[j]);
        #if RELU
        g = select(V(0.0), g, xh * weight + offset > V(0.0));
        #endif
        #if KIND == 6
        dx[j] = X(weight * rstd * (g - (shift + xh * slope)));
        #endif
        #if KIND == 5 || KIND == 7
        sum += g;
        sum_x += g * xh;
        #endif
        #if KIND >= 7
        dx[j] = X(weight * rstd * g);
        #endif
    }
        #if KIND == 5 || KIND == 7
    partials[2u * chunk * params.columns + c] = sum;
    partials[(2u * chunk + 1u) * params.columns + c] = sum_x;
        #endif
    #endif
#endif
}
