"""One tower for both uses: how well pooled dense features retrieve, beside the grid encoder's vectors.

Patches of --side map pixels anywhere in a scene against its map, both through one model of `echogrid train --dense`, each pooled to CELLS x CELLS squares of its channels, less their mean over the squares, of unit
length. The map is encoded once; views every --every feature pixels share it. A cell of the grid counts by its best view, and is right where its centre lies within half a cell of the patch's in both axes, as in
`echogrid eval --protocol arbitrary`, which says the same of the grid encoder (49 encodings a cell).

    python3 studies/pooled.py MODEL --scene MAP SAR [--side 200] [--every 7,14] [--queries 500] [--strip 5]

Needs PyTorch, safetensors, rasterio and numpy.
"""

import argparse
import json
import math
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "benches/peers"))
from dense_training import Network, Scene, map_input, sar_input, standardised  # noqa: E402
from networks import start_from  # noqa: E402

TILE, REACH, VALID = 256, 64, 0.75


def inputs(image, centre, step, side, make):
    """A square of feature pixels as a tower takes it, and the share of it that has data."""
    v, share = image.cut(np.array(centre), np.eye(2) * step, side, math.ceil(0.95 * step - 1e-6))
    return torch.from_numpy(make(v, share).astype(np.float32)).permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last), share


def encode(tower, x, bf16):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return tower(x)[0].float()


def unit(squares):
    """Squares [N, C, k, k] as vectors, less each channel's mean."""
    return F.normalize((squares - squares.mean((2, 3), keepdim=True)).flatten(1), dim=1)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("model")
    a.add_argument("--scene", nargs=2, required=True, metavar=("MAP", "SAR"))
    a.add_argument("--side", type=int, default=200, help="of patches and cells, map pixels")
    a.add_argument("--every", default="14,7", help="feature pixels between views")
    a.add_argument("--cells", type=int, default=8, help="squares along a side")
    a.add_argument("--queries", type=int, default=500)
    a.add_argument("--strip", type=int, default=0, help="patches side by side that are asked together")
    a.add_argument("--seed", type=int, default=7)
    a.add_argument("--threads", type=int, default=2)
    a.add_argument("--bf16", action="store_true")
    args = a.parse_args()
    torch.set_num_threads(args.threads)
    with safe_open(args.model, framework="pt") as f:
        manifest = json.loads(f.metadata()["echogrid"])
    net = Network(manifest["training"])
    start_from(net, args.model, but=("loss.log_scale",))
    net = net.eval().to(memory_format=torch.channels_last)
    scene = Scene(args.scene, standardised(args.scene, manifest["scenes"][0]), manifest["pixel_m"])
    step, (h, w) = scene.pixel_scale, scene.map.valid.shape
    rows, columns = int(h / step), int(w / step)
    features, valid = torch.zeros(manifest["encoder"]["channels"], rows, columns), np.zeros((rows, columns), np.float32)
    for y in range(0, rows, TILE):
        for x in range(0, columns, TILE):
            side = TILE + 2 * REACH
            tile, share = inputs(scene.map, ((x + TILE / 2) * step, (y + TILE / 2) * step), step, side, map_input)
            k, m = min(TILE, rows - y), min(TILE, columns - x)
            if share.max() > 0:
                features[:, y : y + k, x : x + m] = encode(net["map"], tile, args.bf16)[:, REACH : REACH + k, REACH : REACH + m]
                valid[y : y + k, x : x + m] = share[REACH : REACH + k, REACH : REACH + m]
    size = int(args.side / step) // args.cells
    side = size * args.cells
    rng, places = np.random.default_rng(args.seed), []
    length = max(args.strip, 1)
    while len(places) < args.queries // length:
        at = rng.random(2) * (w, h)
        strip = [at + (i * args.side, 0) for i in range(length)]
        if all(p[0] + args.side / 2 <= w and scene.map.share(p, args.side) >= VALID and scene.sar.share(p, args.side) >= 0.99 for p in strip):
            places.append(strip)
    flat = np.array([p for strip in places for p in strip])
    asked = torch.cat([unit(F.avg_pool2d(encode(net["sar"], inputs(scene.sar, p, step, side, lambda v, share: sar_input(v[..., 0], share))[0], args.bf16)[None], size)) for p in flat])
    squares = F.avg_pool2d(features[None], size, 1)[0]
    has = F.avg_pool2d(torch.from_numpy(valid)[None, None], side, 1)[0, 0]
    for every in map(int, args.every.split(",")):
        ys, xs = np.meshgrid(np.arange(0, rows - side + 1, every), np.arange(0, columns - side + 1, every), indexing="ij")
        ys, xs = (v.ravel()[has[ys, xs].ravel().numpy() >= VALID] for v in (ys, xs))
        grid = [torch.stack([squares[:, ys + size * i, xs + size * j] for j in range(args.cells)], -1) for i in range(args.cells)]
        views = unit(torch.stack(grid, -2).permute(1, 0, 2, 3))
        centres = np.stack([xs, ys], 1) * step + side * step / 2
        cell = (centres // args.side).astype(int)
        names, of = np.unique(cell[:, 1] * 10000 + cell[:, 0], return_inverse=True)
        middle = np.stack([names % 10000, names // 10000], 1) * args.side + args.side / 2
        scores = torch.full((len(flat), len(names)), -2.0).scatter_reduce(1, torch.from_numpy(of)[None].expand(len(flat), -1), asked @ views.T, "amax").numpy()
        near = (np.abs(middle[None] - flat[:, None]) <= args.side / 2).all(2)
        if args.strip:
            # A strip's patches share their shift: each cell's score is the sum over the cells in step with it.
            at = {n: i for i, n in enumerate(names)}
            step_of = np.array([[at.get(n + i, -1) for n in names] for i in range(-length + 1, length)])
            for s in range(0, len(flat), length):
                own = scores[s : s + length].copy()
                for q in range(length):
                    along = [step_of[length - 1 + i - q] for i in range(length)]
                    scores[s + q] = sum(np.where(k >= 0, own[i][k], 0.0) for i, k in enumerate(along))
        rank = np.array([1 + (scores[i] > scores[i][near[i]].max()).sum() if near[i].any() else len(names) for i in range(len(flat))])
        print(f"{len(flat)} patches of {args.side} px{f' in strips of {length}' if args.strip else ''}, {len(names)} cells, views {every} feature pixels apart: R@1 {100 * np.mean(rank <= 1):.1f}, R@10 {100 * np.mean(rank <= 10):.1f} %", flush=True)


if __name__ == "__main__":
    main()
