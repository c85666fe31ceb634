"""Every setting is a configuration of its own on each data set that it runs on."""

from __future__ import annotations

import pytest
import yaml

from sr3d.config_groups import DATASETS
from sr3d.detectors.configuration import default_config
from sr3d.evaluate.loop import override_evaluation
from sr3d.run_setting import configure
from sr3d.settings import read_settings
from tests.workflow.checkout import ROOT

SETTINGS = read_settings()


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_setting_is_a_configuration_of_its_own(dataset: str) -> None:
    digests: dict[str, list[str]] = {}
    for name, setting in SETTINGS.items():
        if dataset not in setting.datasets:
            continue
        config = configure(SETTINGS, name, default_config(dataset)).config
        if setting.tests_of:
            trained = configure(SETTINGS, setting.tests_of, default_config(dataset)).config
            assert config == override_evaluation(trained, setting.overrides)
        if not setting.prepared:  # those differ in their data
            digests.setdefault(config.digest(), []).append(name)
    same = [names for names in digests.values() if len(names) > 1]
    if dataset == "synthetic":
        # Its schedule is the rooms' own, and without rotated boxes DIoU has one form.
        same = [names for names in same if set(names) != {"tr3d", "baseline_augment_tr3d"}]
    assert same == []


def test_rows_name_the_data_sets_that_their_settings_are_for() -> None:
    tables = yaml.safe_load((ROOT / "workflow" / "tables.yaml").read_text())["tables"]
    rows = [row for table in tables.values() for row in table["rows"] if "setting" in row]
    assert {row["setting"]: row["only_on"] for row in rows if "only_on" in row} == {
        name: [*setting.datasets]
        for name, setting in SETTINGS.items()
        if setting.datasets != DATASETS and name in {row["setting"] for row in rows}
    }
