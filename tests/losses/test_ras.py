import math

import pytest
import torch

from sr3d.losses import ras
from sr3d.losses.focal import focal_loss
from sr3d.losses.positives import Positives
from sr3d.losses.ras import rank_distillation_loss
from sr3d.losses.soft_rank import soft_rank

FORMS = ("printed", "bracket", "rank", "position")
DOUBLE = torch.float64


def ras_loss(logits, assigned, labels, ious, scenes=None, *, rank_scope="ground_truth", **options):
    """With the matches of all anchors, which `ious` follows."""
    by_scene = scenes if rank_scope == "image" else None
    return ras.ras_loss(logits, Positives.of(assigned), labels, ious, by_scene, **options)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def literal_rdl(x, q, r, beta, form):
    s = sigmoid(x)
    if form == "bracket":
        return -((1 - r) ** beta) * (q * math.log(s) + (1 - q) * math.log(1 - s))
    weight = {"printed": 1 - r, "rank": r, "position": 1 + math.log(r)}[form] ** beta
    return -(weight * q * math.log(s) + q * (1 - q) * math.log(1 - s))


def literal_ras(logits, assigned, labels, ious, scenes, *, tau, beta, form, scope):
    """Eq. 7 with Eq. 6, 9 and 10, one anchor and channel at a time."""
    positives = [i for i, j in enumerate(assigned) if j >= 0]
    group = {i: scenes[assigned[i]] if scope == "image" else assigned[i] for i in positives}
    quality = dict(zip(positives, ious, strict=True))
    score = {i: sigmoid(logits[i][labels[assigned[i]]]) for i in positives}

    def rank(values, i):
        members = [j for j in positives if group[j] == group[i]]
        above = sum(sigmoid((values[j] - values[i]) / tau) for j in members if j != i)
        return math.exp(-above / len(members))

    total = 0.0
    for i, row in enumerate(logits):
        for c, x in enumerate(row):
            if assigned[i] >= 0 and labels[assigned[i]] == c:
                loss = -0.25 * (1 - sigmoid(x)) ** 2 * math.log(sigmoid(x))
                if sum(group[j] == group[i] for j in positives) > 1:
                    r = rank(score, i)
                    rdl = literal_rdl(x, quality[i], rank(quality, i), beta, form)
                    loss = (1 - r) * loss + r * rdl
                total += loss
            else:
                total += -0.75 * sigmoid(x) ** 2 * math.log(1 - sigmoid(x))
    return total


def batch(seed=0, anchors=60, truths=8, classes=4):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(anchors, classes, generator=generator, dtype=DOUBLE)
    assigned = torch.randint(-6, truths, (anchors,), generator=generator).clamp(min=-1)
    assigned[assigned == 3] = -1
    assigned[0] = 3  # a lone positive
    labels = torch.randint(0, classes, (truths,), generator=generator)
    ious = torch.rand(int((assigned >= 0).sum()), generator=generator, dtype=DOUBLE)
    scenes = torch.arange(truths) // 3
    return logits, assigned, labels, ious, scenes


def test_rdl_by_hand():
    # s = 1/2, q = 0.6, r = 0.8, beta = 1, ln 2 = 0.6931472:
    # printed (0.2·0.6 + 0.6·0.4) ln 2, bracket 0.2 (0.6 + 0.4) ln 2, rank (0.8·0.6 + 0.24) ln 2,
    # position ((1 + ln 0.8)·0.6 + 0.24) ln 2 with ln 0.8 = -0.22314355.
    one = [torch.tensor([value], dtype=DOUBLE) for value in (0.0, 0.6, 0.8)]
    for form, weight in zip(FORMS, (0.36, 0.2, 0.72, 0.70611387), strict=True):
        loss = rank_distillation_loss(*one, form=form)
        torch.testing.assert_close(loss, torch.tensor([weight * math.log(2)], dtype=DOUBLE))
    # beta = 2, printed: (0.04·0.6 + 0.24) ln 2.
    loss = rank_distillation_loss(*one, beta=2.0, form="printed")
    torch.testing.assert_close(loss, torch.tensor([0.264 * math.log(2)], dtype=DOUBLE))


