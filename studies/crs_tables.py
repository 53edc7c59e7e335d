"""Writes the tables of src/scene/crs from PROJ's database: datums.csv, shifts.csv, conversions.csv, samples.tsv.

    pip install pyproj rasterio tifffile numpy
    python studies/crs_tables.py            # about five minutes on two cores; no grids of PROJ may be installed
    python studies/crs_sweep.py             # then hold the module against PROJ

For each datum of the EPSG dataset, and each projected system that the crate `crs-definitions` knows, PROJ is asked for places spread
over the area of use. A shift is taken where one of PROJ's operations there, or three or seven parameters fitted to all of them, is right
within 9 m at each. Datums for which none is are marked `*` (differs by region), those for which PROJ knows none `?`.
Where PROJ knows a shift in parts of an area alone, the boxes of its operations are kept with it; where none is right in the whole area but
one in most of it, the box of that.
"""

import collections, json, math, multiprocessing, pathlib, re, sqlite3, subprocess, sys, tempfile, warnings

import numpy as np
import pyproj
from pyproj import CRS, Transformer

warnings.filterwarnings("ignore")
ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "src/scene/crs"
# Metres that a shift may be off at most, to leave room below ten between the places tried.
LIMIT = 9.0
WGS84_A, WGS84_ES = 6378137.0, 0.0066943799901413165
# Systems on Hughes's ellipsoid, which NSIDC uses with WGS 84's latitudes.
HUGHES = 6054
# Systems that crs_sweep.py has found more than ten metres off between the places tried here.
MISSED = {2059, 4179, 4805, 21420, 21460, 21480}


def definitions():
    """Source text of crs-definitions, where cargo has it."""
    meta = json.loads(subprocess.run(["cargo", "metadata", "--format-version=1"], cwd=ROOT, capture_output=True, check=True).stdout)
    package = next(p for p in meta["packages"] if p["name"] == "crs-definitions")
    return (pathlib.Path(package["manifest_path"]).parent / "src/defs.rs").read_text()


def helmerts(pipeline):
    """Shifts (datum to WGS 84, position vector) of a pipeline from WGS 84 to a datum; None where there is another kind of step."""
    out = []
    for step in re.split(r"\bstep\b", pipeline):
        if "proj=helmert" in step or "proj=molobadekas" in step:
            p = {k: float(v) for k, v in re.findall(r"\b(x|y|z|rx|ry|rz|s|px|py|pz)=([-0-9.eE]+)", step)}
            if "dx=" in step or "t_epoch" in step:
                return None
            t, r, s = [p.get(k, 0.0) for k in "xyz"], [p.get("r" + k, 0.0) for k in "xyz"], p.get("s", 0.0)
            if "convention=coordinate_frame" in step:
                r = [-v for v in r]
            if "molobadekas" in step:
                pivot, (a, b, c) = np.array([p["px"], p["py"], p["pz"]]), np.radians(np.array(r) / 3600)
                m = (1 + s * 1e-6) * np.array([[1, -c, b], [c, 1, -a], [-b, a, 1]])
                t = list(np.array(t) + pivot - m @ pivot)
            sign = 1 if re.search(r"\binv\b", step) else -1
            out.append([sign * v for v in (*t, *r, s)])
        elif re.search(r"gridshift|molodensky|geogoffset|deformation|defmodel|tinshift|affine|horner", step):
            return None
    return out


def shifted(shift, lon, lat, a, es):
    """Longitude and latitude on a datum of places on WGS 84."""
    lon, lat = np.radians(lon), np.radians(lat)
    n = WGS84_A / np.sqrt(1 - WGS84_ES * np.sin(lat) ** 2)
    xyz = np.array([n * np.cos(lat) * np.cos(lon), n * np.cos(lat) * np.sin(lon), n * (1 - WGS84_ES) * np.sin(lat)])
    r = np.radians(np.array(shift[3:6]) / 3600)
    turn = np.array([[1, r[2], -r[1]], [-r[2], 1, r[0]], [r[1], -r[0], 1]])
    x, y, z = turn @ ((xyz - np.array(shift[:3])[:, None]) / (1 + shift[6] * 1e-6))
    p, lat = np.hypot(x, y), np.arctan2(z, np.hypot(x, y) * (1 - es))
    for _ in range(6):
        n = a / np.sqrt(1 - es * np.sin(lat) ** 2)
        lat = np.arctan2(z, p * (1 - es * n / (n + p / np.cos(lat) - n)))
    return np.degrees(np.arctan2(y, x)), np.degrees(lat)


