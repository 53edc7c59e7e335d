#!/bin/sh
# Everything that is to be measured on a GPU, in one run: checks, kernels under the roofline, whole jobs, and the peers where PyTorch with CUDA is installed.
#
#     [MAP=FILE.tif SAR=FILE.tif] benches/gpu.sh [FOLDER]      results go there (benches/results/gpu); the whole map is searched for patches of the SAR image
#     IMAGES=FOLDER TRAIN=TRAIN.json VAL=VAL.json benches/gpu.sh [FOLDER]      also trains both small detectors on images with boxes, and judges them
#
# Needs a driver with Vulkan, and the repository with `cargo build --release --tests` done. ECHOGRID_ADAPTER names the GPU where there are several.
set -eu
cd "$(dirname "$0")/.."
out=${1:-benches/results/gpu}
mkdir -p "$out"
eg=target/release/echogrid

$eg info > "$out/info.txt"
cat "$out/info.txt"
$eg info --self-test
# Which kernels are right, and which of them fast.
$eg tune --out "$out/tuning.json"
$eg tune
if ! cargo test --release --test kernels > "$out/kernels-tests.txt" 2>&1; then
    tail -40 "$out/kernels-tests.txt"
    echo "kernels differ from their twins on this adapter: nothing is measured"
    exit 1
fi
$eg bench --out "$out/kernels.json" --figure "$out/kernels.svg"
for head in yolo3 faster-rcnn; do
    $eg profile --detect $head --steps 3 --json > "$out/profile-$head.json"
done
if [ -n "${IMAGES:-}" ] && [ -n "${TRAIN:-}" ] && [ -n "${VAL:-}" ]; then
    for head in yolo3 faster-rcnn; do
        $eg detect train --head $head --train "$IMAGES" "$TRAIN" --val "$IMAGES" "$VAL" --out "$out/$head.safetensors"
        $eg detect eval --images "$IMAGES" --annotations "$VAL" --model "$out/$head.safetensors" --json > "$out/ships-$head.json"
    done
fi

if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    for peer in products training sinkhorn message_passing boxes; do
        python3 "benches/peers/$peer.py" --device cuda --out "$out/$peer.json" || echo "$peer failed; the others go on"
    done
    if [ -n "${MAP:-}" ] && [ -n "${SAR:-}" ]; then
        python3 benches/peers/dense_search.py --device cuda --map "$MAP" --sar "$SAR" --out "$out/dense-search.json"
    else
        echo "MAP and SAR name no files: the search of a whole map is left out"
    fi
else
    echo "PyTorch with CUDA is not installed: no peers"
fi
echo "results are in $out"
