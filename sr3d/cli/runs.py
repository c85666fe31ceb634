"""The verbs that compute: `train` and `test`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sr3d.cli.arguments import (
    EVALUATION,
    SEED,
    THREADS,
    TRAINING,
    WORKERS,
    Verbs,
    add_overrides,
    add_setting,
    overrides_of,
)
from sr3d.cli.jobs import add_run_options, mark_run, replacing, wait_for_others
from sr3d.config import DATASETS, Config
from sr3d.errors import DamagedFile, InputError
from sr3d.runs.markers import forget_marker
from sr3d.settings import Configured, configure, find_setting, read_settings, recognise


def add_train(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = (
        "Train one setting once. To resume an interrupted training, repeat the command. On N "
        "GPUs, with the same batches: torchrun --nproc-per-node=N -m sr3d train …"
    )
    verb = verbs.add_parser("train", parents=[common], help=about, description=about)
    verb.add_argument("--dataset", required=True, metavar="NAME", help=", ".join(DATASETS))
    verb.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared folder")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run's folder")
    add_setting(
        verb,
        "the row of the paper's tables to train, such as sr3d or baseline; without it, the row "
        "that --set makes (sr3d where it sets nothing), else 'custom'",
    )
    verb.add_argument("--train", type=TRAINING, default=0, metavar="I", help="which training (0)")
    verb.add_argument("--split", default="train", help="whose scenes (train)")
    add_overrides(
        verb, "change the configuration, e.g. train.batch_size=8; `sr3d config` lists every key"
    )
    verb.add_argument("--seed", type=SEED, help="base seed; the run's own follows from it")
    verb.add_argument(
        "--workers", type=WORKERS, default=0, help="threads that load scenes ahead (0)"
    )
    verb.add_argument(
        "--resume-anyway",
        action="store_true",
        help="resume a training that other code began; the record lists both codes",
    )
    _add_device(verb)
    add_run_options(verb)
    verb.set_defaults(verb=_train)


def _train(args: argparse.Namespace) -> None:
    with _one_voice():
        wait_for_others(args)
        overrides = overrides_of(args)
        from sr3d.runs.folder import starting_config

        start = starting_config(args.dataset, args.data, args.split)
        if args.seed is not None:
            start = start.with_overrides([f"seed={args.seed}"])
        chosen = _chosen(args, start, overrides)
        with _device(args):
            from sr3d.train.distributed import torchrun_processes
            from sr3d.train.loop import TrainingJob, train

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
                # Several processes cannot repeat a run that one of them refused.
                alone = processes.count == 1
                record = replacing(args, lambda: train(job)) if alone else train(job, processes)
        if processes.first:
            mark_run(args, record)
            seconds, loss = record.wall_seconds, record.metrics["loss"]
            print(f"{args.out}: {seconds:.0f} s, last loss {loss:.3f}")


@contextmanager
def _one_voice() -> Iterator[None]:
    """Of processes that torchrun started, the first to fail says why; the others end silently."""
    try:
        yield
    except BaseException:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from sr3d.train.distributed import first_to_fail

            if not first_to_fail():
                raise SystemExit(1) from None
        raise


def add_test(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Test one training once, with the seeded randomness of that test."
    verb = verbs.add_parser("test", parents=[common], help=about, description=about)
    verb.add_argument("--run", type=Path, required=True, metavar="DIR", help="a training's folder")
    verb.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared folder")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="the test's folder")
    verb.add_argument("--test", type=EVALUATION, default=0, metavar="J", help="which test (0)")
    verb.add_argument("--split", default="val", help="whose scenes (val)")
    add_setting(
        verb, "the row of the paper's tables: the training's, or one that evaluates its trainings"
    )
    add_overrides(verb, "change how it is tested, e.g. test.nms=3d; nothing that was trained")
    _add_device(verb)
    add_run_options(verb)
    verb.set_defaults(verb=_test)


def _test(args: argparse.Namespace) -> None:
    from sr3d.config import config_from_dict
    from sr3d.runs.record import read_run

    training = read_run(args.run)
    start = config_from_dict(training.config)
    chosen = _chosen(args, start, overrides_of(args), training.setting)
    wait_for_others(args)
    with _device(args):
        from sr3d.evaluate.loop import TestJob, test

        job = TestJob(
            run=args.run,
            data=args.data,
            out=args.out,
            index=args.test,
            split=args.split,
            device=args.device,
            setting=chosen.name,
            overrides=chosen.overrides,
        )
        try:
            record = replacing(args, lambda: test(job))
        except DamagedFile:
            forget_marker(args.run)
            raise
    mark_run(args, record)
    metrics = record.metrics
    print(f"{args.out}: AP25 {metrics['AP25']:.1f}, AP50 {metrics['AP50']:.1f}")


def _chosen(
    args: argparse.Namespace, start: Config, given: list[str], trained: str | None = None
) -> Configured:
    """The setting that --setting names or the overrides make, on the data of --data.

    trained: the name of the training that is evaluated, whose configuration is `start`.
    """
    from sr3d.data.prepared import read_manifest

    settings = read_settings(args.settings)
    if args.setting is None:
        start.with_overrides(given)  # refused before the data are looked at
        return recognise(settings, start, given, trained, read_manifest(args.data).labels)
    if trained is not None and args.setting == trained and trained not in settings:
        # The name comes from a settings file that this call does not have.
        return Configured(trained, start.with_overrides(given), tuple(given))
    setting = find_setting(settings, args.setting)
    if trained not in (None, setting.trained_as):
        raise InputError(
            f"--setting {setting.name}: evaluates trainings of {setting.trained_as}, and {args.run}"
            f" is one of {trained}; leave --setting out, or pass a --run of {setting.trained_as}"
        )
    if trained is None and setting.tests_of:
        raise InputError(
            f"--setting {setting.name}: evaluates trainings of {setting.tests_of}; train that one, "
            f"then pass --setting {setting.name} to `sr3d test`"
        )
    chosen = configure(settings, setting.name, start, given, trained is not None)
    setting.check_data(start.dataset, read_manifest(args.data).labels, args.data)
    return chosen


def _add_device(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--device", default="cpu", metavar="NAME", help="cpu or cuda (cpu)")
    verb.add_argument(
        "--threads",
        type=THREADS,
        default=1,
        help="CPU threads (1); results are the same bits only for the same number",
    )


def _device(args: argparse.Namespace) -> ExitStack:
    """Lease a GPU if one is asked for (before torch looks for it), and fix the threads."""
    stack = ExitStack()
    if args.device == "cuda":
        from sr3d.runs.gpu_lease import lease_gpu

        stack.enter_context(lease_gpu())
    from sr3d.runs.folder import as_jobs_run, check_device

    check_device(args.device)
    stack.enter_context(as_jobs_run(args.threads))
    return stack
