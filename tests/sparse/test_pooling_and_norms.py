import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.sparse import Sites, SparseTensor, functional, windows
from sr3d.sparse.nn import SparseBatchNorm, SparseELU, SparseInstanceNorm, SparsePool
from sr3d.sparse.norms import instance_norm
from tests.sparse.brute_force import cells, moved, offsets, random_coords


def sparse_tensor(seed: int, channels: int = 3, n: int = 80) -> SparseTensor:
    coords = random_coords(n, 2, -4, 5, seed)
    features = torch.randn(len(coords), channels, dtype=torch.float64)
    return SparseTensor.from_coords(coords, features)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("mode", ["max", "sum", "average"])
def test_pools_equal_brute_force(mode: str, kernel: int, stride: int) -> None:
    x = sparse_tensor(kernel)
    y = SparsePool(mode, kernel, stride)(x)  # type: ignore[arg-type]
    row = {cell: i for i, cell in enumerate(cells(x.sites.coords))}
    reduce = {
        "max": lambda f: f.amax(0),
        "sum": lambda f: f.sum(0),
        "average": lambda f: f.mean(0),
    }[mode]
    for cell, value in zip(cells(y.sites.coords), y.features, strict=True):
        near = [row[c] for o in offsets(kernel) if (c := moved(cell, o, 1)) in row]
        assert torch.allclose(value, reduce(x.features[near]), atol=1e-12)


@pytest.mark.parametrize(
    "pool", [functional.max_pool, functional.sum_pool, functional.average_pool]
)
def test_pool_gradients(pool: object) -> None:
    x = sparse_tensor(4, channels=2, n=20)
    kernel_map = x.sites.kernel_map(x.sites.strided(2), 2)
    features = x.features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: pool(f, kernel_map), (features,))  # type: ignore[operator]


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 60),
    stride=st.sampled_from([1, 2]),
    kernel=st.sampled_from([2, 3, 4, 5, 17]),
    factor=st.sampled_from([1, 2, 8]),
    comparisons=st.sampled_from([1, 100, 1 << 22]),
)
@settings(deadline=None, max_examples=60)
def test_windows_have_the_pairs_of_the_kernel_map(
    seed: int, n: int, stride: int, kernel: int, factor: int, comparisons: int
) -> None:
    sites = Sites.from_coords(random_coords(n, 2, -6, 7, seed, stride), stride, batch_size=3)
    out = sites.strided(factor)
    steps = [offset[0] for offset in offsets(kernel)]
    reach = min(steps) * stride, max(steps) * stride
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "_COMPARISONS", comparisons)
        found = windows.windows_of(sites.coords, sites.counts, out.coords, out.counts, reach)
    pairs = sites.kernel_map(out, kernel)
    expected = sorted(zip(pairs.out_rows.tolist(), pairs.in_rows.tolist(), strict=True))
    assert list(zip(found.out_rows.tolist(), found.in_rows.tolist(), strict=True)) == expected


def test_gradients_of_pools_in_windows() -> None:
    x = sparse_tensor(4, channels=2, n=20)
    pairs = x.sites.pool_map(x.sites.strided(4), 5)
    features = x.features.requires_grad_()
    for pool in (functional.max_pool, functional.sum_pool, functional.average_pool):
        assert torch.autograd.gradcheck(lambda f, pool=pool: pool(f, pairs), (features,))


def test_equal_maxima_share_no_gradient() -> None:
    sites = Sites.from_coords(torch.tensor([[0, 0, 0, 0], [0, 1, 1, 1]]))
    features = torch.ones(2, 1, requires_grad=True)
    functional.max_pool(features, sites.kernel_map(sites.strided(2), 2)).sum().backward()
    assert features.grad is not None
    assert features.grad.flatten().tolist() == [1.0, 0.0]


def test_negative_features_keep_their_maximum() -> None:
    x = sparse_tensor(5)
    y = SparsePool("max", 2, 2)(x.replace(-x.features.abs() - 1))
    assert float(y.features.max()) <= -1


def test_instance_norm_is_each_scene_by_itself() -> None:
    x = sparse_tensor(6)
    norm = SparseInstanceNorm(3).double()
    torch.nn.init.normal_(norm.weight)
    y = norm(x)
    for before, after in zip(x.scenes(), y.scenes(), strict=True):
        mean, var = before.mean(0), before.var(0, unbiased=False)
        expected = (before - mean) / (var + 1e-8).sqrt() * norm.weight + norm.bias
        assert torch.allclose(after, expected, atol=1e-10)
    features = x.features[:, :1].clone().requires_grad_()
    counts = x.sites.counts
    assert torch.autograd.gradcheck(lambda f: instance_norm(f, counts), (features,))


class Shuffled(Sites):
    """Rows in which scenes are mixed, as MinkowskiEngine has them."""

    @property
    def in_order(self) -> torch.Tensor:
        return torch.argsort(self.coords[:, 0], stable=True)


def test_instance_norm_finds_the_rows_of_a_scene_anywhere() -> None:
    x, norm = sparse_tensor(6), SparseInstanceNorm(3).double()
    order = torch.randperm(len(x.sites), generator=torch.Generator().manual_seed(0))
    mixed = SparseTensor(
        x.features[order].clone().requires_grad_(), Shuffled(x.sites.coords[order], 1, 2)
    )
    x.features.requires_grad_()
    found, expected = norm(mixed).features, norm(x).features[order]
    assert torch.allclose(found, expected)
    for result in (found, expected):
        (result**3).sum().backward()
    assert x.features.grad is not None
    assert mixed.features.grad is not None
    assert torch.allclose(mixed.features.grad, x.features.grad[order])


def test_instance_norm_passes_over_a_scene_without_rows() -> None:
    x = torch.randn(30, 2, requires_grad=True)
    y = instance_norm(x, [0, 20, 0, 10])
    assert torch.equal(y, torch.cat([instance_norm(p, [len(p)]) for p in x.split(20)]))
    y.square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_instance_norm_of_many_rows_is_exact_to_rounding(dtype: torch.dtype) -> None:
    x = (torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0)) + 3).to(dtype)
    exact = instance_norm(x.double(), [len(x)])
    found = instance_norm(x, [len(x)])
    assert found.dtype == dtype
    assert ((found - exact).abs() <= torch.finfo(dtype).eps * exact.abs() + 4e-6).all()


def test_batch_norm_survives_one_row() -> None:
    one = SparseTensor.from_coords(torch.tensor([[0, 0, 0, 0]]), torch.ones(1, 3))
    norm = SparseBatchNorm(3).train()
    assert torch.isfinite(norm(one).features).all()
    x = sparse_tensor(7)
    out = SparseBatchNorm(3).double().train()(x).features
    assert torch.allclose(out.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-10)


def test_elu() -> None:
    x = sparse_tensor(8)
    f = x.features
    expected = torch.where(f > 0, f, f.exp() - 1)
    assert torch.allclose(SparseELU()(x).features, expected, atol=1e-12)
