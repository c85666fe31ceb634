import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sr3d.sparse import Sites, SparseTensor, functional, torch_engine
from sr3d.sparse.nn import SparseConv, SparseConvTranspose
from tests.sparse import brute_force
from tests.sparse.brute_force import cells, random_coords

SPARSE, DENSE = dict(n=90, low=-5, high=6), dict(n=1500, low=-4, high=4)  # below and above _DENSE


def sparse_tensor(seed: int, channels: int, stride: int = 1, **kind: int) -> SparseTensor:
    coords = random_coords(scenes=2, seed=seed, stride=stride, **kind)
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(len(coords), channels, generator=g, dtype=torch.float64)
    return SparseTensor.from_coords(coords, features, stride=stride)


@pytest.mark.parametrize("kind", [SPARSE, DENSE])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_equals_brute_force(kind: dict[str, int], kernel: int, stride: int) -> None:
    x = sparse_tensor(kernel + 10 * stride, 3, stride=2, **kind)
    conv = SparseConv(3, 4, kernel=kernel, stride=stride, bias=True).double()
    y = conv(x)
    assert set(cells(y.sites.coords)) == brute_force.strided(x.sites.coords, 2 * stride)
    assert y.sites.stride == 2 * stride
    weight = conv.kernel.view(kernel**3, 3, 4)
    expected = brute_force.conv(
        cells(x.sites.coords), x.features, cells(y.sites.coords), weight, kernel, in_stride=2
    )
    assert conv.bias is not None
    assert torch.allclose(y.features, expected + conv.bias, atol=1e-12)


@pytest.mark.parametrize("kind", [SPARSE, dict(n=400, low=-3, high=3)])
@pytest.mark.parametrize("kernel", [2, 3])
def test_generative_transpose_equals_brute_force(kind: dict[str, int], kernel: int) -> None:
    x = sparse_tensor(kernel, 3, stride=4, **kind)
    conv = SparseConvTranspose(3, 2, kernel=kernel, generative=True).double()
    y = conv(x)
    reached = {
        brute_force.moved(cell, offset, 2)
        for cell in cells(x.sites.coords)
        for offset in brute_force.offsets(kernel)
    }
    assert set(cells(y.sites.coords)) == reached
    assert y.sites.stride == 2
    expected = brute_force.conv_transpose(
        cells(x.sites.coords), x.features, cells(y.sites.coords), conv.kernel, kernel, out_stride=2
    )
    assert torch.allclose(y.features, expected, atol=1e-12)


@pytest.mark.parametrize("kernel", [2, 3])
def test_transpose_onto_given_sites_equals_brute_force(kernel: int) -> None:
    fine = sparse_tensor(1, 3, **SPARSE).sites
    coarse = fine.strided(2)
    x = SparseTensor(torch.randn(len(coarse), 3, dtype=torch.float64), coarse)
    conv = SparseConvTranspose(3, 2, kernel=kernel).double()
    y = conv(x, out=fine)
    assert y.sites is fine
    expected = brute_force.conv_transpose(
        cells(coarse.coords), x.features, cells(fine.coords), conv.kernel, kernel, out_stride=1
    )
    assert torch.allclose(y.features, expected, atol=1e-12)
    with pytest.raises(ValueError, match="out"):
        conv(x)


def dense(x: SparseTensor, size: int, low: int) -> Tensor:
    grid = x.features.new_zeros(x.sites.batch_size, x.features.shape[1], size, size, size)
    b, i, j, k = (x.sites.coords.long() - torch.tensor([0, low, low, low])).unbind(1)
    grid[b, :, i, j, k] = x.features
    return grid


