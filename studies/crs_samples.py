"""Systems in all their spellings, with a place in each by PROJ: EPSG codes, PROJ strings, WKT, and the GeoTIFF keys that GDAL writes."""

import json, pathlib, re, tempfile, warnings

import numpy as np
import pyproj, rasterio, tifffile
from rasterio.transform import from_origin

warnings.filterwarnings("ignore")
WKT = ("WKT1_GDAL", "WKT1_ESRI", "WKT2_2015", "WKT2_2019")
# A place in each.
CODES = {
    27700: (-2.5, 52.5), 2056: (7.5, 46.8), 21781: (8.2, 47.1), 31467: (9.2, 49.3), 3398: (13, 51.2), 21413: (78, 40), 3148: (107, 10),
    5174: (127.2, 37.5), 28992: (5.4, 52.1), 2154: (2.3, 47), 27572: (2.3, 47.5), 27571: (3, 49.5), 3003: (11, 43.8),
    23030: (-3.5, 40.4), 31370: (4.5, 50.8), 5514: (15.5, 49.8), 3035: (10, 51), 3031: (40, -75), 3413: (-50, 75), 3995: (30, 80),
    6933: (20, 40), 2263: (-74, 40.7), 4326: (-10, 10), 4807: (2.5, 46), 2193: (174, -41), 3857: (10, 50), 3395: (10, 50),
    2048: (19.2, -33), 3411: (-40, 75), 3408: (20, 70), 6931: (20, 70), 26711: (-117, 40), 5070: (-96, 38), 32661: (10, 85),
    3978: (-95, 60), 29902: (-8, 53), 31287: (13.3, 47.5), 3068: (13.4, 52.5), 5880: (-50, -10), 32611: (-117.5, 34.25),
    32733: (15.5, -20), 25832: (9, 48), 3006: (15, 60), 4269: (-100, 40), 2229: (-118, 34), 2180: (19, 52), 2100: (23, 38),
    20255: (146, -34), 28355: (147, -37), 7855: (147, -37), 2443: (130, 33), 32040: (-96, 28), 3576: (90, 70), 5041: (10, 85),
    2039: (35, 31.5), 3067: (25, 62), 8857: (20, 40), 2272: (-75.2, 40), 4289: (5.4, 52.1),
}
PROJ = [
    "+proj=moll",
    "+proj=moll +R=6371000",
    "+proj=laea +lat_0=40 +lon_0=10 +x_0=5 +y_0=6 +datum=WGS84",
    "+proj=aea +lat_1=29.5 +lat_2=45.5 +lat_0=23 +lon_0=-96 +datum=NAD83",
    "+proj=lcc +lat_1=46 +lat_0=46 +lon_0=3 +k_0=0.999 +ellps=bessel +towgs84=1,2,3,.4,.5,.6,.7",
    "+proj=lcc +lat_1=46 +lat_2=48 +lat_0=46 +lon_0=3 +x_0=7 +datum=WGS84 +units=us-ft",
    "+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +R=6371000",
    "+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=10 +datum=WGS84",
    "+proj=stere +lat_0=90 +k=0.994 +lon_0=0 +x_0=2000000 +y_0=2000000 +datum=WGS84",
    "+proj=tmerc +lon_0=9 +k=0.9996 +ellps=GRS80 +units=us-ft +x_0=100",
    "+proj=sinu +R=6371007.181",
    "+proj=omerc +lat_0=4 +lonc=102 +alpha=30 +gamma=30 +k=.999 +datum=WGS84",
    "+proj=omerc +no_uoff +lat_0=4 +lonc=102 +alpha=30 +gamma=30 +k=.999 +datum=WGS84",
    "+proj=longlat +ellps=intl +towgs84=-87,-98,-121 +pm=paris",
    "+proj=robin",
    "+proj=cass +lat_0=31 +lon_0=35 +x_0=1000 +datum=WGS84",
    "+proj=poly +lon_0=-54 +x_0=5000000 +y_0=10000000 +ellps=GRS80",
    "+proj=eqdc +lat_1=20 +lat_2=60 +lat_0=40 +lon_0=-96 +datum=NAD83",
    "+proj=eqc +lat_ts=30 +datum=WGS84",
    "+proj=eqc +lat_ts=30 +lon_0=20 +R=6371000",
    "+proj=cea +lat_ts=30 +datum=WGS84",
    "+proj=merc +lat_ts=-41 +lon_0=100 +datum=WGS84",
    "+proj=merc +k=.997 +lon_0=100 +datum=WGS84",
    "+proj=sterea +lat_0=52 +lon_0=5 +k=.9999 +x_0=155000 +y_0=463000 +ellps=bessel +towgs84=565.4,50.3,465.5,-0.399,0.344,-1.877,4.07",
    "+proj=aeqd +lat_0=40 +lon_0=10 +datum=WGS84",
    "+proj=gnom +lat_0=40 +lon_0=10 +R=6371000",
    "+proj=ortho +lat_0=40 +lon_0=10 +datum=WGS84",
    "+proj=mill +lon_0=10 +R=6371000",
    "+proj=stere +lat_0=40 +lon_0=10 +k=.999 +datum=WGS84",
    "+proj=tmerc +lat_0=0 +lon_0=19 +axis=wsu +datum=WGS84",
    "+proj=somerc +lat_0=46.9524055555556 +lon_0=7.43958333333333 +k_0=1 +x_0=600000 +y_0=200000 +ellps=bessel +towgs84=674.374,15.056,405.346",
]


