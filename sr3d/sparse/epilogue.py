"""Operations after a convolution that are computed with it, before the result is rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Activation = Literal["none", "relu", "elu"]


@dataclass(frozen=True)
class Epilogue:
    """activation(convolution · scale + shift + residual). None leaves a part out.

    scale, shift: (Co,), such as a folded batch norm or a bias. residual: (n_out, Co).
    """

    scale: Tensor | None = None
    shift: Tensor | None = None
    residual: Tensor | None = None
    activation: Activation = "none"


NOTHING = Epilogue()
