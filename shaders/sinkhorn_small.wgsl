// Entropic optimal transport of many small problems: one workgroup a problem runs every iteration.
//
// min <pi, C> + eps KL(pi | a b'), pi >= 0 with marginals a [N] and b [M]; its optimum pi_ij = a_i b_j exp((f_i + g_j - C_ij) / eps).
// One iteration: f~_i = -eps log sum_j b_j exp((g_j - C_ij) / eps), f += omega (f~ - f), then g in the same way from the new f
// (alternating: a step shrinks the error as four averaged ones do). eps falls from the problem's greatest |C| by `scaling` an
// iteration to its end, where omega follows lib/relax and iterations go on until the marginal error sum_i a_i |exp((f - f~) / eps) - 1|
// + the same of g is at most the tolerance. At last f and g are taken whole: value = <a, f> + <b, g>, and the error reported is the
// column sums' before that last g, which is not smaller than that of what is returned.
// SELF: b = a, C symmetric: g = f, f += (f~ - f) / 2, which converges by about half a step.
// Zero weights are allowed: log2 0 is -1e30 here.
//
// KIND 0 solve  c [P, N, M] as base + slope * c, a [P, N], b [P, M], f [P, N], g [P, M], stats [P, 8] = value, marginal error,
//               iterations, 1 where converged, eps, and lib/relax's words (its count in the value's place while under way)
//               bindings: c, a, b, f, g, stats, params; SELF: c, a, f, stats, params
//               All in one dispatch where it takes less than some ten thousand turns of loops: llvmpipe ends every loop of an invocation once they
//               have turned 65,535 times together, and silently. More go on where the last dispatch left: `first`, `slice`, `last`.
// KIND 1 cost   c [P, N, M] from x [P, N, D], y [P, M, D]: |x - y|^2, or COSINE 1 - x.y / (|x| |y|) (1 where one is 0)
//               bindings: x, y, c, params
// KIND 2 plan   pi [P, N, M] * factor * dy [1]      bindings: c, a, b, f, g, dy, pi, params; SELF: c, a, f, dy, pi, params
// KIND 3 debias y [P] = values ab - aa / 2 - bb / 2, stats [P, 4] = y, greatest error, most iterations, 1 where all converged, from
//               stats [P, 8] of KIND 0      bindings: ab, aa, bb, stats, y, params
// Dispatch: KIND 0 one group of LANES a problem, folded, each lane ROWS rows at a time; 1, 2 and 3 one
// invocation of 64 an element, folded.
// Variant: KIND, SELF, COSINE, LANES, ROWS. Workgroup memory: KIND 0 4 (1024 + LANES) bytes.
#import fold

const NEVER = -1e30;
const LOG2E = 1.4426950408889634;

struct Params {
    problems: u32,
    n: u32,
    m: u32,
    d: u32,
    most: u32,
    eps: f32,
    scaling: f32,
    tolerance: f32,
    base: f32,
    slope: f32,
    factor: f32,
    first: u32, // 1: from the beginning
    slice: u32, // most iterations of this dispatch
    last: u32,  // 1: to the end
}

fn log2_weight(w: f32) -> f32 {
    return select(NEVER, log2(w), w > 0.0);
}

#if KIND == 0
#import lanes
#import relax

@group(0) @binding(0) var<storage, read> c: array<f32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
#if SELF
@group(0) @binding(2) var<storage, read_write> f: array<f32>;
@group(0) @binding(3) var<storage, read_write> stats: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;
#else
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> f: array<f32>;
@group(0) @binding(4) var<storage, read_write> g: array<f32>;
@group(0) @binding(5) var<storage, read_write> stats: array<vec4<f32>>;
@group(0) @binding(6) var<uniform> params: Params;
#endif

// log2 of the other side's weights plus its potentials over eps, padded to whole fours.
var<workgroup> h: array<f32, 1024>;

fn cost(at: u32) -> f32 {
    return params.base + params.slope * c[at];
}

// A whole step forgets where it came from, to the last bit.
fn stepped(was: f32, next: f32, omega: f32) -> f32 {
    return select(was + omega * (next - was), next, omega == 1.0);
}

