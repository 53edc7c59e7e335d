#!/usr/bin/env python3
"""What `--refine graph --strip 5` adds to the time of `echogrid locate`: both commands in turn, so that a noisy machine troubles both.

    echogrid index --method index --map MAP --out city.db
    python3 benches/refining.py --index city.db --sar SAR
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--index", required=True, help="retrieval database")
    a.add_argument("--sar", required=True, help="SAR image")
    a.add_argument("--pairs", type=int, default=25, help="runs of each, after one to warm up")
    a.add_argument("--echogrid", default="target/release/echogrid", help="the command")
    args = a.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        fixes = os.path.join(folder, "fixes.geojson")
        locate = [args.echogrid, "locate", "--method", "index", "--index", args.index, "--sar", args.sar, "--out", fixes]

        def seconds(*more):
            start = time.perf_counter()
            done = subprocess.run([*locate, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            # 3: the patches agree on no place, which takes as long.
            assert done.returncode in (0, 3), done.returncode
            return time.perf_counter() - start

        refine = ["--refine", "graph", "--strip", "5"]
        print(subprocess.run(locate, capture_output=True, text=True).stderr.splitlines()[0])
        seconds(*refine)
        pairs = [(seconds(), seconds(*refine)) for _ in range(args.pairs)]

    plain, refined = zip(*pairs)
    for name, of in [("medians", statistics.median), ("shortest", min)]:
        print(f"{name}: {of(refined):.2f} s for {of(plain):.2f}, {100 * (of(refined) / of(plain) - 1):.1f} % more")
    print(f"median of the pairs: {100 * (statistics.median(b / a for a, b in pairs) - 1):.1f} % more")


if __name__ == "__main__":
    main()
