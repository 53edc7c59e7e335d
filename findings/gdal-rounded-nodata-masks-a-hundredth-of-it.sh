#!/usr/bin/env bash
# GDAL 3.10.3 (rasterio 1.4.4): a Float32 pixel equals the no-data value if their difference is below an epsilon times their sum, which is taken in
# single precision. With the common no-data value -3.4e38 the sum overflows for every value below about -2.8e35, the bound becomes infinite, and
# all of these are masked, not only what rounds to the value. It is why files whose tag rounds the least float are read right at all.
# Seen: of -3.4e38, -1e37, -1e36, -1e35, 5 the first three are masked.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"
"$dir/v/bin/pip" -q install "rasterio==1.4.4" "numpy==2.2.6"
cd "$dir"
v/bin/python -W ignore - <<'P'
import numpy as np, rasterio
print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
values = np.array([[-3.4e38, -1e37, -1e36, -1e35, 5]], "float32")
with rasterio.open("n.tif", "w", driver="GTiff", width=5, height=1, count=1, dtype="float32", nodata=-3.4e38) as d:
    d.write(values, 1)
with rasterio.open("n.tif") as d:
    mask = d.read_masks(1)[0]
print(dict(zip(values[0].tolist(), mask.tolist())))
assert mask.tolist() == [0, 0, 0, 255, 255], mask
P