@pytest.mark.parametrize("kernel", [3, 5, 7, 9])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_equals_dense_conv3d(kernel: int, stride: int) -> None:
    low, size = -6, 12
    x = sparse_tensor(3, 3, n=300, low=low, high=low + size)
    conv = SparseConv(3, 4, kernel=kernel, stride=stride).double()
    y = conv(x)
    weight = conv.kernel.view(kernel, kernel, kernel, 3, 4).permute(4, 3, 2, 1, 0)
    full = F.conv3d(dense(x, size, low), weight, padding=kernel // 2)
    b, i, j, k = (y.sites.coords.long() - torch.tensor([0, low, low, low])).unbind(1)
    assert torch.allclose(y.features, full[b, :, i, j, k], atol=1e-12)


def test_transpose_is_the_adjoint_of_the_convolution() -> None:
    # <conv(x), y> = <x, conv_transpose(y)> with the kernel's channels exchanged.
    x = sparse_tensor(5, 3, **SPARSE)
    out = x.sites.strided(2)
    kernel_map = x.sites.kernel_map(out, 3)
    weight = torch.randn(27, 3, 4, dtype=torch.float64)
    y = torch.randn(len(out), 4, dtype=torch.float64)
    forward = functional.sparse_conv(x.features, weight, kernel_map)
    back = functional.sparse_conv(y, weight.transpose(1, 2), kernel_map.transposed())
    assert torch.allclose((forward * y).sum(), (x.features * back).sum(), rtol=1e-12)


@pytest.mark.parametrize("kind", [dict(n=25, low=-2, high=3), dict(n=80, low=0, high=2)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (2, 2), (1, 2)])
def test_conv_gradients(kind: dict[str, int], kernel: int, stride: int) -> None:
    x = sparse_tensor(7, 2, **kind)
    kernel_map = x.sites.kernel_map(x.sites.strided(stride), kernel)
    weight = torch.randn(kernel**3, 2, 3, dtype=torch.float64, requires_grad=True)
    features = x.features.requires_grad_()

    def run(f: Tensor, w: Tensor) -> Tensor:
        return functional.sparse_conv(f, w, kernel_map)

    assert torch.autograd.gradcheck(run, (features, weight))


def test_generative_gradients() -> None:
    x = sparse_tensor(8, 2, stride=2, n=12, low=-2, high=2)
    out = x.sites.generated(3, 2)
    kernel_map = out.kernel_map(x.sites, 3).transposed()
    weight = torch.randn(27, 2, 2, dtype=torch.float64, requires_grad=True)
    features = x.features.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f, w: functional.sparse_conv(f, w, kernel_map), (features, weight)
    )


def test_dense_strategy_gradients_equal_the_sparse_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x = sparse_tensor(9, 3, **DENSE)
    kernel_map = x.sites.kernel_map(x.sites, 3)
    assert 0.5 < kernel_map.density < 1
    results = []
    for threshold in (0.0, 2.0):  # always dense, never dense
        monkeypatch.setattr(torch_engine, "_DENSE", threshold)
        features = x.features.clone().requires_grad_()
        weight = torch.ones(27, 3, 4, dtype=torch.float64).cumsum(0).requires_grad_()
        y = functional.sparse_conv(features, weight, kernel_map)
        (y * y.detach().cos()).sum().backward()
        results.append((y.detach(), features.grad, weight.grad))
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, rtol=1e-10)


def test_batch_is_the_concatenation_of_its_scenes() -> None:
    x = sparse_tensor(11, 3, **SPARSE)
    conv = SparseConv(3, 4, stride=2).double()
    whole = conv(x)
    for scene, part in enumerate(whole.scenes()):
        rows = x.sites.coords[:, 0] == scene
        alone = x.sites.coords[rows].clone()
        alone[:, 0] = 0
        assert torch.allclose(
            conv(SparseTensor.from_coords(alone, x.features[rows])).features, part
        )


@pytest.mark.parametrize("shift", [64, -128])
def test_translation_by_a_multiple_of_the_stride_changes_nothing(shift: int) -> None:
    x = sparse_tensor(12, 3, **SPARSE)
    conv = SparseConv(3, 4, stride=2).double()
    moved = x.sites.coords.clone()
    moved[:, 1:] += shift
    assert torch.equal(conv(x).features, conv(SparseTensor.from_coords(moved, x.features)).features)


def test_empty_and_single() -> None:
    none = SparseTensor(torch.zeros(0, 3), Sites(torch.zeros(0, 4, dtype=torch.int32), 1, 1))
    up = SparseConvTranspose(4, 2, generative=True)
    y = SparseConv(3, 4, stride=2)(none)
    assert y.features.shape == (0, 4)
    assert up(y).features.shape == (0, 2)
    one = SparseTensor.from_coords(torch.tensor([[0, 3, -1, 5]]), torch.ones(1, 3))
    y = SparseConv(3, 4, stride=2)(one)
    assert y.sites.coords.tolist() == [[0, 2, -2, 4]]
    assert up(y).features.shape == (27, 2)
