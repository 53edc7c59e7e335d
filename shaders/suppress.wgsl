// Non-maximum suppression within groups of columns: of the scores that one query has for the rows of one group (the views of a cell),
// only the greatest stays, the first of equals; the others become -infinity. A search for k rows then finds k groups.
//
// scores [nq, n], in place; starts [groups + 1]: group g owns columns starts[g] .. starts[g + 1].
// NaN never wins unless it stands first in its group; then it stays and the rest go.
// Bindings: starts, scores, params. Dispatch: one invocation a query and group, groups of 64, folded. Workgroup memory: none.
#import fold

struct Params {
    nq: u32,
    n: u32,
    groups: u32,
}

@group(0) @binding(0) var<storage, read> starts: array<u32>;
@group(0) @binding(1) var<storage, read_write> scores: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = fold_group(group, groups) * 64u + lane;
    if i >= params.nq * params.groups {
        return;
    }
    let g = i % params.groups;
    let row = (i / params.groups) * params.n;
    let first = row + min(starts[g], params.n - 1u);
    let last = row + min(starts[g + 1u], params.n);
    // Not a constant: WGSL refuses constants that are not finite.
    let minus_infinity = 0xff800000u | min(params.groups, 0u);
    var best = first;
    var score = scores[first];
    for (var at = first + 1u; at < last; at++) {
        let s = scores[at];
        let better = s > score;
        // Whichever loses is cleared at once: each element is written once at most, by the invocation that owns its group.
        scores[select(at, best, better)] = bitcast<f32>(minus_infinity);
        best = select(best, at, better);
        score = select(score, s, better);
    }
}
