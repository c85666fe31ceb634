from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sr3d.data.rooms.generate import prepare_rooms

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The last folders first: their files are the slowest, and no core idles behind short ones."""
    items.sort(key=lambda item: item.path, reverse=True)


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small prepared folder of procedural rooms: 6 to train on, 3 to validate."""
    folder = tmp_path_factory.mktemp("rooms")
    prepare_rooms(folder, train=6, val=3, seed=0, points=4000, workers=1)
    return folder


@pytest.fixture(scope="session")
def rotated_rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with one view each and oriented boxes."""
    folder = tmp_path_factory.mktemp("rotated_rooms")
    prepare_rooms(folder, train=4, val=2, seed=0, points=4000, rotated=True, workers=1)
    return folder
