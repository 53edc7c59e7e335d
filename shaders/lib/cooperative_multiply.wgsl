// Included in a loop over inner tiles, once both tiles are written: acc += tile_a * tile_b for the subgroup's matrices.
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k += ${SIDE}u) {
            #for r in 0..BLOCK_ROWS
            let a${r} = coopLoad<coop_mat${SIDE}x${SIDE}<f16, A>>(&tile_a[k * PITCH + block_row + ${r * SIDE}u], PITCH);
            #endfor
            #for c in 0..BLOCK_COLUMNS
            let b${c} = coopLoadT<coop_mat${SIDE}x${SIDE}<f16, B>>(&tile_b[k * PITCH + block_column + ${c * SIDE}u], PITCH);
            #endfor
            #for r in 0..BLOCK_ROWS
                #for c in 0..BLOCK_COLUMNS
            acc${r}_${c} = coopMultiplyAdd(a${r}, b${c}, acc${r}_${c});
                #endfor
            #endfor
        }
        workgroupBarrier();
