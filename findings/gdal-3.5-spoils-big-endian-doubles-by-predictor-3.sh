#!/usr/bin/env bash
# GDAL 3.5.3 (rasterio 1.3.6; Debian 12's GDAL 3.6.2 does the same): a Float64 GeoTIFF written with PREDICTOR=3 and ENDIANNESS=BIG holds other
# numbers than were given, without an error: 1.5 comes back as about 3e-319 in every reader tried (GDAL 3.10.3, tifffile 2026.3.3). Little-endian
# files, Float32, and other predictors are right; GDAL 3.10.3 (rasterio 1.4.4) writes them right, and reads right ones everywhere.
# Seen: LITTLE [0, 1.5, 3, 4.5]; BIG [0, 3.13984e-319, 1.0435e-320, 2.3083e-320]; by rasterio 1.4.4 both [0, 1.5, 3, 4.5].
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv old && old/bin/pip -q install "rasterio==1.3.6" "numpy==1.26.4"
python3 -m venv new && new/bin/pip -q install "rasterio==1.4.4" "numpy==2.2.6"
cat > write.py <<'P'
import sys
import numpy as np, rasterio
from rasterio.shutil import copy
print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
given = np.arange(64, dtype="float64").reshape(8, 8) * 1.5
with rasterio.open("s.tif", "w", driver="GTiff", width=8, height=8, count=1, dtype="float64") as d:
    d.write(given, 1)
right = {}
for order in ("LITTLE", "BIG"):
    copy("s.tif", "p.tif", driver="GTiff", COMPRESS="LZW", PREDICTOR=3, ENDIANNESS=order)
    with rasterio.open("p.tif") as d:
        got = d.read(1)
    print(order, got[0, :4].tolist())
    right[order] = bool((got == given).all())
assert right == {"LITTLE": True, "BIG": sys.argv[1] == "right"}, right
P
old/bin/python -W ignore write.py wrong
new/bin/python -W ignore write.py right
