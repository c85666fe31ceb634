"""The verbs `train` and `test`."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from traceback import format_exception
from typing import TYPE_CHECKING, NamedTuple

from sr3d.cli.arguments import (
    EVALUATION,
    EVALUATIONS,
    SEED,
    THREADS,
    TRAINING,
    WORKERS,
    Verbs,
    add_device,
    add_overrides,
    add_setting,
    overrides_of,
    warn_without_effect,
)
from sr3d.cli.inputs import check_dataset, check_output_folder, check_prepared, check_run
from sr3d.cli.jobs import add_run_options, mark_run, run_or_replace, wait_for_others
from sr3d.config import Config
from sr3d.config_groups import DATASETS
from sr3d.detectors.configuration import with_overrides
from sr3d.errors import DamagedFile, InputError, Kind, message_of
from sr3d.run_setting import Configured, configure, infer_setting
from sr3d.runs.files import exclusive
from sr3d.runs.markers import forget_marker
from sr3d.runs.record import RUN_FILE
from sr3d.settings import find_setting, read_settings

if TYPE_CHECKING:
    from sr3d.evaluate.loop import Evaluator

_log = logging.getLogger(__name__)


def add_train(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Train a detector for one setting."
    verb = verbs.add_parser(
        "train",
        parents=[common],
        help=about,
        description=f"{about} To resume an interrupted run, run the same command again. For "
        "multi-GPU training with the same batch size, run: torchrun --nproc-per-node=N -m sr3d "
        "train …",
        examples=(
            "sr3d train --dataset scannet --data data/scannet --out results/scannet/sr3d/train0",
            "sr3d train --dataset scannet --data data/scannet --out run --setting baseline "
            "--device cuda --set train.batch_size=8",
        ),
    )
    verb.add_argument(
        "--dataset", required=True, metavar="NAME", help=f"data set: {', '.join(DATASETS)}"
    )
    verb.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared data set")
    verb.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the training run"
    )
    add_setting(
        verb,
        "row of the paper's tables to train, such as sr3d or baseline (default: the row that --set "
        "describes, else 'custom')",
    )
    verb.add_argument(
        "--train", type=TRAINING, default=0, metavar="I", help="index of the training run"
    )
    verb.add_argument("--split", default="train", metavar="NAME", help="split to train on")
    add_overrides(
        verb,
        "override configuration values, e.g. train.batch_size=8 (`sr3d config` lists the keys)",
    )
    verb.add_argument(
        "--seed", type=SEED, metavar="N",
        help="base seed, from which the seed of the run is computed (default: the configuration's)",
    )  # fmt: skip
    verb.add_argument(
        "--workers", type=WORKERS, default=0, metavar="N",
        help="number of threads that load scenes ahead",
    )  # fmt: skip
    verb.add_argument(
        "--resume-anyway", action="store_true",
        help="resume a training run that another code version began. The record lists both",
    )  # fmt: skip
    _add_device(verb)
    add_run_options(verb)
    verb.set_defaults(verb=_train)


def _train(args: argparse.Namespace) -> None:
    with _one_voice():
        check_dataset(args.dataset)
        check_prepared(args.data)
        check_output_folder(args.out)
        wait_for_others(args, args.out)
        overrides = overrides_of(args)
        from sr3d.detectors.starting_config import starting_config

        start = starting_config(args.dataset, args.data, args.split)
        if args.seed is not None:
            start = replace(start, seed=args.seed)
        chosen = _chosen(args, start, overrides)
        warn_without_effect(chosen.config, overrides)
        with _device(args):
            from sr3d.train.distributed import torchrun_processes
            from sr3d.train.loop import TrainingJob
            from sr3d.train.training import train

            job = TrainingJob(
                config=chosen.config,
                overrides=chosen.overrides,
                data=args.data,
                out=args.out,
                setting=chosen.name,
                index=args.train,
                split=args.split,
                device=args.device,
                workers=args.workers,
                resume_anyway=args.resume_anyway,
            )
            with torchrun_processes(args.device) as processes:
                record = run_or_replace(
                    lambda: train(job, processes),
                    args.out,
                    # Several processes cannot repeat a run that one of them has refused.
                    args.replace and processes.count == 1,
                    exclusive(args.out / RUN_FILE, args.wait),
                )
        if processes.first:
            mark_run(args.done, args.out, record)
            seconds, loss = record.wall_seconds, record.metrics["loss"]
            print(f"{args.out}: {seconds:.0f} s, last loss {loss:.3f}")


@contextmanager
def _one_voice() -> Iterator[None]:
    """Under torchrun, only the first process that fails prints its error."""
    try:
        yield
    except BaseException:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from sr3d.train.distributed import first_to_fail

            if not first_to_fail():
                raise SystemExit(1) from None
        raise


def add_test(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Evaluate a training run once or several times, with fixed seeds."
    verb = verbs.add_parser(
        "test",
        parents=[common],
        help=about,
        description=f"{about} Finished evaluation runs are not repeated. If one of several fails, "
        "the others continue, unless the weights or the data are damaged. If another process "
        "writes to one of their folders, no run starts. With --wait, the command waits for its "
        "end.",
        examples=(
            "sr3d test --run results/scannet/sr3d/train0 --data data/scannet "
            "--out results/scannet/sr3d/train0/test0",
            "sr3d test --run results/scannet/sr3d/train0 --data data/scannet "
            "--tests 5 --out results/scannet/sr3d/train0",
        ),
    )
    verb.add_argument(
        "--run", type=Path, required=True, metavar="DIR", help="folder of the training run"
    )
    verb.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared data set")
    verb.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the evaluation run. With --tests, the folder that holds test0, test1, …",
    )
    which = verb.add_mutually_exclusive_group()
    which.add_argument(
        "--test", type=EVALUATION, default=0, metavar="J", help="index of the evaluation run"
    )
    which.add_argument(
        "--tests", type=EVALUATIONS, metavar="N",
        help="make the N evaluation runs with the indices 0 to N - 1 in one process, each in its "
        "folder",
    )  # fmt: skip
    verb.add_argument("--split", default="val", metavar="NAME", help="split to evaluate on")
    add_setting(
        verb,
        "row of the paper's tables that evaluates these training runs (default: the row of the "
        "training run)",
    )
    add_overrides(verb, "override evaluation settings, e.g. test.nms=3d")
    _add_device(verb)
    add_run_options(verb, several=True)
    verb.set_defaults(verb=_test)


def _test(args: argparse.Namespace) -> None:
    check_run(args.run, "--run")
    check_prepared(args.data)
    check_output_folder(args.out)
    places = _evaluation_places(args)
    folders = [place.out for place in places]
    from sr3d.detectors.configuration import config_from_dict
    from sr3d.runs.record import read_training

    training = read_training(args.run)
    start = config_from_dict(training.config)
    chosen = _chosen(args, start, overrides_of(args), training.setting)
    warn_without_effect(chosen.config, overrides_of(args))
    wait_for_others(args, *folders)
    with _device(args), ExitStack() as held:
        from sr3d.evaluate.loop import Evaluator

        try:
            evaluator = Evaluator(
                args.run, args.data, args.split, args.device, chosen.name, chosen.overrides
            )
            # All at once: another process waits for the end of this one, not for its first run.
            for out in folders:
                held.enter_context(exclusive(out / RUN_FILE, args.wait))
            _evaluate_each(evaluator, places, args)
        except DamagedFile:
            forget_marker(args.run)
            raise


class EvaluationPlace(NamedTuple):
    """The index of an evaluation run, its folder and its marker, None without --done."""

    test: int
    out: Path
    marker: Path | None


def _evaluation_places(args: argparse.Namespace) -> list[EvaluationPlace]:
    """The places of the evaluation runs of a command.

    Raises:
        InputError: the number of markers is not the number of runs.
    """
    if args.tests is None:
        folders = {args.test: args.out}
    else:
        folders = {test: args.out / f"test{test}" for test in range(args.tests)}
    markers = args.done or [None] * len(folders)
    if len(markers) != len(folders):
        raise InputError(
            f"{len(markers)} markers for {len(folders)} evaluation runs",
            field="--done",
            kind=Kind.CONFLICT,
            remedy="Name one file for each run.",
        )
    return [
        EvaluationPlace(test, out, marker)
        for (test, out), marker in zip(folders.items(), markers, strict=True)
    ]


def _evaluate_each(
    evaluator: Evaluator, places: list[EvaluationPlace], args: argparse.Namespace
) -> None:
    """Make the runs, each with its marker. If one fails, print its error and continue.

    Raises:
        DamagedFile: the weights or the data are damaged, so no run can finish.
        InputError: names the failed runs. A single run raises its own error.
        RuntimeError: names the failed runs. The error of at least one is a bug.
    """
    failed: list[str] = []
    bug = False
    for test, out, marker in places:
        try:
            make = partial(evaluator.evaluate, out, test)
            record = run_or_replace(make, out, args.replace, nullcontext())
            mark_run(marker, out, record)
        except DamagedFile:
            raise
        except Exception as error:
            if len(places) == 1:
                raise
            # Keep no error: the frames of its traceback would hold GPU memory during later runs.
            failed.append(out.name)
            if isinstance(error, InputError | OSError):
                text = "".join(format_exception(error)) if args.debug else message_of(error)
            else:
                bug, text = True, "".join(format_exception(error))
            _log.error("%s failed: %s", out, text)
        else:
            metrics = record.metrics
            print(f"{out}: AP25 {metrics['AP25']:.1f}, AP50 {metrics['AP50']:.1f}", flush=True)
    if not failed:
        return
    problem = f"{len(failed)} of {len(places)} evaluation runs failed: {', '.join(failed)}"
    if bug:
        raise RuntimeError(f"{args.out}: {problem}. Their errors are above.")
    raise InputError(
        problem,
        file=args.out,
        kind=Kind.MISSING,
        remedy="Correct the errors above, then repeat the command. It repeats no finished run.",
    )


def _chosen(
    args: argparse.Namespace, start: Config, given: list[str], trained: str | None = None
) -> Configured:
    """The setting of --setting. Without this option, the setting that matches the overrides.

    trained: the setting of the evaluated training run, whose configuration is `start`. None for a
    training run.
    """
    settings, name = read_settings(args.settings), args.setting
    if name is None:
        return infer_setting(settings, start, given, trained, _labels(args.data))
    if name == trained and name not in settings:
        # The name comes from a settings file that this call does not have.
        return Configured(name, with_overrides(start, given), tuple(given))
    setting = find_setting(settings, name)
    if trained is None and setting.tests_of:
        raise InputError(
            f"evaluates training runs of {setting.tests_of} and has none of its own",
            field=f"--setting {name}",
            kind=Kind.CONFLICT,
            remedy=f"Train {setting.tests_of}. Then run `sr3d test --setting {name}`.",
        )
    if trained not in (None, setting.trained_as):
        raise InputError(
            f"evaluates training runs of {setting.trained_as}, and --run is one of {trained}",
            field=f"--setting {name}",
            kind=Kind.CONFLICT,
            remedy=f"Pass a training run of {setting.trained_as}, or omit --setting.",
        )
    chosen = configure(settings, name, start, given, evaluation=trained is not None)
    setting.check_data(start.dataset, _labels(args.data), args.data)
    return chosen


def _labels(data: Path) -> str:
    """The version of the ground truth in a prepared folder."""
    from sr3d.data.prepared import read_manifest

    return read_manifest(data).labels


def _add_device(verb: argparse.ArgumentParser) -> None:
    add_device(verb)
    verb.add_argument(
        "--threads", type=THREADS, default=1, metavar="N",
        help="number of CPU threads. Only the same number gives bitwise identical results",
    )  # fmt: skip


def _device(args: argparse.Namespace) -> ExitStack:
    """Lease a GPU if requested (before torch looks for it), and set the number of threads."""
    stack = ExitStack()
    if args.device == "cuda":
        from sr3d.runs.gpu_lease import lease_gpu

        stack.enter_context(lease_gpu())
    from sr3d.runs.folder import as_jobs_run, check_device

    check_device(args.device)
    stack.enter_context(as_jobs_run(args.threads))
    return stack
