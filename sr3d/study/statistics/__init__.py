"""Statistics of settings with several training runs and several evaluation runs of each.

`summary` describes one setting. `comparison` compares two settings. `trends` regresses settings on
a quantity. `t_estimate` is a number with its tests and intervals. `design` computes what a number
of training runs can show.

The evaluation runs of one training run share its weights. So 5 × 5 values are five clusters of
five, not 25 independent numbers. All inference here therefore counts training runs: the mean over
the evaluation runs of a training run (`Summary.training_means`) is one value. Two settings that
evaluate the same training runs are compared training run by training run (`paired`).
"""

from sr3d.study.statistics.comparison import Comparison, Ratio, compare, holm, ratio
from sr3d.study.statistics.design import detectable_difference, detectable_mean, expected_best
from sr3d.study.statistics.summary import Summary, group, summarise, t_interval, variance_components
from sr3d.study.statistics.t_estimate import Interval, TEstimate, simultaneous
from sr3d.study.statistics.trends import Trend, trend

__all__ = [
    "Comparison",
    "Interval",
    "Ratio",
    "Summary",
    "TEstimate",
    "Trend",
    "compare",
    "detectable_difference",
    "detectable_mean",
    "expected_best",
    "group",
    "holm",
    "ratio",
    "simultaneous",
    "summarise",
    "t_interval",
    "trend",
    "variance_components",
]
