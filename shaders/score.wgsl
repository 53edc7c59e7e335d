// Products of queries with the rows of a database: written, or the best of them kept.
//
// KIND 0 score   scores[i, j] = <q[q0 + i], x[x0 + j]>, i < nq, j < n        bindings: q [.., d], x [.., d], scores [nq, n], params
//                q and x are read WIDTH columns at once, x as f16 where F16 (lib/rows). BROADCAST (WIDTH 4 or 8): the group is one subgroup
//                of 8, each lane loads rows of its own and one query of every 8, which all get by broadcast; QT queries x 8 RT rows a group.
//                Else (WIDTH 1 or 4) 64 invocations of QT queries x RT rows each, 8 x 8 of them (1 x 64 where QT is 1).
// KIND 1 best    k <= KP: list[i * segments + segment] = the k best (lib/keys) of rows [segment * length, +length) below n for query q0 + i, i < nq,
//                with ids from first_id on. Tiles as KIND 0's (QT > 1), a group going over a segment's rows; scores stay in registers, those that
//                reach the k-th of their list go to workgroup memory with a bit in a mask, and the invocation that owns the query puts them in
//                their places. Nothing below the k-th of list q0 + i of those before is taken.
//                bindings: q, x, scores before, ids before, list scores, list ids, params
// Workgroup memory: KIND 1 4.3 KiB.
#import fold
#import rows

struct Params {
    nq: u32,
    n: u32,
    d: u32,
    q0: u32,
    x0: u32,
    k: u32,
    segments: u32,
    length: u32,
    first_id: u32,
}

@group(0) @binding(0) var<storage, read> q: array<Q>;
@group(0) @binding(1) var<storage, read> x: array<X>;
#if KIND == 0
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
#else
@group(0) @binding(2) var<storage, read> scores_before: array<u32>;
@group(0) @binding(3) var<storage, read> ids_before: array<u32>;
@group(0) @binding(4) var<storage, read_write> list_scores: array<u32>;
@group(0) @binding(5) var<storage, read_write> list_ids: array<u32>;
@group(0) @binding(6) var<uniform> params: Params;
#endif

#if KIND == 0
#if BROADCAST
@compute @workgroup_size(8)
#else
@compute @workgroup_size(64)
#endif
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile = fold_group(group, groups);
    // Queries and rows a group covers; neighbouring groups share rows.
#if BROADCAST
    let q_span = ${QT}u;
    let x_span = ${8 * RT}u;
#else
    #if QT == 1
    let q_span = 1u;
    let x_span = ${64 * RT}u;
    #else
    let q_span = ${8 * QT}u;
    let x_span = ${8 * RT}u;
    #endif
#endif
    let q_tiles = (params.nq + q_span - 1u) / q_span;
    let x_tiles = (params.n + x_span - 1u) / x_span;
    if tile >= q_tiles * x_tiles {
        return;
    }
#if BROADCAST
    let first_q = tile % q_tiles * q_span;
    let first_x = tile / q_tiles * x_span + lane;
    let x_step = 8u;
#else
    #if QT == 1
    let first_q = tile % q_tiles;
    let first_x = tile / q_tiles * x_span + lane;
    let x_step = 64u;
    #else
    let first_q = tile % q_tiles * q_span + lane / 8u * ${QT}u;
    let first_x = tile / q_tiles * x_span + lane % 8u;
    let x_step = 8u;
    #endif
#endif
    #include score_tile
#for g in 0..QT
    if first_q + ${g}u < params.nq {
    #for r in 0..RT
        if first_x + ${r}u * x_step < params.n {
            scores[(first_q + ${g}u) * params.n + first_x + ${r}u * x_step] = a${g}_${r};
        }
    #endfor
    }
#endfor
}
#endif

#if KIND == 1
#import keys

// Queries and rows of a tile are 32 each. Of its scores those that reach their list, a bit a row.
var<workgroup> tile_key: array<u32, 1024>;
var<workgroup> reached: array<atomic<u32>, 32>;
// The least key that reaches a query's list. With BROADCAST it lies in register g / 8 of lane g % 8, which owns query g.
#if !BROADCAST
var<workgroup> bar: array<u32, 32>;
#endif

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = fold_group(group, groups);
    let q_tiles = (params.nq + 31u) / 32u;
    // Neighbouring groups share rows.
    let segment = index / q_tiles;
    if segment >= params.segments {
        return;
    }
    let tile_q = index % q_tiles * 32u;
    let begin = segment * params.length;
    let end = min(begin + params.length, params.n);
    // The lists lie in registers of the invocation that owns the query, the best first. Places before the last k hold what nothing beats.
    let unused = ${KP}u - params.k;
