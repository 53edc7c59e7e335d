#!/usr/bin/env python3
"""A whole-map query: echogrid beside the straightforward FFT correlation in PyTorch, on the same cores in the same run.

    python3 benches/peers/dense_search.py --map MAP.tif --sar SAR.tif [--features structure] [--channels 8] [--out FILE.json]

Needs PyTorch and a release build of echogrid. PyTorch correlates random features of the map's size: its time does not depend on
what they hold. Three ways: `straightforward` transforms map and patch anew for each query, padded to the next fast length;
`kept` keeps the map's spectra, which takes 8 bytes a complex value and channel; `kept_batch` searches several patches in one call.
On a machine with CUDA the same is measured there (`--device cuda`), which is cuFFT.
The share of the memory limit is that of the bytes which echogrid's kernels read and write at least, each element of a tensor once, over what
a copy on the same device moves in that time (`echogrid bench`); above 1 where a cache holds what one kernel hands to the next.
"""

import json
import subprocess

import torch

from common import echogrid_bench, median_time, parser, report, start


def fast(n):
    """The next product of 2, 3, 5 and 7, even."""
    while True:
        m = n
        for p in (2, 3, 5, 7):
            while m % p == 0:
                m //= p
        if m == 1 and n % 2 == 0:
            return n
        n += 1


def main():
    a = parser(__doc__, repeats=3)
    a.add_argument("--map", required=True)
    a.add_argument("--sar", required=True)
    a.add_argument("--features", default="structure")
    a.add_argument("--channels", type=int, default=8, help="channels of those features")
    a.add_argument("--patch", type=int, default=200, help="map pixels")
    a.add_argument("--queries", type=int, default=20)
    a.add_argument("--batch", type=int, default=4)
    args = a.parse_args()

    def ours(at_once):
        command = [args.echogrid, "--quiet", "eval", "--protocol", "dense", "--features", args.features, "--map", args.map, "--sar", args.sar,
                   "--patch", str(args.patch), "--queries", str(args.queries), "--at-once", str(at_once), "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    # The limit is measured whatever the family.
    limit = echogrid_bench(args, "peaks")["roofline"]["gbytes"]
    single = ours(1)
    batch = ours(args.batch)

    result = start(args)
    step = single["map"]["map_pixels_a_feature_pixel"]
    width, height = single["map"]["width"], single["map"]["height"]
    h, w, p = round(height / step), round(width / step), round(args.patch / step)
    size = (fast(h + p), fast(w + p))
    features = torch.randn(args.channels, h, w, device=args.device)
    patch = torch.randn(args.batch, args.channels, p, p, device=args.device)

    def correlate(spectra, queries):
        q = torch.fft.rfft2(queries, s=size)
        return torch.fft.irfft2((spectra * q.conj()).sum(-3), s=size)[..., :h, :w].amax((-2, -1))

    with torch.no_grad():
        straightforward = median_time(lambda: correlate(torch.fft.rfft2(features, s=size), patch[0]), args)[0]
        spectra = torch.fft.rfft2(features, s=size)
        kept = median_time(lambda: correlate(spectra, patch[0]), args)[0]
        kept_batch = median_time(lambda: [correlate(spectra, q) for q in patch], args)[0] / args.batch

    result |= {
        "map": [width, height], "feature_pixels": [h, w], "patch": p, "channels": args.channels, "adapter": single["adapter"],
        "echogrid_s": single["seconds_a_query"], "echogrid_batch_s": batch["seconds_a_query"], "blocks": single["map"]["blocks"], "blocks_without_gaps": single["map"]["blocks_without_gaps"],
        "torch_straightforward_s": straightforward, "torch_kept_s": kept, "torch_kept_batch_s": kept_batch,
        "gbytes_a_query": single["bytes_a_query"] / 1e9, "memory_gbytes_a_second": limit,
        "share_of_memory_limit": single["bytes_a_query"] / 1e9 / limit / single["seconds_a_query"],
        "share_of_straightforward": single["seconds_a_query"] / straightforward,
        "share_of_kept": single["seconds_a_query"] / kept,
        # As if the map had no gaps, which echogrid leaves out and the others correlate all the same.
        "share_of_straightforward_without_gaps":
            single["seconds_a_query"] * single["map"]["blocks_without_gaps"] / single["map"]["blocks"] / straightforward,
    }
    report(result, args)


if __name__ == "__main__":
    main()
