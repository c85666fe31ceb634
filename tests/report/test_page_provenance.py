"""The printed commands run as they are, and reproduce the runs."""

import subprocess

from sr3d.cli import build_parser
from sr3d.study.report.figures.style import Names
from sr3d.study.report.findings import Findings, runs_of, write_summary
from sr3d.study.report.page.provenance import commands_of, origin_of
from tests.make_runs import edit, make_test, make_training, make_tree


def flat(setting, train, test) -> float:
    return 50.0


def executed(text: str) -> list[list[str]]:
    """The arguments of each call of sr3d when a shell runs a printed command."""
    script = f'sr3d() {{ printf "%s\\n" "$@" --end; }}\nDATA="/my data" SETTINGS=mine.yaml\n{text}'
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    return [call.splitlines() for call in done.stdout.split("--end\n")[:-1]]


def overrides(arguments) -> list[str]:
    return [item for group in arguments.set for item in group]


def test_training_commands_are_those_of_the_records(tmp_path):
    settings = {"short": ["train.epochs=3", "train.milestones=[1, 2]", "assigner.name=tr3d"]}
    records = make_tree(
        tmp_path, settings=settings, trainings=3, tests=0, machine={"threads": 2}, device="cuda"
    )
    (command,) = commands_of(records, records)
    assert (command.kind, command.runs) == ("training", 3)
    for index, call in enumerate(executed(command.text)):
        parsed = build_parser().parse_args(call)
        assert (parsed.dataset, parsed.setting, parsed.train) == ("synthetic", "short", index)
        assert (str(parsed.data), parsed.split, parsed.seed) == ("/my data", "train", 0)
        assert str(parsed.out) == f"results/synthetic/short/train{index}"
        assert (parsed.device, parsed.threads) == ("cuda", 2)
        assert overrides(parsed) == settings["short"]
        assert str(parsed.settings) == "mine.yaml"  # no setting of the package
    assert index == 2


def test_test_commands_name_their_training_and_change_nothing(tmp_path):
    settings = {"short": ["train.epochs=6"]}
    records = make_tree(tmp_path, settings=settings, trainings=2, tests=3, score=flat)
    command = commands_of(records, records)[1]
    assert (command.kind, command.runs) == ("test", 6)
    calls = [build_parser().parse_args(call) for call in executed(command.text)]
    assert [str(c.out) for c in calls] == [
        f"results/synthetic/short/train{i}/test{j}" for i in range(2) for j in range(3)
    ]
    assert [(str(c.run), c.test) for c in calls] == [
        (f"results/synthetic/short/train{i}", j) for i in range(2) for j in range(3)
    ]
    assert {(c.setting, c.split, len(overrides(c))) for c in calls} == {(None, "val", 0)}


def test_a_setting_that_only_tests_names_whose_trainings_and_what_it_changes(tmp_path):
    own = ["assigner.name=tr3d", "test.score_thr=0.02"]
    trained = make_tree(tmp_path, settings={"baseline": own}, trainings=1, tests=1)
    oracle = [*own, "test.oracle=iou"]
    record = make_test(tmp_path, "synthetic", "with_iou", oracle, 0, 0, 90.0, tests_of="baseline")
    (command,) = commands_of([record], trained)
    (call,) = executed(command.text)
    parsed = build_parser().parse_args(call)
    assert (str(parsed.run), parsed.setting) == ("results/synthetic/baseline/train0", "with_iou")
    assert overrides(parsed) == ["test.oracle=iou"]
    made = {
        one.setting: one
        for one in origin_of(
            Findings(tmp_path, "synthetic"), ["baseline", "with_iou"], Names({"baseline": "TR3D"})
        ).settings
    }
    assert (made["with_iou"].tests_of, made["with_iou"].trainings) == ("baseline", 0)
    assert made["with_iou"].commands == (command,)
    assert (made["baseline"].label, made["with_iou"].label) == ("TR3D", "with_iou")


