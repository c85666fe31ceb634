"""The paper as data: `workflow/tables.yaml` holds its tables, its figures and its claims."""

from sr3d.report.paper.claims import (
    Cited,
    Claim,
    CurveBelow,
    Difference,
    Equal,
    Highest,
    RatioBelow,
    Trend,
    settings_of_claim,
)
from sr3d.report.paper.figures import (
    Consistency,
    Figure,
    Panel,
    Qualitative,
    Sweep,
    Tradeoff,
    settings_of_figure,
)
from sr3d.report.paper.labels import labels_in, labels_of
from sr3d.report.paper.names import (
    DATASETS,
    METRICS,
    PARAMETERS,
    PrintedDataset,
    PrintedMetric,
    number,
    printed_dataset,
    signed,
)
from sr3d.report.paper.reading import Paper, Shown, read_paper, shown_settings
from sr3d.report.paper.tables import PRINTS, STATISTICS, PaperTable, Row

__all__ = [
    "DATASETS",
    "METRICS",
    "PARAMETERS",
    "PRINTS",
    "STATISTICS",
    "Cited",
    "Claim",
    "Consistency",
    "CurveBelow",
    "Difference",
    "Equal",
    "Figure",
    "Highest",
    "Panel",
    "Paper",
    "PaperTable",
    "PrintedDataset",
    "PrintedMetric",
    "Qualitative",
    "RatioBelow",
    "Row",
    "Shown",
    "Sweep",
    "Tradeoff",
    "Trend",
    "labels_in",
    "labels_of",
    "number",
    "printed_dataset",
    "read_paper",
    "settings_of_claim",
    "settings_of_figure",
    "shown_settings",
    "signed",
]