def spread(area, n, edges):
    """Places on a raster of n by n over an area: cells' centres, or for `edges` from edge to edge, where errors are greatest."""
    west, south, east, north = area
    east += 360 if east < west else 0
    f = np.linspace(0.005, 0.995, n) if edges else (np.arange(n) + 0.5) / n
    lon, lat = np.meshgrid(west + (east - west) * f, south + (north - south) * f)
    return (lon.ravel() + 540) % 360 - 180, lat.ravel()


def observe(job):
    """What PROJ makes of a system (code, places a side of a raster over its area, and that where operations differ by place)."""
    code, n, more, edges = job
    try:
        crs = CRS.from_epsg(code)
        area = crs.area_of_use
        if crs.is_geocentric or not (crs.is_projected or crs.is_geographic) or len(crs.axis_info) != 2 or area is None:
            return None
        to, base = Transformer.from_crs(4326, crs, always_xy=True), crs.geodetic_crs
        # One operation, or several that PROJ chooses from by the place.
        several = to.description.startswith("unavailable")
        lon, lat = spread((area.west, area.south, area.east, area.north), more if several else n, edges)
        points, ballpark, shifts, boxes = [], [], [], []
        for place in zip(lon, lat):
            points.append(to.transform(*place))
            if not math.isfinite(points[-1][0]):
                ballpark.append(False)
                continue
            try:
                used = to.get_last_used_operation()
            except Exception:
                used = to
            ballpark.append("allpark" in used.description)
            if not ballpark[-1] and used.area_of_use:
                u = used.area_of_use
                box = [round(v, 3) for v in (u.west, u.south, u.east, u.north)]
                boxes += [box] if box not in boxes else []
            found = helmerts(used.definition)
            if found is not None and len(found) == 1 and found[0] not in shifts:
                shifts.append(found[0])
        x, y = np.array(points).T
        bl, bp = Transformer.from_crs(crs, base, always_xy=True).transform(x, y)
        unit, pm, rf = math.degrees(base.axis_info[0].unit_conversion_factor), base.prime_meridian, base.ellipsoid.inverse_flattening
        bl = np.asarray(bl) * unit + math.degrees(pm.longitude * pm.unit_conversion_factor)
        return dict(code=code, name=crs.name, dep=crs.is_deprecated, lon=lon, lat=lat, x=x, y=y, bl=bl, bp=np.asarray(bp) * unit,
                    ball=np.array(ballpark), shifts=shifts, boxes=boxes, a=base.ellipsoid.semi_major_metre, rf=rf,
                    es=2 / rf - 1 / rf**2 if rf else 0.0, geographic=crs.is_geographic, unit=[a.unit_conversion_factor for a in crs.axis_info])
    except Exception as e:
        print(code, repr(e)[:120], file=sys.stderr)
        return None


def residuals(shift, r, ok):
    lon, lat = shifted(shift, r["lon"][ok], r["lat"][ok], r["a"], r["es"])
    east = ((r["bl"][ok] - lon + 540) % 360 - 180) * np.cos(np.radians(lat)) * 111320
    return east, (r["bp"][ok] - lat) * 111320


def worst(shift, r, ok):
    return float(np.nanmax(np.hypot(*residuals(shift, r, ok)))) if ok.any() else 0.0


def fit(r, ok):
    """Three parameters from nought or seven from an operation's, of least greatest error; directions that the places leave open stay."""
    scale = np.array([1, 1, 1, 1 / 30, 1 / 30, 1 / 30, 1 / 6.4])
    best = (1e9, [0.0] * 7)
    for n, p in [(3, np.zeros(7))] + [(7, np.array(s)) for s in r["shifts"]]:
        w, mine = np.ones(ok.sum()), None
        for step in range(60):
            of = lambda q: np.concatenate(residuals(q, r, ok))
            e = of(p)
            if not np.isfinite(e).all() or np.abs(e).max() > 1e6:
                break
            slope = np.stack([(of(p + np.eye(7)[i] * 0.05 * scale[i]) - e) / 0.05 for i in range(n)], 1)
            m = np.hypot(*np.split(e, 2))
            if mine is None or m.max() < mine[0]:
                mine = (float(m.max()), [float("%.7g" % v) for v in p])
            w *= m / m.max() + 0.05 if step > 3 else 1
            w /= w.mean()
            root = np.sqrt(np.concatenate([w, w]))
            p = p.copy()
            try:
                p[:n] += np.linalg.lstsq(slope * root[:, None], -e * root, rcond=0.01)[0] * scale[:n]
            except np.linalg.LinAlgError:
                break
        if mine and max(map(abs, mine[1][3:6])) < 60 and abs(mine[1][6]) < 120 and mine[0] < best[0] * 0.9:
            best = mine
    return best


