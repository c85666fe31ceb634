"""Properties of the judgements of any family, whatever its numbers."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.study.report.paper import AmountClaim, EquivalenceClaim
from sr3d.study.report.verdicts import Direction, Size, Verdict, judge
from tests.report.made_up import ABOUT, MadeUp, amount, gain, paper_of

ALPHA = 0.05
runs = st.lists(st.floats(-2, 2).map(lambda x: round(x, 2)), min_size=3, max_size=5, unique=True)
setting = st.tuples(st.floats(-3, 3), runs)
kinds = st.sampled_from(["direction", "amount", "equivalence"])


@st.composite
def families(draw):
    """Judgements of one to five claims against one baseline."""
    tests, claims = {("base", "AP25"): [[70 + x] for x in draw(runs)]}, []
    for i in range(draw(st.integers(1, 5))):
        name = f"s{i}"
        shift, values = draw(setting)
        tests[name, "AP25"] = [[70 + shift + x] for x in values]
        claims.append(_claim(draw(kinds), name, draw(st.sampled_from([-0.4, 0.3, 1.0]))))
    return judge(paper_of(*claims), MadeUp(tests))


def _claim(kind, name, number):
    if kind == "direction":
        return gain(name, "base", number)
    if kind == "amount":
        return amount(name, "base", number)
    return EquivalenceClaim(
        **ABOUT, id=f"{name}_same", metric="AP25", setting=name, over="base", scale="difference",
        margin=1.2, margin_reason="so the test has it", paper={"scannet": number},
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(families())
def test_intervals_decide_as_the_adjusted_tests_do_or_it_is_said(family):
    """Without `sharper`, the simultaneous interval implies the same codes."""
    for one in family:
        low, high = one.numbers.simultaneous
        number = one.claim.paper["scannet"]
        if isinstance(one.claim, EquivalenceClaim):
            inside = low > -1.2 and high < 1.2
            outside = low > 1.2 or high < -1.2
            by_interval = Direction.ABSENT if inside else Direction.BEYOND
            decided = inside or outside
        else:
            sign = 1 if one.claim.direction == "higher" else -1
            by_interval = Direction.THERE if sign * low > 0 < sign * high else Direction.OPPOSITE
            decided = not low <= 0 <= high
        excluded = not low <= number <= high
        if decided:
            assert one.direction is by_interval
        if excluded:
            assert one.size is Size.OUTSIDE
        if not one.numbers.sharper:
            assert decided == (one.direction is not Direction.INCONCLUSIVE)
            assert excluded == (one.size is Size.OUTSIDE)


@settings(max_examples=150, deadline=None)
@given(families())
def test_codes_do_not_contradict_each_other(family):
    for one in family:
        numbers = one.numbers
        opposite = one.direction is Direction.OPPOSITE
        beyond = isinstance(one.claim, EquivalenceClaim) and one.direction is Direction.BEYOND
        if opposite or beyond:  # the amount lies in the region that is rejected
            assert one.size is Size.OUTSIDE
            assert numbers.p_amount <= numbers.p_against < ALPHA
            assert one.verdict is Verdict.NOT_REPRODUCED
        if one.verdict is Verdict.REPRODUCED:
            assert numbers.p_for < ALPHA
            assert not (isinstance(one.claim, AmountClaim) and one.size is Size.OUTSIDE)
        assert numbers.simultaneous[0] <= numbers.interval[0]
        assert numbers.interval[1] <= numbers.simultaneous[1]
        assert one.verdict is not Verdict.DIRECTION_ONLY  # all amounts can be judged here
