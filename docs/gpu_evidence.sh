#!/usr/bin/env bash
# What one GPU shows in nine minutes: WRN-16-4 on all of CIFAR-10, one mutual network against the
# full network and two sub-networks trained alone; then the figures of the GPU benchmark.
#
#   bash docs/gpu_evidence.sh path/to/cifar10 [output] [KEY VALUE ...]
#
# The folder is that of configs/CIFAR/WRN_16_4_small_mutual.yaml with all 50,000 pictures in train/.
# Further KEY VALUE pairs hold for all trainings: "SOLVER.MAX_EPOCH 1" and a folder of few pictures
# rehearse it on a CPU. It prints the table, the json_compare lines and the benchmark's last line.
set -euo pipefail
data=$(realpath "$1")
output=$(realpath -m "${2:-output/gpu_evidence}")
shift $(($# > 2 ? 2 : $#))
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v nvidia-smi > /dev/null && nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
# All four side by side: none of them fills a GPU.
python tools/compare.py docs/results/cifar_gpu/plan.yaml --runs "$output/runs" --output "$output" \
  --jobs 4 DATA.PATH_TO_DATA_DIR "$data" "$@"
python tools/benchmark.py gpu | tee "$output/benchmark.txt" | tail -n 1
