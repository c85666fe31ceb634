"""Preparing SUN RGB-D at its full size, from stand-in frames: seconds, memory, size.

    python -m benchmarks.prepare_sunrgbd --official OFFICIAL_SUNRGBD --out FILE [--frames N]

OFFICIAL_SUNRGBD holds a few real frames. Every frame of the stand-in is a link to a real one, and
its Matlab files have the full number of entries. The measured command is `sr3d prepare sunrgbd`.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.io

from sr3d.data.readers.sunrgbd import LABEL_FILES, SPLIT_FILE
from sr3d.runs.files import write_json
from sr3d.runs.machine import machine_facts, versions

TEST = 5050  # the rest is the training set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--official", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=10_335)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        raw, prepared = Path(folder) / "raw", Path(folder) / "prepared"
        stand_in(args.official.resolve(), raw, args.frames)
        command = [sys.executable, "-m", "sr3d", "prepare", "sunrgbd", "--keep-going"]
        options = ["--raw", str(raw), "--out", str(prepared), "--workers", str(args.workers)]
        started = time.perf_counter()
        subprocess.run([*command, *options], check=True)
        seconds = time.perf_counter() - started
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
        size = sum(path.stat().st_size for path in prepared.rglob("*.npy")) / 2**30
    result = {
        "benchmark": "prepare_sunrgbd",
        "frames": args.frames,
        "workers": args.workers,
        "minutes": round(seconds / 60, 2),
        "milliseconds_a_frame": round(1000 * seconds / args.frames, 1),
        "peak_memory_mb": round(memory),
        "prepared_gib": round(size, 2),
    }
    print(result)
    write_json(args.out, {**result, "machine": machine_facts(), "versions": versions()})


def stand_in(official: Path, raw: Path, frames: int) -> None:
    """An official folder with this number of frames."""
    rows = scipy.io.loadmat(official / LABEL_FILES["v2"])["SUNRGBDMeta"]
    many = np.empty((1, frames), dtype=rows.dtype)
    folders = [f"SUNRGBD/stand_in/frame_{i:06d}" for i in range(frames)]
    for i, folder in enumerate(folders):
        real = rows[0, i % rows.shape[1]].copy()
        source = str(real["depthpath"][0])
        source = source[source.index("SUNRGBD/") :].rpartition("/depth/")[0]
        (raw / folder).parent.mkdir(parents=True, exist_ok=True)
        (raw / folder).symlink_to(official / source, target_is_directory=True)
        for name in ("depthpath", "rgbpath"):
            tail = str(real[name][0])[str(real[name][0]).index(source) + len(source) :]
            real[name] = np.array([f"/n/{folder}{tail}"])
        many[0, i] = real
    (raw / SPLIT_FILE).parent.mkdir(parents=True)
    scipy.io.savemat(raw / LABEL_FILES["v2"], {"SUNRGBDMeta": many}, do_compression=True)
    test = min(TEST, frames // 2)
    lists = {"alltest": folders[:test], "alltrain": folders[test:]}
    cells = {
        name: np.array([f"/n/{f}" for f in some], dtype=object) for name, some in lists.items()
    }
    scipy.io.savemat(raw / SPLIT_FILE, cells)


if __name__ == "__main__":
    main()