@pytest.mark.parametrize(
    ("form", "tau", "beta", "expected"),
    [
        ("printed", 0.01, 1, [0.00, 0.38, 0.45, 0.47, 0.47, 0.47]),
        ("printed", 0.1, 1, [0.33, 0.42, 0.45, 0.46, 0.46, 0.45]),
        ("printed", 1.0, 1, [0.67, 0.56, 0.49, 0.44, 0.40, 0.37]),
        ("bracket", 0.1, 1, [0.85, 0.75, 0.65, 0.55, 0.45, 0.35]),
        ("rank", 0.1, 1, [0.86, 0.77, 0.67, 0.58, 0.49, 0.42]),
        ("printed", 0.1, 0, [0.87, 0.80, 0.74, 0.69, 0.65, 0.61]),
    ],
)
def test_rdl_is_least_where_the_notes_say(form, tau, beta, expected):
    """Stationary points for six positives of one ground truth with these IoUs, best to worst."""
    ious = torch.tensor([0.85, 0.75, 0.65, 0.55, 0.45, 0.35], dtype=DOUBLE)
    rank = soft_rank(ious, torch.zeros(6, dtype=torch.int64), tau)
    scores = torch.linspace(1e-4, 1 - 1e-4, 10_001, dtype=DOUBLE)
    logits = scores.logit()[:, None].expand(-1, 6)
    losses = rank_distillation_loss(logits, ious, rank, beta=beta, form=form)
    least = scores[losses.argmin(dim=0)]
    torch.testing.assert_close(least, torch.tensor(expected, dtype=DOUBLE), atol=0.006, rtol=0)
    if form == "printed":  # s = a / (a + 1 - q)
        a = (1 - rank) ** beta
        torch.testing.assert_close(least, a / (a + 1 - ious), atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("form", "ious", "expected"),
    [
        ("printed", (0.85, 0.35), [0.52, 0.52, 0.53, 0.53, 0.53, 0.53]),
        ("printed", (0.30, 0.05), [0.45, 0.47, 0.48, 0.50, 0.53, 0.56]),  # inverted
        ("bracket", (0.85, 0.35), [0.85, 0.76, 0.68, 0.61, 0.55, 0.50]),
        ("bracket", (0.30, 0.05), [0.46, 0.42, 0.39, 0.36, 0.34, 0.31]),
        ("rank", (0.85, 0.35), [0.86, 0.77, 0.68, 0.62, 0.57, 0.55]),
        ("position", (0.85, 0.35), [0.86, 0.76, 0.67, 0.59, 0.53, 0.50]),
        ("position", (0.30, 0.05), [0.58, 0.56, 0.55, 0.55, 0.55, 0.58]),
    ],
)
def test_training_on_ras_settles_where_the_notes_say(form, ious, expected):
    """Eq. 7's equilibrium of one ground truth's six positives: ranks follow the scores."""
    quality = torch.linspace(*ious, 6, dtype=DOUBLE)
    logits = quality[:, None].logit().requires_grad_()
    owner, label = torch.zeros(6, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    for _ in range(400):
        loss = ras_loss(logits, owner, label, quality, tau=0.1, form=form)
        (gradient,) = torch.autograd.grad(loss, logits)
        logits.data -= 4 * gradient
    scores = logits.detach().sigmoid()[:, 0]
    torch.testing.assert_close(scores, torch.tensor(expected, dtype=DOUBLE), atol=0.01, rtol=0)


@pytest.mark.parametrize("scope", ["ground_truth", "image"])
@pytest.mark.parametrize("form", FORMS)
def test_ras_equals_the_literal_transcription(form, scope):
    for seed, (tau, beta) in enumerate([(0.1, 1.0), (0.01, 1.0), (1.0, 0.5)]):
        inputs = batch(seed)
        loss = ras_loss(*inputs, tau=tau, beta=beta, form=form, rank_scope=scope)
        plain = [value.tolist() for value in inputs]
        expected = literal_ras(*plain, tau=tau, beta=beta, form=form, scope=scope)
        assert loss.item() == pytest.approx(expected, rel=1e-10)


def test_ras_by_hand():
    # Two positives of one ground truth (class 0 of 1), logits 0, q = 0.5 and 0.5: all ranks are
    # exp(-1/4) = r. Each: (1 - r) 0.0433217 + r (0.5 r + 0.25) ln 2.
    # One negative with logit 0: 0.75 · 1/4 · ln 2 = 0.1299651.
    r = math.exp(-0.25)
    each = (1 - r) * 0.0433217 + r * (0.5 * r + 0.25) * math.log(2)
    assigned, label = torch.tensor([0, -1, 0]), torch.tensor([0])
    loss = ras_loss(torch.zeros(3, 1), assigned, label, torch.tensor([0.5, 0.5]))
    assert loss.item() == pytest.approx(2 * each + 0.1299651, rel=1e-5)


def test_gradient_is_that_of_the_formula_with_targets_held_fixed():
    logits, assigned, labels, ious, scenes = batch(3, anchors=12)
    logits.requires_grad_()
    loss = ras_loss(logits, assigned, labels, ious, scenes)
    (gradient,) = torch.autograd.grad(loss, logits)

    # The same with ranks taken once: they are detached, so numbers here.
    positive = (assigned >= 0).nonzero()[:, 0]
    owner, channel = assigned[positive], labels[assigned[positive]]
    r_reg = soft_rank(ious, owner)
    r_cls = soft_rank(logits[positive, channel].detach().sigmoid(), owner)
    r_cls[torch.tensor([int((owner == o).sum()) == 1 for o in owner])] = 0
    targets = torch.full((12,), -1)
    targets[positive] = channel

    def held(x):
        focal = focal_loss(x, targets)
        rdl = rank_distillation_loss(x[positive, channel], ious, r_reg)
        return focal.sum() + (r_cls * (rdl - focal[positive, channel])).sum()

    assert torch.autograd.gradcheck(held, logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(held(logits), logits)[0])


@pytest.mark.parametrize("form", FORMS)
def test_rdl_gradient_reaches_the_logits_alone(form):
    logits, ious, rank = (torch.rand(5, dtype=DOUBLE, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(
        lambda x: rank_distillation_loss(x, ious, rank, form=form), logits
    )
    loss = rank_distillation_loss(logits, ious, rank, form=form).sum()
    assert torch.autograd.grad(loss, (ious, rank), allow_unused=True) == (None, None)


def test_ious_get_no_gradient():
    logits, assigned, labels, ious, _ = batch()
    logits.requires_grad_()
    ious.requires_grad_()
    ras_loss(logits, assigned, labels, ious).backward()
    assert ious.grad is None
    assert logits.grad is not None


@pytest.mark.parametrize("form", FORMS)
def test_a_lone_positive_keeps_focal_loss(form):
    logits, assigned = torch.randn(5, 3), torch.tensor([-1, 1, -1, 0, -1])
    labels, ious = torch.tensor([2, 0]), torch.tensor([0.4, 0.7])
    expected = focal_loss(logits, torch.tensor([-1, 0, -1, 2, -1])).sum()
    torch.testing.assert_close(ras_loss(logits, assigned, labels, ious, form=form), expected)


@pytest.mark.parametrize("truths", [0, 3])
@pytest.mark.parametrize("scope", ["ground_truth", "image"])
def test_a_batch_without_positives_is_all_negatives(truths, scope):
    logits = torch.randn(4, 3, requires_grad=True)
    nobody = torch.full((4,), -1)
    labels, scenes = torch.zeros(2, truths, dtype=torch.int64)
    loss = ras_loss(logits, nobody, labels, torch.zeros(0), scenes, rank_scope=scope)
    torch.testing.assert_close(loss, focal_loss(logits, nobody).sum())
    loss.backward()
    assert logits.grad.isfinite().all()


def test_no_anchors():
    none = torch.zeros(0, dtype=torch.int64)
    assert ras_loss(torch.zeros(0, 3), none, none, torch.zeros(0)).item() == 0


@pytest.mark.parametrize("form", FORMS)
def test_equal_scores_and_extreme_inputs_stay_finite(form):
    for value, iou in [(0.0, 0.5), (1e4, 1.0), (-1e4, 0.0), (-1e4, 1.5)]:
        logits = torch.full((6, 2), value, requires_grad=True)
        owner, label = torch.zeros(6, dtype=torch.int64), torch.tensor([1])
        loss = ras_loss(logits, owner, label, torch.full((6,), iou), form=form)
        loss.backward()
        assert loss.isfinite()
        assert logits.grad.isfinite().all()


def test_unknown_options_are_refused():
    inputs = batch()
    with pytest.raises(ValueError, match="other"):
        ras_loss(*inputs, form="other")
