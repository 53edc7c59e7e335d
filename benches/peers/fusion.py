#!/usr/bin/env python3
"""Weighted boxes fusion: what the `ensemble-boxes` package of the paper's authors makes of random detections, as a fixture.

    python3 benches/peers/fusion.py --write tests/fixtures/detect
    python3 benches/peers/fusion.py --write DIR --seeds 100      many: ECHOGRID_FUSION=DIR cargo test --release --lib detect::fusion

Needs ensemble-boxes. Scores differ, because it sorts equal ones as numpy's quicksort leaves them. It adds up in float32, to which the figures agree.
"""

import argparse
import importlib.metadata
import json
import os

import numpy as np
from ensemble_boxes import weighted_boxes_fusion


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--seeds", type=int, default=3)
    a.add_argument("--write", metavar="DIR", required=True)
    args = a.parse_args()
    for seed in range(1, args.seeds + 1):
        r = np.random.default_rng(seed)
        models = int(r.integers(2, 5))
        weights = [float(w) for w in r.choice([1, 1, 2, 3], size=models)]
        places = r.uniform(0.05, 0.6, size=(6, 2))
        sizes = r.uniform(0.05, 0.35, size=(6, 2))
        labels = r.integers(0, 2, size=6)
        boxes, scores, kinds = [], [], []
        for _ in range(models):
            seen = [i for i in range(6) if r.random() < 0.8 for _ in range(int(r.integers(1, 3)))]
            jitter = lambda i: r.normal(size=2) * 0.15 * sizes[i]
            corners = [np.concatenate([places[i] + jitter(i), places[i] + sizes[i] + jitter(i)]) for i in seen]
            corners = [np.clip(np.concatenate([np.minimum(c[:2], c[2:] - 0.01), c[2:]]), 0, 1).round(4) for c in corners]
            boxes.append([[float(v) for v in c] for c in corners])
            scores.append([float(s) for s in r.random(len(seen)).round(6)])
            kinds.append([int(labels[i]) for i in seen])
        case = {"weights": weights, "iou": float(r.choice([0.4, 0.55, 0.7])), "skip": float(r.choice([0, 0.1])), "boxes": boxes, "scores": scores, "labels": kinds}
        fused = weighted_boxes_fusion(boxes, scores, kinds, weights=weights, iou_thr=case["iou"], skip_box_thr=case["skip"])
        case["fused"] = [{"box": [float(v) for v in b], "score": float(s), "label": int(l)} for b, s, l in zip(*fused)]
        case["ensemble-boxes"] = importlib.metadata.version("ensemble-boxes")
        os.makedirs(args.write, exist_ok=True)
        with open(os.path.join(args.write, f"fusion_{seed}.json"), "w", encoding="utf-8") as f:
            json.dump(case, f, separators=(",", ":"))
            f.write("\n")


if __name__ == "__main__":
    main()
