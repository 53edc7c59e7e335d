// Inverted drop-out: elements kept at random and scaled up, the others 0. The mask is a function of the element's index and
// three keys and is stored nowhere.
//
// y = keep ? scale * x : 0       bindings: x [n], state [2] of u32 (seed, counter), y [n], params
// Element i is kept where the upper 24 bits of pcg3d(i, seed + stream * 0x9E3779B9, counter).x are at or above `threshold`,
// rate * 2^24: integers alone decide, so any machine and either width of loads has the same mask. What is dropped is 0 whatever
// x holds, NaN too.
// Backward: dx is of dy what y is of x, so it is this same dispatch with dy in x's place; no variant of its own.
// Dispatch: one invocation a V, in groups of 64, folded. Variant: VEC (1 or 4) with T and U; n counts T. Workgroup memory: none.
#import fold
#import rng

alias V = ${T};
alias W = ${U};

struct Params {
    n: u32,
    stream: u32,
    threshold: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<V>;
@group(0) @binding(3) var<uniform> params: Params;

fn draw(element: u32) -> u32 {
    return pcg3d(vec3<u32>(element, state[0] + params.stream * 0x9e3779b9u, state[1])).x >> 8u;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.n {
        return;
    }
#if VEC == 4
    let at = 4u * i;
    let drawn = W(draw(at), draw(at + 1u), draw(at + 2u), draw(at + 3u));
#else
    let drawn = draw(i);
#endif
    y[i] = select(V(0.0), params.scale * x[i], drawn >= W(params.threshold));
}
