"""What is found of a claim: a verdict, the numbers behind it, and one sentence of reasons."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sr3d.report.paper import Claim


class Verdict(Enum):
    """The value is the word that is printed."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    CANNOT_TELL = "cannot be told"
    NOT_RUN = "not run"
    CITED = "not checkable here"


@dataclass(frozen=True)
class Judged:
    """One claim of the paper, judged on one data set.

    paper_says, ours: as they are printed; `ours` with its 95 % interval where there is one.
    p: adjusted by Holm's rule wherever the claim is judged by several tests; None without a test.
    detectable: the smallest true difference that a single test of this design finds with 80 %
        power, in the unit of the metric; None where that has no meaning.
    why: one sentence, which names the data.
    """

    claim: Claim
    verdict: Verdict
    paper_says: str
    ours: str
    p: float | None
    detectable: float | None
    why: str
