#!/usr/bin/env bash
# The GPU measurements for docs/speed.md, in order of value, within a given number of minutes.
#
#   bash benchmarks/gpu.sh OUT [--minutes 14] [--points SCAN.npz] [--data data/scannet]
#
# Correctness comes first (doctor, tests), then the most important figures, then details, then tuning.
# Each step has a time limit, and starts only if the remaining time is long enough. OUT gets a JSON
# file and a log when each step ends, and steps.txt: name, outcome, seconds. By our estimate, an
# H100-class GPU needs about 14 minutes for the steps up to `eager_3detr_m`.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?"usage: benchmarks/gpu.sh OUT [--minutes N] [--points SCAN.npz] [--data data/scannet]"}
shift
points=() source=() minutes=14
while (($#)); do
	case $1 in
	--minutes) minutes=$2 ;;
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
: >"$out/steps.txt"
failed=()

step() { # LIMIT NAME COMMAND…: its output goes to OUT/NAME.log. LIMIT: seconds, at most
	local limit=$1 name=$2 left=$((minutes * 60 - SECONDS)) began=$SECONDS outcome
	if ((left < limit)); then
		outcome="left out, $left of $limit seconds are left"
	else
		echo "== $name"
		timeout --kill-after=5 "$limit" "${@:3}" 2>&1 | tee "$out/$name.log"
		case ${PIPESTATUS[0]} in
		0) outcome=done ;;
		124 | 137) outcome="stopped after $limit seconds" ;;
		*) outcome=failed ;;
		esac
	fi
	[[ $outcome = done ]] || failed+=("$name: $outcome")
	printf '%-18s %4d s  %s\n' "$name" $((SECONDS - began)) "$outcome" | tee -a "$out/steps.txt"
}

bench=(python -m sr3d benchmark --device cuda "${source[@]}")
kernels=(tests/sparse/test_triton_{convolution,fused,pooling,tables}.py)

# Right?
step 60 doctor python -m sr3d doctor
step 120 kernels python -m pytest -q -p no:cacheprovider "${kernels[@]}"
step 60 point_kernels python -m pytest -q -p no:cacheprovider tests/points/test_brute_force.py
step 90 graph python -m pytest -q -p no:cacheprovider tests/detectors/test_compiled.py
step 90 bits python -m pytest -q -p no:cacheprovider tests/test_training_speed.py -k on_a_gpu

# How fast? The paper's figure, the runner, a training step.
step 90 eager "${bench[@]}" --json "$out/eager.json"
step 90 compiled_fp16 "${bench[@]}" --compile fp16 --json "$out/compiled_fp16.json"
step 120 train_bf16 "${bench[@]}" --train --batch 16 --set train.precision=bf16 --repeats 5 \
	--json "$out/train_bf16.json"
step 90 naive python -m benchmarks.against_naive --run tr3d "${points[@]}" --out "$out/naive.json"
step 90 submanifold python -m benchmarks.submanifold "${points[@]}" --out "$out/submanifold.json"
step 90 train_fp32 "${bench[@]}" --train --batch 16 --repeats 5 --json "$out/train_fp32.json"

# Latencies of the other detectors of Table 1.
for setting in fcaf3d votenet mlcvnet brnet rbgnet groupfree dest 3detr_m gsdn vdetr spgroup3d cagroup3d; do
	step 60 "eager_$setting" "${bench[@]}" --setting $setting --json "$out/eager_$setting.json"
done

# Details.
for dtype in fp32 bf16; do
	step 60 "compiled_$dtype" "${bench[@]}" --compile $dtype --json "$out/compiled_$dtype.json"
done
step 60 eager_torch "${bench[@]}" --set model.engine=torch --repeats 5 --json "$out/eager_torch.json"
step 60 compiled_fcaf3d "${bench[@]}" --setting fcaf3d --compile fp16 \
	--json "$out/compiled_fcaf3d.json"
step 60 boxes "${bench[@]}" --nms-pre 300 1000 3000 10000 --repeats 5 --json "$out/boxes.json"
step 150 growth "${bench[@]}" --points 1e4 1e5 1e6 1e7 --repeats 3 --json "$out/growth.json"
step 60 points python -m benchmarks.points --device cuda "${points[@]}" --out "$out/points.json"
step 90 point_detectors python -m benchmarks.point_detectors --device cuda --rounds 3 \
	--out "$out/point_detectors.json"
step 60 nms python -m benchmarks.nms --device cuda --out "$out/nms.json"
if ((${#points[@]})); then
	step 60 training_step python -m benchmarks.training_step "${points[@]}" --device cuda \
		--precision bf16 --out "$out/training_step.json"
fi
step 600 tests python -m pytest -q tests/sparse tests/detectors tests/geometry tests/matching tests/losses
step 600 tune python -m sr3d.sparse.triton.tune --out "$out/tuned.json"

if ((${#failed[@]})); then
	printf '%s\n' "not done:" "${failed[@]}" >&2
	exit 1
fi
echo "all of it is in $out"
