"""Statistics of settings that were trained several times and tested several times a training.

`summary` describes one setting, `comparison` sets one against another, `trends` follows settings
along a quantity, `design` says what a number of trainings can and cannot show.

The tests of one training share its weights, so 5 × 5 values are five clusters of five, not 25
independent numbers. Whatever infers here therefore counts trainings: it takes the mean of each
training's tests (`Summary.training_means`) as one value.
"""

from sr3d.stats.comparison import Comparison, Ratio, compare, holm, ratio
from sr3d.stats.design import detectable_difference, expected_best
from sr3d.stats.summary import Summary, group, summarise, t_interval, variance_components
from sr3d.stats.trends import Trend, trend

__all__ = [
    "Comparison",
    "Ratio",
    "Summary",
    "Trend",
    "compare",
    "detectable_difference",
    "expected_best",
    "group",
    "holm",
    "ratio",
    "summarise",
    "t_interval",
    "trend",
    "variance_components",
]
