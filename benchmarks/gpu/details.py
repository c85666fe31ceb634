"""Stage 3: everything else. The comparison with other engines comes first."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import nms, point_detectors, points, submanifold, training_step
from benchmarks.gpu.correctness import Tests
from benchmarks.gpu.plan import Plan
from benchmarks.gpu.runner import Row, Step
from benchmarks.timing import milliseconds
from sr3d.cli import main as sr3d_command


def layers(plan: Plan) -> Iterator[Row]:
    """One sub-manifold layer of each level against spconv-triton, and spconv if installed."""
    dtypes, config = ("fp32",) if plan.dry else submanifold.DTYPES, plan.sr3d().config.model
    yield from submanifold.measured(plan.points(), config, plan.device, dtypes, plan.repeats)


@dataclass(frozen=True)
class Script:
    """A step that runs a benchmark script. dry: more arguments in a dry run."""

    main: Callable[[], None]
    words: tuple[str, ...] = ()
    dry: tuple[str, ...] = ()

    def __call__(self, plan: Plan) -> Iterator[Row]:
        with TemporaryDirectory() as folder:
            out = Path(folder) / "out.json"
            more = (*self.words, *(self.dry if plan.dry else ()))
            sys.argv = [self.main.__module__, "--device", plan.device, *more, "--out", str(out)]
            self.main()
            yield json.loads(out.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Command:
    """A step that runs `sr3d benchmark`. dry: its words in a dry run, if they differ."""

    words: tuple[str, ...]
    dry: tuple[str, ...] | None = None

    def arguments(self, plan: Plan) -> list[str]:
        where = ("--data", str(plan.data)) if plan.data else ("--dataset", plan.dataset)
        sizes = ("--scenes", str(plan.scenes), "--repeats", str(min(plan.repeats, 5)))
        words = self.dry if plan.dry and self.dry is not None else self.words
        return ["benchmark", "--device", plan.device, *where, *sizes, *words]

    def __call__(self, plan: Plan) -> Iterator[Row]:
        with TemporaryDirectory() as folder:
            out = Path(folder) / "out.json"
            if code := sr3d_command([*self.arguments(plan), "--json", str(out)]):
                raise RuntimeError(f"sr3d benchmark ended with exit code {code}")
            yield json.loads(out.read_text(encoding="utf-8"))


def tuning(plan: Plan) -> Iterator[Row]:
    """The fastest configuration of the kernels for each layer."""
    from sr3d.sparse.triton import tune  # imports Triton, which the parent process must not

    device = torch.device(plan.device)
    if plan.dry:
        cases = tune.room_cases(device, [torch.float32], size=12)[:1]
        clock = partial(milliseconds, device=device)
    else:
        cases = tune.room_cases(device, [torch.bfloat16, torch.float32])
        clock = tune.gpu_milliseconds
    with TemporaryDirectory() as folder:
        for entry, best in tune.tune(cases, Path(folder) / "tuned.json", clock):
            yield {**asdict(entry.layer), **asdict(entry.config), "milliseconds": best}


_UNITS = ("sparse", "points", "detectors", "geometry", "matching", "losses")
_GROWTH = ("--points", "1e4", "1e5", "1e6", "1e7")
_BOXES = ("--nms-pre", "300", "1000", "3000", "10000")
_QUICK = ("--rounds", "1")

STEPS = (
    Step("layers", layers, limit=150),
    Step("compiled_bf16", Command(("--compile", "bf16")), limit=45),
    Step("compiled_fp32", Command(("--compile", "fp32")), limit=45),
    Step(
        "compiled_fcaf3d",
        # A CPU's dense product in fp16, the roofline, takes long.
        Command(
            ("--setting", "fcaf3d", "--compile", "fp16"),
            dry=("--setting", "fcaf3d", "--compile", "fp32"),
        ),
        limit=45,
    ),
    Step("torch_engine", Command(("--set", "model.engine=torch")), limit=45),
    Step("boxes", Command(_BOXES, dry=("--nms-pre", "30")), limit=75),
    Step("growth", Command(_GROWTH, dry=("--points", "2000")), limit=120),
    Step("points", Script(points.main, dry=_QUICK), limit=45),
    Step(
        "point_detectors",
        Script(point_detectors.main, ("--rounds", "3"), (*_QUICK, "--detectors", "votenet")),
        limit=90,
    ),
    Step("nms", Script(nms.main, dry=_QUICK), limit=45),
    Step(
        "training_step", Script(training_step.main, ("--precision", "bf16"), dry=_QUICK), limit=60
    ),
    Step(
        "tests",
        Tests(tuple(f"tests/{name}" for name in _UNITS), dry=("tests/losses", "--collect-only")),
        limit=240,
    ),
    Step("tuning", tuning, limit=600),
)
