#!/usr/bin/env bash
# GDAL 3.10.3 (rasterio 1.4.4): a world file beside a GeoTIFF that has a transform of its own is passed over without a word, though people write
# one to correct a place: the image stays where the TIFF says. It counts only where the TIFF has none, or with GDAL_GEOREF_SOURCES=WORLDFILE
# (which some viewers set). A registration that is handed on as .tfw beside the untouched, georeferenced file changes nothing for GDAL.
# Seen: with its own transform c=500000.0, without c=700000.0, told to c=700000.0.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv v && v/bin/pip -q install "rasterio==1.4.4" "numpy==2.2.6"
cat > look.py <<'P'
import numpy as np, rasterio
from rasterio.transform import from_origin
print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
def write(name, **place):
    with rasterio.open(name, "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8", **place) as d:
        d.write(np.ones((8, 8), "uint8"), 1)
    with open(name.replace(".tif", ".tfw"), "w") as w:
        w.write("10\n0\n0\n-10\n700005\n5099995\n")
def left(name, **settings):
    with rasterio.Env(**settings), rasterio.open(name) as d:
        return d.transform.c
write("placed.tif", crs="EPSG:32633", transform=from_origin(500000, 5000000, 10, 10))
write("bare.tif")
seen = [left("placed.tif"), left("bare.tif"), left("placed.tif", GDAL_GEOREF_SOURCES="WORLDFILE,INTERNAL")]
print(f"with its own transform c={seen[0]}, without c={seen[1]}, told to c={seen[2]}")
assert seen == [500000.0, 700000.0, 700000.0], seen
P
v/bin/python -W ignore look.py
