// Included where a0 .. hold a vec4 of four inner indices for the lane's own rows, and b0_0 .. b3_(COLUMNS - 1) four columns of each of them:
// acc0_0 .. acc(ROWS - 1)_(COLUMNS - 1) += a * b, each row's vec4 spread from the lane that loaded it.
            #for r in 0..ROWS
            {
                let v = subgroupBroadcast(a${r / LANES}, ${r % LANES}u);
                #for j in 0..COLUMNS
                acc${r}_${j} += v.x * b0_${j};
                acc${r}_${j} += v.y * b1_${j};
                acc${r}_${j} += v.z * b2_${j};
                acc${r}_${j} += v.w * b3_${j};
                #endfor
            }
            #endfor