def test_runs_made_in_different_ways_have_commands_of_their_own(tmp_path):
    make_tree(tmp_path, settings={"sr3d": []}, trainings=3, tests=2)
    edit(tmp_path, "synthetic/sr3d/train1", device="cuda")
    make_test(tmp_path, "synthetic", "sr3d", [], 2, 5, 60.0)
    records = runs_of(tmp_path / "synthetic" / "sr3d")
    first, second, tests = commands_of(records, records)
    assert (first.runs, second.runs, tests.runs) == (2, 1, 7)
    assert first.text.startswith("for i in 0 2; do")
    assert "--device cuda" in second.text
    places = [str(build_parser().parse_args(call).out)[-12:] for call in executed(tests.text)]
    assert places == [
        "train0/test0", "train0/test1", "train1/test0", "train1/test1",
        "train2/test0", "train2/test1", "train2/test5",
    ]  # fmt: skip


def test_configurations_are_told_by_what_they_change(tmp_path):
    settings = {"sr3d": [], "wide": ["assigner.k=9", "augment=tr3d"]}
    make_tree(tmp_path, settings=settings, trainings=1, tests=1, score=flat)
    sr3d, wide = origin_of(Findings(tmp_path, "synthetic"), list(settings), Names({})).settings
    assert sr3d.changes == ()
    assert ("assigner.k", "6", "9") in wide.changes
    assert ("augment.flip_y", "0.5", "0.5") not in wide.changes
    assert {name.partition(".")[0] for name, _, _ in wide.changes} == {"assigner", "augment"}


def test_what_all_runs_share_is_told_once_and_the_rest_counted(tmp_path):
    make_tree(tmp_path, settings={"sr3d": []}, trainings=2, tests=1)
    edit(tmp_path, "synthetic/sr3d/train1", machine={"processor": "P", "gpus": ["H"], "cores": 4})
    origin = origin_of(Findings(tmp_path, "synthetic"), ["sr3d"], Names({}))
    facts = {fact.what: fact.values for fact in origin.facts}
    assert facts["machine"] == (("a processor, 2 cores, Linux", 3), ("H, P, 4 cores", 1))
    ((data, runs),) = facts["test data"]
    assert runs == 2
    assert all(it in data for it in ("32", "'val'", "made up for a test", "00112233445566ff"))
    assert facts["versions"] == (("python 3.11.7, torch 2.13.0", 4),)
    assert (origin.trainings, origin.tests) == (2, 2)
    assert (origin.first, origin.last) == ("2026-11-01 08:00", "2026-11-01 09:30")
    assert origin.hours * 3600 == 2 * 600 + 2 * 20


def test_runs_beyond_the_planned_ones_are_not_told_of(tmp_path):
    make_tree(tmp_path, settings={"sr3d": []}, trainings=3, tests=2)
    folder = tmp_path / "synthetic" / "sr3d"
    write_summary(folder, folder / "summary.json", 2, 1)
    origin = origin_of(Findings(tmp_path, "synthetic"), ["sr3d"], Names({}))
    assert (origin.trainings, origin.tests) == (2, 2)
    assert [command.runs for command in origin.settings[0].commands] == [2, 2]
    assert origin.warnings == 1


def test_a_summary_without_records_still_makes_a_page_part(tmp_path):
    make_training(tmp_path, "synthetic", "sr3d", [], 0)
    make_test(tmp_path, "synthetic", "sr3d", [], 0, 0, 60.0)
    folder = tmp_path / "synthetic" / "sr3d"
    write_summary(folder, folder / "summary.json", 1, 1)
    for record in folder.rglob("run.json"):
        record.unlink()
    origin = origin_of(Findings(tmp_path, "synthetic"), ["sr3d"], Names({}))
    assert (origin.tests, origin.first, origin.facts) == (1, "", ())
    assert origin.settings[0].commands == ()