// One half-step of a side; the lane's part of the marginal error. A lane reads and writes potentials of its own rows alone, so that
// only h needs barriers.
#for t in 0..2 - SELF
fn half${t}(problem: u32, lane: u32, k: f32, omega: f32) -> f32 {
    #if t == 0
    let own = params.n;
    let other = params.m;
    let own_at = problem * own;
    let other_at = problem * other;
    #else
    let own = params.m;
    let other = params.n;
    let own_at = problem * own;
    let other_at = problem * other;
    #endif
    let c_at = problem * params.n * params.m;
    for (var j = lane; j < ((other + 3u) & ~3u); j += ${LANES}u) {
        var v = NEVER;
        if j < other {
    #if SELF
            v = log2_weight(a[other_at + j]) + k * f[other_at + j];
    #else
        #if t == 0
            v = log2_weight(b[other_at + j]) + k * g[other_at + j];
        #else
            v = log2_weight(a[other_at + j]) + k * f[other_at + j];
        #endif
    #endif
        }
        h[j] = v;
    }
    workgroupBarrier();
    var error = 0.0;
    for (var first = lane; first < own; first += ${LANES * ROWS}u) {
    #for r in 0..ROWS
        let i${r} = min(first + ${r * LANES}u, own - 1u);
        #if t == 0
        let at${r} = c_at + i${r} * params.m;
        #else
        let at${r} = c_at + i${r};
        #endif
        var top${r} = -3e38;
        var sum${r} = 0.0;
    #endfor
        for (var j = 0u; j < other; j += 4u) {
    #for q in 0..4
            let h${q} = h[j + ${q}u];
        #if t == 0
            let j${q} = min(j + ${q}u, other - 1u);
        #else
            let j${q} = min(j + ${q}u, other - 1u) * params.m;
        #endif
    #endfor
    #for r in 0..ROWS
            {
                let v = vec4(h0, h1, h2, h3) - k * vec4(cost(at${r} + j0), cost(at${r} + j1), cost(at${r} + j2), cost(at${r} + j3));
                let top = max(top${r}, max(max(v.x, v.y), max(v.z, v.w)));
                let e = exp2(v - top);
                sum${r} = sum${r} * exp2(top${r} - top) + ((e.x + e.y) + (e.z + e.w));
                top${r} = top;
            }
    #endfor
        }
    #for r in 0..ROWS
        if first + ${r * LANES}u < own {
            let next = -(top${r} + log2(sum${r})) / k;
            let at = own_at + i${r};
    #if t == 0
            let was = f[at];
            let w = a[at];
            f[at] = stepped(was, next, omega);
    #else
            let was = g[at];
            let w = b[at];
            g[at] = stepped(was, next, omega);
    #endif
            // Far from convergence the quotient overflows.
            error += w * abs(exp2(min(k * (was - next), 60.0)) - 1.0);
        }
    #endfor
    }
    workgroupBarrier();
    return error;
}
#endfor

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let problem = fold_group(group, groups);
    if problem >= params.problems {
        return;
    }
    var r = relax_start();
    var eps = 0.0;
    var converged = 0.0;
    var iterations = 0u;
    if params.first == 1u {
        let size = params.n * params.m;
        var greatest = 0.0;
        for (var i = lane; i < size; i += ${16 * LANES}u) {
#for q in 0..16
            greatest = max(greatest, abs(cost(problem * size + min(i + ${q * LANES}u, size - 1u))));
#endfor
        }
        eps = max(lanes_max(lane, greatest), params.eps);
        for (var i = lane; i < params.n; i += ${LANES}u) {
            f[problem * params.n + i] = 0.0;
        }
#if !SELF
        for (var i = lane; i < params.m; i += ${LANES}u) {
            g[problem * params.m + i] = 0.0;
        }
#endif
    } else {
        let known = stats[2u * problem];
        let steer = stats[2u * problem + 1u];
        converged = known.w;
        iterations = u32(known.z);
        eps = steer.x;
        r = Relax(steer.y, steer.z, steer.w, known.x);
        // Read by all before the first lane writes.
        workgroupBarrier();
    }
    let until = min(params.most, iterations + params.slice);
    while iterations < until && converged == 0.0 {
        let k = LOG2E / eps;
#if SELF
        let error = lanes_sum(lane, half0(problem, lane, k, 0.5));
#else
        let part = half0(problem, lane, k, r.omega);
        let error = lanes_sum(lane, part + half1(problem, lane, k, r.omega));
#endif
        iterations += 1u;
        if eps > params.eps {
            eps = max(eps * params.scaling, params.eps);
        } else {
            converged = select(0.0, 1.0, error <= params.tolerance);
            r = relax(r, error);
        }
    }
    if params.last == 0u {
        if lane == 0u {
            stats[2u * problem] = vec4(r.count, 0.0, f32(iterations), converged);
            stats[2u * problem + 1u] = vec4(eps, r.omega, r.trust, r.since);
        }
        return;
    }
    let k = LOG2E / params.eps;
