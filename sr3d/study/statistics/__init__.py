"""Statistics of settings that were trained several times and tested several times a training.

`summary` describes one setting, `comparison` sets one against another, `trends` follows settings
along a quantity, `t_estimate` holds a number with its tests and intervals, `design` says what a
number of trainings can and cannot show.

The tests of one training share its weights, so 5 × 5 values are five clusters of five, not 25
independent numbers. Whatever infers here therefore counts trainings: it takes the mean of each
training's tests (`Summary.training_means`) as one value. Two settings that are other tests of the
same trainings are compared training by training (`paired`).
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
