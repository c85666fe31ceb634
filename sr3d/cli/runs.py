"""The verbs that compute: `train` and `test`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sr3d.cli.arguments import Verbs, add_overrides, overrides_of
from sr3d.cli.jobs import add_run_options, mark_run, replacing, wait_for_others
from sr3d.config import DATASETS


def add_train(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = (
        "Train one setting once. To resume an interrupted training, repeat the command. On N "
        "GPUs, with the same batches: torchrun --nproc-per-node=N -m sr3d train …"
    )
    verb = verbs.add_parser("train", parents=[common], help=about, description=about)
    verb.add_argument("--dataset", required=True, metavar="NAME", help=", ".join(DATASETS))
    verb.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared folder")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="the run's folder")
    verb.add_argument(
        "--setting",
        default="sr3d",
        metavar="NAME",
        help="what tables call it, which changes nothing of it (sr3d)",
    )
    verb.add_argument("--train", type=int, default=0, metavar="I", help="which training (0)")
    verb.add_argument("--split", default="train", help="whose scenes (train)")
    add_overrides(
        verb, "change the configuration, e.g. assigner.k=7; `sr3d config` lists every key"
    )
    verb.add_argument("--seed", type=int, help="base seed; the run's own follows from it")
    verb.add_argument(
        "--resume-anyway",
        action="store_true",
        help="resume a training that other code began; the record lists both codes",
    )
    verb.add_argument("--workers", type=int, default=0, help="threads that load scenes ahead (0)")
    _add_device(verb)
    add_run_options(verb)
    verb.set_defaults(verb=_train)


def _train(args: argparse.Namespace) -> None:
    with _one_voice():
        wait_for_others(args)
        overrides = overrides_of(args)
        from sr3d.runs import starting_config

        config = starting_config(args.dataset, args.data, args.split).with_overrides(overrides)
        if args.seed is not None:
            config = config.with_overrides([f"seed={args.seed}"])
        with _device(args):
            from sr3d.distributed import torchrun_processes
            from sr3d.training import TrainingJob, train

            job = TrainingJob(
                config=config,
                overrides=overrides,
                data=args.data,
                out=args.out,
                setting=args.setting,
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
            from sr3d.distributed import first_to_fail

            if not first_to_fail():
                raise SystemExit(1) from None
        raise


def add_test(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    about = "Test one training once, with the seeded randomness of that test."
    verb = verbs.add_parser("test", parents=[common], help=about, description=about)
    verb.add_argument("--run", type=Path, required=True, metavar="DIR", help="a training's folder")
    verb.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared folder")
    verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="the test's folder")
    verb.add_argument("--test", type=int, default=0, metavar="J", help="which test (0)")
    verb.add_argument("--split", default="val", help="whose scenes (val)")
    verb.add_argument("--setting", metavar="NAME", help="its name in tables (the training's)")
    add_overrides(verb, "change how it is tested, e.g. test.nms=3d; nothing that was trained")
    _add_device(verb)
    add_run_options(verb)
    verb.set_defaults(verb=_test)


def _test(args: argparse.Namespace) -> None:
    wait_for_others(args)
    with _device(args):
        from sr3d.evaluation import TestJob, test

        job = TestJob(
            run=args.run,
            data=args.data,
            out=args.out,
            index=args.test,
            split=args.split,
            device=args.device,
            setting=args.setting,
            overrides=overrides_of(args),
        )
        record = replacing(args, lambda: test(job))
    mark_run(args, record)
    metrics = record.metrics
    print(f"{args.out}: AP25 {metrics['AP25']:.1f}, AP50 {metrics['AP50']:.1f}")


def _add_device(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to run (cpu)")
    verb.add_argument(
        "--threads",
        type=int,
        default=1,
        help="CPU threads (1); results are the same bits only for the same number",
    )


def _device(args: argparse.Namespace) -> ExitStack:
    """Lease a GPU if one is asked for (before torch looks for it), and fix the threads."""
    stack = ExitStack()
    if args.device == "cuda":
        from sr3d.gpu_lease import lease_gpu

        stack.enter_context(lease_gpu())
    from sr3d.runs import as_jobs_run, check_device

    check_device(args.device)
    stack.enter_context(as_jobs_run(args.threads))
    return stack
