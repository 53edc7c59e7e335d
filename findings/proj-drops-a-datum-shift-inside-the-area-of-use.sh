#!/usr/bin/env bash
# PROJ 9.5.1 (pyproj 3.7.2, no grids): one transformer of one projected system shifts the datum at some places of the system's own area of use and
# silently does not at others. EPSG:3148 (Indian 1960 / UTM zone 48N, "Cambodia; Vietnam west of 108 E"): 488 m at Ho Chi Minh City, 475 m at 17.5 N,
# nothing at Phnom Penh and Hanoi, where the operation is called a "Ballpark geographic offset". GDAL and QGIS inherit it: two tiles of one
# map come to lie half a kilometre apart. Hence echogrid refuses such systems outside of the boxes in which a shift is known.
# Seen: 488.0, 474.6, 0.0, 0.0 m.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"
"$dir/v/bin/pip" -q install "pyproj==3.7.2"
cd "$dir"
v/bin/python - <<'P'
import pyproj
from pyproj import CRS, Geod, Transformer
print("pyproj", pyproj.__version__, "PROJ", pyproj.proj_version_str)
crs = CRS(3148)
area, geod = crs.area_of_use, Geod(ellps="WGS84")
there, back = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True), Transformer.from_crs(crs, 4326, always_xy=True)
for name, lon, lat, want in (("Ho Chi Minh City", 106.7, 10.8, 488.0), ("17.5 N", 106.7, 17.5, 474.6), ("Phnom Penh", 104.9, 11.6, 0.0), ("Hanoi", 105.84, 21.0, 0.0)):
    assert area.west < lon < area.east and area.south < lat < area.north
    shift = geod.inv(lon, lat, *back.transform(*there.transform(lon, lat)))[2]
    operation = back.get_last_used_operation().description
    print(f"{name}: {shift:.1f} m,", operation)
    assert abs(shift - want) < 0.1 and ("Ballpark" in operation) == (want == 0), (shift, operation)
P
