// Included before the loop over inner tiles: where in the tile the subgroup's matrices lie, and their sums.
    let block_row = (subgroup / ${ACROSS}u) * ${BLOCK_ROWS * SIDE}u;
    let block_column = (subgroup % ${ACROSS}u) * ${BLOCK_COLUMNS * SIDE}u;
        #for r in 0..BLOCK_ROWS
            #for c in 0..BLOCK_COLUMNS
    var acc${r}_${c}: coop_mat${SIDE}x${SIDE}<f32, C>;
            #endfor
        #endfor
