// Included where a0 .. hold a vec4 of four inner indices for the lane's own rows, and b0 .. b3 four columns of each of them:
// acc0 .. acc(ROWS - 1) += a * b, each row's vec4 spread from the lane that loaded it.
            #for r in 0..ROWS
            {
                let v = subgroupBroadcast(a${r / LANES}, ${r % LANES}u);
                acc${r} += v.x * b0;
                acc${r} += v.y * b1;
                acc${r} += v.z * b2;
                acc${r} += v.w * b3;
            }
            #endfor
