#!/usr/bin/env python3
"""Average precision: echogrid beside pycocotools, on random annotations and detections.

    python3 benches/peers/coco_ap.py --write tests/fixtures/detect            the fixtures that a test of echogrid reads
    python3 benches/peers/coco_ap.py --write DIR --seeds 200                  many of them: ECHOGRID_COCO_AP=DIR cargo test --release --lib detect::ap

Needs pycocotools 2.0.11. A seed makes a data set with several categories and sizes, crowds, images without boxes, without detections or without either, boxes found
twice, equal scores and coordinates that are rounded, so that overlaps meet thresholds exactly; one in four has more detections in an image than count. A fixture is
the annotations, the detections and pycocotools' twelve figures.
"""

import argparse
import contextlib
import importlib.metadata
import io
import json
import os

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# Seeds of the fixtures, so that all is met and they stay small.
FIXTURES = (1, 2, 3, 4)


def random_case(seed):
    """Annotations and detections of a seed, as COCO has them."""
    r = np.random.default_rng(seed)
    decimals = int(r.integers(0, 3))
    sides = [(int(w), int(h)) for w, h in r.integers(150, 400, size=(int(r.integers(5, 9)), 2))]
    ids = [int(i) for i in r.permutation(50)[: len(sides)]]
    categories = [{"id": int(i), "name": f"kind {i}"} for i in r.permutation(9)[: int(r.integers(1, 4))]]
    images, annotations, found = [], [], []
    crowded = seed % 4 == 0

    def inside(box, width, height):
        """A box with its corners in the image, rounded; none where it has no area."""
        x0, x1 = np.clip([box[0], box[0] + box[2]], 0, width)
        y0, y1 = np.clip([box[1], box[1] + box[3]], 0, height)
        x, y = round(float(x0), decimals), round(float(y0), decimals)
        w, h = round(float(min(x1, width) - x), decimals), round(float(min(y1, height) - y), decimals)
        return [x, y, w, h] if w > 0 and h > 0 and x + w <= width and y + h <= height else None

    def random_box(width, height):
        side = 10 ** r.uniform(0.7, 2.2)
        w, h = side * r.uniform(0.5, 2, size=2)
        return inside([r.uniform(-5, width), r.uniform(-5, height), w, h], width, height)

    for number, (id, (width, height)) in enumerate(zip(ids, sides)):
        images.append({"id": id, "file_name": f"{id}.png", "width": width, "height": height})
        many = crowded and number == 0
        bare, missed = r.random() < 0.2 and not many, r.random() < 0.15 and not many
        for _ in range(0 if bare else int(r.integers(2, 10))):
            box = random_box(width, height)
            if box is None:
                continue
            category = int(r.choice([c["id"] for c in categories]))
            area = round(box[2] * box[3] * float(r.choice([1, r.uniform(0.4, 1)])), 3)
            crowd = int(r.random() < 0.15)
            annotations.append({"id": len(annotations) + 1, "image_id": id, "category_id": category, "bbox": box, "area": max(area, 0.001), "iscrowd": crowd})
            for _ in range(0 if missed else int(r.integers(0, 4 + 3 * crowd))):
                moved = np.array(box) + r.normal(size=4) * r.choice([0, 0.05, 0.15]) * np.array([box[2], box[3], box[2], box[3]])
                other = int(r.choice([c["id"] for c in categories])) if r.random() < 0.1 else category
                found.append((id, other, inside(moved, width, height)))
        for _ in range(0 if missed else 110 if many else int(r.integers(0, 6))):
            found.append((id, int(r.choice([c["id"] for c in categories[:1]])), random_box(width, height)))
    ties = int(r.integers(1, 4))
    found = [found[i] for i in r.permutation(len(found)) if found[i][2] is not None]
    found = [{"image_id": i, "category_id": c, "bbox": b, "score": round(float(r.random()), ties)} for i, c, b in found]
    return {"images": images, "annotations": annotations, "categories": categories}, found


def judged(truth, found):
    """pycocotools' twelve figures."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(v) for v in evaluation.stats]


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--seeds", type=int, metavar="N", help="seeds 1 to N; those of the fixtures otherwise")
    a.add_argument("--write", metavar="DIR", required=True, help="write a fixture a seed")
    args = a.parse_args()
    version, cases = importlib.metadata.version("pycocotools"), 0
    os.makedirs(args.write, exist_ok=True)
    for seed in range(1, args.seeds + 1) if args.seeds else FIXTURES:
        truth, found = random_case(seed)
        if not found:
            continue
        figures = judged(json.loads(json.dumps(truth)), json.loads(json.dumps(found)))
        cases += 1
        with open(os.path.join(args.write, f"coco_ap_{seed}.json"), "w", encoding="utf-8") as f:
            json.dump({"pycocotools": version, "truth": truth, "found": found, "figures": figures}, f, separators=(",", ":"))
            f.write("\n")
    print(json.dumps({"pycocotools": version, "cases": cases}))


if __name__ == "__main__":
    main()