def proj(crs, place):
    return pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(*place)


def without_code(wkt):
    return re.sub(r',\s*(AUTHORITY|ID)\["(EPSG|ESRI)",[^\]]*\]\]$', "]", wkt)


def gdal_keys(text, folder):
    """The three tags that GDAL writes."""
    path = pathlib.Path(folder) / "keys.tif"
    crs = rasterio.crs.CRS.from_user_input(text)
    with rasterio.open(path, "w", driver="GTiff", width=1, height=1, count=1, dtype="uint8", crs=crs, transform=from_origin(1, 1, 1, 1)) as f:
        f.write(np.zeros((1, 1, 1), "uint8"))
    with tifffile.TiffFile(path) as f:
        tags = f.pages[0].tags
        get = lambda tag, none: tags[tag].value if tag in tags else none
        keys = [list(map(int, get(34735, []))), [float(v) for v in get(34736, [])], get(34737, "")]
    return "KEYS " + json.dumps(keys, separators=(",", ":"))


def place_of(text):
    """A place a degree from the centre of a PROJ string."""
    words = dict(w.lstrip("+").split("=") for w in text.split() if "=" in w)
    lon, lat = float(words.get("lon_0", words.get("lonc", 0))), float(words.get("lat_0", words.get("lat_1", 0)))
    lat = lat * 0.85 if abs(lat) == 90 else 30.0 if abs(lat) < 1 else lat
    return lon + 1, lat + 0.7


def all_samples():
    """(text, place, coordinates) of each."""
    for code, place in CODES.items():
        yield "EPSG:%d" % code, place, proj(code, place)
    for code in (27700, 2056, 31467, 2154, 27572, 3031, 2263, 3857, 2048, 5514):
        crs = pyproj.CRS.from_epsg(code)
        for version in WKT[: 4 if code in (2056, 3031, 27572) else 3]:
            yield without_code(crs.to_wkt(version)), CODES[code], proj(crs, CODES[code])
    for code, place in ((7415, (5.4, 52.1)), (5498, (-100, 40))):
        crs = pyproj.CRS.from_epsg(code)
        for version in ("WKT1_GDAL", "WKT2_2019"):
            yield crs.to_wkt(version), place, proj(crs.sub_crs_list[0], place)
    bound = pyproj.CRS("+proj=tmerc +lon_0=9 +x_0=3500000 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7")
    for version in ("WKT1_GDAL", "WKT2_2019"):
        yield bound.to_wkt(version), (9.2, 49.3), proj(bound, (9.2, 49.3))
    for text, place in (("ESRI:54009", (20, 40)), ("ESRI:102003", (-90, 40)), ("ESRI:54030", (20, 40)), ("ESRI:54003", (20, 40)), ("ESRI:54017", (20, 40))):
        yield pyproj.CRS(text).to_wkt("WKT1_ESRI"), place, proj(text, place)
    with tempfile.TemporaryDirectory() as folder:
        for text in PROJ + ["EPSG:4807", "EPSG:27572", "EPSG:32611"]:
            code = int(text[5:]) if text.startswith("EPSG:") else None
            place = CODES[code] if code else place_of(text)
            if not code:
                yield text, place, proj(pyproj.CRS(text), place)
            yield gdal_keys(text, folder), place, proj(pyproj.CRS(text), place)


def write(path):
    """The samples of the unit tests."""
    versions = "PROJ %s (pyproj %s) and GDAL %s" % (pyproj.proj_version_str, pyproj.__version__, rasterio.__gdal_version__)
    lines = ["# Systems and a place in each by %s, written by studies/crs_tables.py: text or GeoTIFF keys, longitude, latitude, x, y." % versions]
    for text, place, point in all_samples():
        lines.append("\t".join([re.sub(r"\s*\n\s*", "", text)] + ["%.9g" % v for v in place] + ["%.12g" % v for v in point]))
    pathlib.Path(path).write_text("\n".join(lines) + "\n")
