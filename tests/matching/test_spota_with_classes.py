"""SPOTA with a class cost."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from sr3d.matching.spota import SPOTA, classification_cost
from sr3d.matching.spota_pruned import PrunedSPOTA
from tests.matching.calls import center_prior, spota_assign, spota_cost


@pytest.mark.parametrize("rotated", [False, True])
def test_with_classes_the_shortcuts_find_what_the_full_matrix_has(rotated):
    """Table 3, "w/ C_cls": λ times the cross entropy of the classes inside the bracket."""
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        anchors = torch.rand(120, 3, generator=draw) * 4
        pred, gt = (torch.rand(n, 7, generator=draw) * 2 + 0.2 for n in (120, 6))
        if not rotated:
            pred[:, 6] = gt[:, 6] = 0
        logits = torch.randn(120, 5, generator=draw) * 3
        labels = torch.randint(5, (6,), generator=draw)
        cls = torch.stack([
            binary_cross_entropy_with_logits(
                logits, one_hot(label, 5).float().expand(120, 5), reduction="none"
            ).sum(1)
            for label in labels
        ], dim=1)  # fmt: skip
        torch.testing.assert_close(classification_cost(logits, labels), cls)
        classes = {"cls_weight": 1 / 3, "logits": logits, "gt_labels": labels}
        full = spota_cost(anchors, pred, gt, rotated=rotated, **classes)
        without = spota_cost(anchors, pred, gt, rotated=rotated)
        prior = center_prior(anchors, gt)
        torch.testing.assert_close(full, without + prior * cls / 3)
        expected = torch.full((120,), -1)
        least = torch.full((120,), torch.inf)
        for j in range(6):
            for i in full[:, j].argsort(stable=True)[:6].tolist():
                if full[i, j] < least[i]:
                    least[i], expected[i] = full[i, j], j
        zero = torch.zeros(120, dtype=torch.int64)
        for kind in (SPOTA, PrunedSPOTA):
            found = spota_assign(
                anchors, zero, pred, gt, zero[:6], rotated=rotated, kind=kind, **classes
            )
            assert torch.equal(found, expected)