def choose(r, more=()):
    """The shift of a system's area: seven values, `*` or `?`."""
    finite = np.isfinite(r["bl"])
    ok = finite & ~r["ball"]
    if not ok.any():
        modern = abs(r["a"] - WGS84_A) < 1.5 and abs((r["rf"] or 0) - 298.257) < 0.01
        return [0.0] * 7 if modern else "?"
    tried = [(worst(s, r, ok), i, list(s)) for i, s in enumerate([[0.0] * 7, *more, *r["shifts"]])]
    error, _, shift = min(tried, key=lambda t: (t[0] > 1 and t[0], t[1]))
    if error > LIMIT:
        error, shift = fit(r, ok)
    shift = [0.0 if abs(v) < 1e-9 else float("%.7g" % v) for v in shift]
    if error <= LIMIT:
        return shift
    # None holds everywhere: the one that holds in the widest box, if that is most of the area.
    holding = [(box(s, r), s) for s in (shift, *more, *r["shifts"])]
    (share, r["box"]), shift = max(holding, key=lambda h: h[0][0])
    return [0.0 if abs(v) < 1e-9 else float("%.7g" % v) for v in shift] if share >= 0.5 else "*"


def box(shift, r):
    """The largest box in which a shift is right, as the share of the area's places that it holds, and its edges."""
    n = round(len(r["lon"]) ** 0.5)
    wrong = ~(np.hypot(*residuals(shift, r, np.ones(n * n, bool))) <= LIMIT).reshape(n, n)
    sums = np.zeros((n + 1, n + 1), int)
    sums[1:, 1:] = wrong.cumsum(0).cumsum(1)
    best = (0.0, None)
    for j0 in range(n):
        for j1 in range(j0 + 2, n + 1):
            bad = np.flatnonzero(sums[j1, 1:] - sums[j0, 1:] - sums[j1, :-1] + sums[j0, :-1])
            for i0, i1 in zip([0, *(bad + 1)], [*bad, n]):
                if i1 - i0 >= 2 and (j1 - j0) * (i1 - i0) / n**2 > best[0]:
                    edges = (r["lon"][i0], r["lat"][j0 * n], r["lon"][i1 - 1], r["lat"][(j1 - 1) * n])
                    best = ((j1 - j0) * (i1 - i0) / n**2, edges)
    return best


def written(shift, r):
    if isinstance(shift, str):
        return shift
    finite, boxes = np.isfinite(r["bl"]), ""
    if r.get("box"):
        boxes = "@" + ",".join("%.3f" % v for v in r["box"])
    elif r["ball"].any() and not r["ball"].all() and worst(shift, r, finite & r["ball"]) > LIMIT:
        boxes = "@" + ";".join(",".join("%g" % v for v in b) for b in r["boxes"])
    values = shift[:3] if not any(shift[3:]) else shift
    return ("0" if not any(shift) else ",".join("%.10g" % v for v in values)) + boxes


def plain(name):
    return re.sub(r"[^a-z0-9]", "", name.lower())


