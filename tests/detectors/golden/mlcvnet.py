"""MLCVNet's golden files: NUAAXQ/MLCVNet at 9a41b36. They hold what VoteNet's files hold."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.detectors.golden import votenet
from tests.detectors.golden.comparing import Comparison, Golden

INPUTS = votenet.INPUTS
SCALES = {"vgen.conv3.weight": 0.003, "pnet.conv3.weight": 0.125}
# A group norm follows each context block and cancels its scalar. What is left of the gradients of
# `p` and `g`, which only make that scalar, is rounding: norms near 1e-4, others are above 1e-2.
ROUNDING = 2e-4


def comparisons(golden: Golden, folder: Path) -> Iterator[Comparison]:
    load = partial(votenet.published, golden, folder, "mlcvnet", SCALES)
    yield from votenet.compared(golden, load, absolute=ROUNDING)
