#!/usr/bin/env bash
# The GPU measurements, in three stages (docs/measure_speed.md).
#
#   bash benchmarks/gpu.sh wheels       with network access: download what the GPU machine lacks
#   OUT=DIR bash benchmarks/gpu.sh 1    correctness, 4 minutes
#   OUT=DIR bash benchmarks/gpu.sh 2    latencies and training throughput, 6 minutes
#   OUT=DIR bash benchmarks/gpu.sh 3    everything else, 10 minutes
#
# Stages also take --minutes N, --dry-run, --data data/scannet and --points SCAN.npz.
set -euo pipefail
began=$(date +%s.%N)
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} wheels=${WHEELS:-benchmarks/wheels}

if [[ ${1:-} = wheels ]]; then
	platforms=()
	for version in 2_28 2_27 2_26 2_24 2_17; do platforms+=(--platform "manylinux_${version}_x86_64"); done
	exec "$python" -m pip download --quiet --no-deps --only-binary=:all: --implementation cp \
		--python-version 3.12 "${platforms[@]}" --platform manylinux2014_x86_64 \
		--dest "$wheels" --requirement benchmarks/gpu/wheels.txt
fi
if [[ -d $wheels ]]; then
	site=$(mktemp -d)
	trap 'rm -rf "$site"' EXIT
	"$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl
	export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
fi
"$python" -m benchmarks.gpu "$@" --since "$began"