#for j in 0..(32 + LANES - 1) / LANES
    #for i in 0..KP
    var key${j}_${i} = select(0u, 0xffffffffu, ${i}u < unused);
    var id${j}_${i} = select(EMPTY, 0u, ${i}u < unused);
    #endfor
    let own${j} = min(lane + ${j * LANES}u, 31u);
    let before${j} = (params.q0 + min(tile_q + own${j}, params.nq - 1u) + 1u) * params.k - 1u;
    var bar${j} = select(key_of(scores_before[before${j}]), 0u, ids_before[before${j}] == EMPTY);
    atomicStore(&reached[own${j}], 0u);
#endfor
#if BROADCAST
    let first_q = tile_q;
    let own_q = 0u;
#else
    if lane < 32u {
        bar[lane] = bar0;
    }
    let own_q = lane / 8u * ${QT}u;
    let first_q = tile_q + own_q;
#endif
    let own_row = lane % 8u;
    let x_step = 8u;
    workgroupBarrier();
    for (var at = begin; at < end; at += 32u) {
        let first_x = at + own_row;
        #include score_tile
#for r in 0..RT
        let there${r} = first_x + ${8 * r}u < end;
#endfor
#for h in 0..QT / 4
        {
            var some = false;
    #for g in 4 * h..4 * h + 4
        #if BROADCAST
            let least${g} = subgroupBroadcast(bar${g / 8}, ${g % 8}u);
        #else
            let least${g} = bar[own_q + ${g}u];
        #endif
        #for r in 0..RT
            let key${g}_${r} = key_of(bitcast<u32>(a${g}_${r}));
            // An equal key may still lose by its id.
            let in${g}_${r} = there${r} & (key${g}_${r} >= least${g});
            some = some | in${g}_${r};
        #endfor
    #endfor
            // Where an `if` runs both its sides under a mask, as on llvmpipe, only a loop passes by what is seldom needed.
            while some {
                some = false;
    #for g in 4 * h..4 * h + 4
        #for r in 0..RT
                if in${g}_${r} {
                    tile_key[(own_q + ${g}u) * 32u + own_row + ${8 * r}u] = key${g}_${r};
                    atomicOr(&reached[own_q + ${g}u], 1u << (own_row + ${8 * r}u));
                }
        #endfor
    #endfor
            }
        }
#endfor
        workgroupBarrier();
#if LANES > 32
        if lane < 32u {
#endif
#for j in 0..(32 + LANES - 1) / LANES
            var left${j} = atomicLoad(&reached[own${j}]);
            atomicStore(&reached[own${j}], 0u);
            while left${j} != 0u {
                let row = firstTrailingBit(left${j});
                left${j} = left${j} & (left${j} - 1u);
                var key = tile_key[own${j} * 32u + row];
                var id = params.first_id + at + row;
    #for i in 0..KP
                let first${i} = better(key, id, key${j}_${i}, id${j}_${i});
                let old_key${i} = key${j}_${i};
                let old_id${i} = id${j}_${i};
                key${j}_${i} = select(old_key${i}, key, first${i});
                id${j}_${i} = select(old_id${i}, id, first${i});
                key = select(key, old_key${i}, first${i});
                id = select(id, old_id${i}, first${i});
    #endfor
                bar${j} = max(bar${j}, key${j}_${KP - 1});
            }
#endfor
#if LANES > 32
            bar[lane] = bar0;
        }
#endif
        workgroupBarrier();
    }
#for j in 0..(32 + LANES - 1) / LANES
    if lane < 32u && tile_q + own${j} < params.nq {
        let list${j} = ((tile_q + own${j}) * params.segments + segment) * params.k - unused;
    #for i in 0..KP
        if ${i}u >= unused {
            list_scores[list${j} + ${i}u] = bits_of(key${j}_${i}, id${j}_${i});
            list_ids[list${j} + ${i}u] = id${j}_${i};
        }
    #endfor
    }
#endfor
}
#endif