def tables(pool, source):
    db = sqlite3.connect(pyproj.datadir.get_data_dir() + "/proj.db")
    ask = lambda sql: db.execute(sql).fetchall()
    made = "EPSG dataset by way of PROJ %s, written by studies/crs_tables.py." % pyproj.proj_version_str
    datum_of = {int(c): int(d) for c, d in ask("select code, datum_code from geodetic_crs where auth_name='EPSG' and datum_auth_name='EPSG'")}
    name = {int(c): n for c, n in ask("select code, name from geodetic_datum where auth_name='EPSG'")}
    alias = collections.defaultdict(set)
    for c, n in ask("select code, alt_name from alias_name where table_name='geodetic_datum' and auth_name='EPSG'"):
        alias[int(c)].add(n)
    for n, c in re.findall(r'DATUM\["([^"]+)",SPHEROID\[.*?\](?:,TOWGS84\[[^\]]*\])?,AUTHORITY\["EPSG","(\d+)"\]\]', source):
        alias[int(c)].add(n)
    codes = [int(c) for (c,) in ask("select code from geodetic_crs where auth_name='EPSG' and type='geographic 2D'")]
    seen = collections.defaultdict(list)
    for r in filter(None, pool.map(observe, [(c, 5, 17, True) for c in codes], chunksize=4)):
        if r["code"] in datum_of:
            seen[datum_of[r["code"]]].append(r)
    rows, base = [], {}
    for d, systems in sorted(seen.items()):
        r = min(systems, key=lambda r: (r["dep"], r["code"]))
        same = not r["rf"] or d == HUGHES or "NSIDC" in name[d] or "Hughes 1980" in name[d]
        shift = "same" if same else choose(r)
        base[d] = (shift, shift if same else written(shift, r))
        names = alias[d] | {name[d]} | {s["name"] for s in systems}
        names = {plain(n) for n in names} | {plain(n[2:]) for n in names if n.startswith("D_")}
        rows.append((r["dep"], d, name[d], r["a"], r["rf"] or 0, base[d][1], sorted(filter(None, names))))
    owner = {}
    for row in sorted(rows, key=lambda row: row[:2]):
        for n in row[6]:
            owner.setdefault(n, row[1])
    with open(OUT / "datums.csv", "w") as f:
        f.write("# Datums and their shifts to WGS 84; %s\n" % made)
        f.write("# EPSG code|name|semi-major axis, m|inverse flattening, 0: sphere|shift|names as in WKT, letters and digits alone\n")
        f.write("# Shift: 0 none, same: latitudes and longitudes are taken as they are, * differs by region, ? none is known, else as +towgs84.\n")
        f.write("# After @: the boxes (west,south,east,north; degrees) within which it holds.\n")
        for _, d, n, a, rf, shift, names in rows:
            f.write("%d|%s|%.10g|%.10g|%s|%s\n" % (d, n, a, rf, shift, " ".join(n for n in names if owner[n] == d)))
    known = sorted({int(c) for c in re.findall(r"\bEPSG_(\d+)\b", source)})
    below = {int(c): datum_of.get(int(g)) for c, g in ask("select code, geodetic_crs_code from projected_crs where auth_name='EPSG'")}
    stated = {int(c): [float(v) for v in t.split(",")] for c, t in re.findall(r"EPSG_(\d+)[^\n]*\n?[^\n]*?towgs84=([-0-9.,eE]+)", source)}
    with open(OUT / "shifts.csv", "w") as f:
        f.write("# Systems whose shift to WGS 84 is not that of their datum as a whole; %s\n# EPSG code|shift, as in datums.csv\n" % made)
        for r in filter(None, pool.map(observe, [(c, 5, 11, True) for c in known], chunksize=8)):
            shift, text = base.get(datum_of.get(r["code"]) or below.get(r["code"]), (None, None))
            if text is None or text == "same" or not np.isfinite(r["bl"]).any():
                continue
            if r["code"] in MISSED:
                f.write("%d|*\n" % r["code"])
                continue
            if isinstance(shift, list) and "@" not in text and worst(shift, r, np.isfinite(r["bl"])) <= LIMIT:
                continue
            own = written(choose(r, [(stated[r["code"]] + [0.0] * 7)[:7]] if r["code"] in stated else []), r)
            if own != text:
                f.write("%d|%s\n" % (r["code"], own))
    conversions = {}
    for c, v in ask("select code, conversion_code from projected_crs where auth_name='EPSG' order by deprecated, code"):
        utm = 16001 <= int(v) <= 16060 or 16101 <= int(v) <= 16160
        if int(c) in known and not utm:
            conversions.setdefault(int(v), int(c))
    with open(OUT / "conversions.csv", "w") as f:
        f.write("# Conversions and a system that uses each; %s\n# EPSG code of the conversion|EPSG code of the system\n" % made)
        f.writelines("%d|%d\n" % pair for pair in sorted(conversions.items()))


if __name__ == "__main__":
    with multiprocessing.Pool() as pool:
        tables(pool, definitions())
    import crs_samples

    crs_samples.write(OUT / "samples.tsv")
