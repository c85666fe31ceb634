import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.sparse.packing import kept_first


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=40))
def test_rows_to_keep_come_first_and_both_parts_ascend(keep: list[bool]) -> None:
    expected = [i for i, kept in enumerate(keep) if kept]
    expected += [i for i, kept in enumerate(keep) if not kept]
    assert kept_first(torch.tensor(keep, dtype=torch.bool)).tolist() == expected


@pytest.mark.parametrize("keep", [True, False])
def test_all_or_none_leaves_the_order(keep: bool) -> None:
    assert kept_first(torch.full((5,), keep)).tolist() == [0, 1, 2, 3, 4]