#if SELF
    let error = lanes_sum(lane, half0(problem, lane, k, 0.5));
#else
    let first = half0(problem, lane, k, 1.0);
    let error = lanes_sum(lane, half1(problem, lane, k, 1.0));
#endif
    var value = 0.0;
    for (var i = lane; i < params.n; i += ${LANES}u) {
        let at = problem * params.n + i;
#if SELF
        value += 2.0 * a[at] * f[at];
#else
        value += a[at] * f[at];
#endif
    }
#if !SELF
    for (var i = lane; i < params.m; i += ${LANES}u) {
        let at = problem * params.m + i;
        value += b[at] * g[at];
    }
#endif
    value = lanes_sum(lane, value);
    if lane == 0u {
        // The last step may reach what the iterations did not.
        stats[2u * problem] = vec4(value, error, f32(iterations), select(converged, 1.0, error <= params.tolerance));
        stats[2u * problem + 1u] = vec4(eps, r.omega, r.trust, r.since);
    }
}
#endif

#if KIND == 1
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = fold_group(group, groups) * 64u + lane;
    if at >= params.problems * params.n * params.m {
        return;
    }
    let row = at / params.m;
    let column = row / params.n * params.m + at - row * params.m;
    let start = row * params.d;
    let to = column * params.d;
#if COSINE
    var xx = 0.0;
    var yy = 0.0;
    var xy = 0.0;
    for (var i = 0u; i < params.d; i++) {
        let u = x[start + i];
        let v = y[to + i];
        xx += u * u;
        yy += v * v;
        xy += u * v;
    }
    c[at] = 1.0 - select(0.0, xy / (sqrt(xx) * sqrt(yy)), xx > 0.0 && yy > 0.0);
#else
    var sum = 0.0;
    for (var i = 0u; i < params.d; i++) {
        let v = x[start + i] - y[to + i];
        sum += v * v;
    }
    c[at] = sum;
#endif
}
#endif

#if KIND == 2
@group(0) @binding(0) var<storage, read> c: array<f32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
#if SELF
@group(0) @binding(2) var<storage, read> f: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> pi: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
#else
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> f: array<f32>;
@group(0) @binding(4) var<storage, read> g: array<f32>;
@group(0) @binding(5) var<storage, read> dy: array<f32>;
@group(0) @binding(6) var<storage, read_write> pi: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = fold_group(group, groups) * 64u + lane;
    if at >= params.problems * params.n * params.m {
        return;
    }
    let row = at / params.m;
    let column = row / params.n * params.m + at - row * params.m;
    let k = LOG2E / params.eps;
#if SELF
    let w = log2_weight(a[row]) + log2_weight(a[column]);
    let potential = f[row] + f[column];
#else
    let w = log2_weight(a[row]) + log2_weight(b[column]);
    let potential = f[row] + g[column];
#endif
    pi[at] = params.factor * dy[0] * exp2(w + k * (potential - (params.base + params.slope * c[at])));
}
#endif

#if KIND == 3
@group(0) @binding(0) var<storage, read> ab: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> aa: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bb: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> stats: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.problems {
        return;
    }
    let u = ab[2u * i];
    let v = aa[2u * i];
    let w = bb[2u * i];
    let value = 0.5 * ((u.x - v.x) + (u.x - w.x));
    let most = max(u, max(v, w));
    y[i] = value;
    stats[i] = vec4(value, most.y, most.z, min(u.w, min(v.w, w.w)));
}
#endif
