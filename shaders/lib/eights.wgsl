// Row of an invocation and its place there, over rows of `size`: 64 to a group one after the other, or with LANES a group is one subgroup of 8 of
// one row, whose last places may lie beyond it.
#import fold

fn row_and_place(group: vec3<u32>, groups: vec3<u32>, lane: u32, size: u32) -> vec2<u32> {
    let number = fold_group(group, groups);
#if LANES
    let tiles = (size + 7u) / 8u;
    let row = number / tiles;
    return vec2<u32>(row, (number - row * tiles) * 8u + lane);
#else
    let item = number * 64u + lane;
    let row = item / size;
    return vec2<u32>(row, item - row * size);
#endif
}
