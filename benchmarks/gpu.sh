#!/usr/bin/env bash
# Everything that docs/speed.md wants from a GPU, in one go: the tests of what runs there, a measured
# table of configurations, then latency, training, growth and the comparisons.
#
#   bash benchmarks/gpu.sh OUT [--points SCAN.npz] [--data data/scannet]
#
# OUT gets a JSON file each, with machine and versions. About half an hour on one H100; a step that
# fails is told at the end, and the others go on.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?"usage: benchmarks/gpu.sh OUT [--points SCAN.npz] [--data data/scannet]"}
shift
points=() source=()
while (($#)); do
	case $1 in
	--points) points=(--points "$2") ;;
	--data) source=(--data "$2") ;;
	*)
		echo "unknown option $1" >&2
		exit 2
		;;
	esac
	shift 2
done
mkdir -p "$out"
failed=()

step() { # NAME COMMAND…: its output goes to OUT/NAME.log
	echo "== $1"
	"${@:2}" 2>&1 | tee "$out/$1.log" || failed+=("$1")
}

bench=(sr3d benchmark --device cuda "${source[@]}")
step tests python -m pytest -q tests/sparse tests/models tests/geometry tests/assigners tests/losses
step tune python -m sr3d.sparse.triton.tune
step eager "${bench[@]}" --json "$out/eager.json"
for dtype in fp32 fp16 bf16; do
	step "compiled_$dtype" "${bench[@]}" --compile $dtype --json "$out/compiled_$dtype.json"
done
step eager_fcaf3d "${bench[@]}" --setting fcaf3d --json "$out/eager_fcaf3d.json"
step compiled_fcaf3d "${bench[@]}" --setting fcaf3d --compile fp16 --json "$out/compiled_fcaf3d.json"
for precision in fp32 bf16; do
	step "train_$precision" "${bench[@]}" --train --batch 16 --set train.precision=$precision \
		--json "$out/train_$precision.json"
done
step growth "${bench[@]}" --points 1e4 1e5 1e6 1e7 --json "$out/growth.json"
step boxes "${bench[@]}" --boxes 300 1000 3000 10000 --json "$out/boxes.json"
step naive python -m benchmarks.against_naive --run tr3d "${points[@]}" --out "$out/naive.json"
step submanifold python -m benchmarks.submanifold "${points[@]}" --out "$out/submanifold.json"
step nms python -m benchmarks.nms --device cuda --out "$out/nms.json"
if ((${#points[@]})); then
	step training_step python -m benchmarks.training_step "${points[@]}" --device cuda \
		--precision bf16 --out "$out/training_step.json"
fi

if ((${#failed[@]})); then
	echo "failed: ${failed[*]} (logs in $out)" >&2
	exit 1
fi
echo "all of it is in $out"
