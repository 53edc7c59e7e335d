#!/usr/bin/env python3
"""Optimal transport: echogrid beside POT and GeomLoss, on the same arrays, the same cores, in the same run.

    python3 benches/peers/sinkhorn.py [--sizes 256 1024 4096] [--dimensions 64] [--share 0.05] [--device cpu] [--out FILE.json]

Needs a release build of echogrid, and PyTorch with POT (`pot`) and GeomLoss (`geomloss`), either of which may be missing. All solve
the entropic problem for the squared distance with the same eps, a share of the mean cost, and the debiased divergence of it:
echogrid      `echogrid transport`: three problems, marginal error (L1) 1e-4; its own seconds, device and files opened before
pot           three calls of ot.sinkhorn(method="sinkhorn_log") in float32 with stopThr 1e-4 (an L2 error of one marginal, looked at every
              ten iterations); the cost matrices are timed with it
geomloss      SamplesLoss("sinkhorn", p=2, blur=sqrt(eps / 2), scaling=0.5, debias=True, backend="tensorized"): its cost is |x - y|^2 / 2; a fixed
              number of iterations from the diameter down to blur, WITHOUT a test of convergence
Values differ by what each leaves unconverged; `exact` is the divergence by POT in float64 with stopThr 1e-9, for sizes up to --exact.
"""

import json
import math
import os
import subprocess
import tempfile

import numpy as np
import torch

from common import median_time, parser, report, start

try:
    import ot
except ImportError:
    ot = None
try:
    from geomloss import SamplesLoss
except ImportError:
    SamplesLoss = None


def pot_divergence(x, y, eps, stop):
    def value(x, y):
        c = ot.dist(x, y)
        a = torch.full((len(x),), 1 / len(x), dtype=x.dtype, device=x.device)
        b = torch.full((len(y),), 1 / len(y), dtype=x.dtype, device=x.device)
        plan, log = ot.bregman.sinkhorn_log(a, b, c, eps, numItermax=20000, stopThr=stop, log=True, warn=False)
        return (plan * c).sum() + eps * (plan * (torch.log(plan.clamp_min(1e-38)) - torch.log(a)[:, None] - torch.log(b)[None])).sum(), log

    (ab, log), (aa, _), (bb, _) = value(x, y), value(x, x), value(y, y)
    return float(ab - 0.5 * (aa + bb)), int(log["niter"])


def main():
    a = parser(__doc__, repeats=3)
    a.add_argument("--sizes", type=int, nargs="+", default=[256, 1024, 4096])
    a.add_argument("--dimensions", type=int, default=64)
    a.add_argument("--share", type=float, default=0.05, help="eps as a share of the mean cost")
    a.add_argument("--exact", type=int, default=1024)
    args = a.parse_args()
    result = start(args)
    cases = []
    for n in args.sizes:
        r = np.random.default_rng(n)
        # Features as a network makes them: few directions carry most.
        scale = (1.0 / np.arange(1, args.dimensions + 1)) ** 0.5
        x = (r.normal(size=(n, args.dimensions)) * scale).astype(np.float32)
        y = (1.2 * r.normal(size=(n, args.dimensions)) * scale + 0.3 * scale).astype(np.float32)
        mean = float(((x - x.mean(0)) ** 2).sum(1).mean() + ((y - y.mean(0)) ** 2).sum(1).mean() + ((x.mean(0) - y.mean(0)) ** 2).sum())
        eps = args.share * mean
        case = {"points": n, "dimensions": args.dimensions, "eps": eps, "mean_cost": mean}
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ("a.npy", "b.npy")]
            np.save(paths[0], x)
            np.save(paths[1], y)
            command = [args.echogrid, "--quiet", "transport", *paths, "--eps", repr(eps), "--json"]
            runs = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(args.repeats)]
        runs.sort(key=lambda run: run["seconds"])
        case["echogrid"] = runs[len(runs) // 2]
        tx, ty = (torch.tensor(v, device=args.device) for v in (x, y))
        with torch.no_grad():
            if ot is not None:
                seconds, (value, iterations) = median_time(lambda: pot_divergence(tx, ty, eps, 1e-4), args)
                case["pot"] = {"divergence": value, "iterations": iterations, "seconds": seconds}
                case["share_of_pot"] = case["echogrid"]["seconds"] / seconds
                if n <= args.exact:
                    case["exact"] = pot_divergence(tx.double(), ty.double(), eps, 1e-9)[0]
            if SamplesLoss is not None:
                loss = SamplesLoss("sinkhorn", p=2, blur=math.sqrt(eps / 2), scaling=0.5, debias=True, backend="tensorized")
                seconds, value = median_time(lambda: 2 * float(loss(tx, ty)), args)
                case["geomloss"] = {"divergence": value, "seconds": seconds}
                case["share_of_geomloss"] = case["echogrid"]["seconds"] / seconds
        cases.append(case)
        print(json.dumps(case), flush=True)
    result |= {"pot": getattr(ot, "__version__", None), "adapter": cases[0]["echogrid"]["adapter"], "cases": cases}
    report(result, args)


if __name__ == "__main__":
    main()
