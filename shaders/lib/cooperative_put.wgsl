// Included at the end: put(base + row * pitch + column, base + column, v) for the outputs below row_end and column_end.
    #for r in 0..BLOCK_ROWS
        #for c in 0..BLOCK_COLUMNS
    {
        let own = subgroup * ${SIDE * SIDE}u;
        coopStoreT(acc${r}_${c}, &stage[own], ${SIDE}u);
        workgroupBarrier();
        for (var e = member; e < ${SIDE * SIDE}u; e += ${LANES}u) {
            let row = row0 + block_row + ${r * SIDE}u + e / ${SIDE}u;
            let column = column0 + block_column + ${c * SIDE}u + e % ${SIDE}u;
            if row < row_end && column < column_end {
                put(base + row * pitch + column, base + column, stage[own + e]);
            }
        }
        workgroupBarrier();
    }
        #endfor
    #endfor
