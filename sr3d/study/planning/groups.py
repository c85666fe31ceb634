"""Which configurations cost the same, so that one number serves all of them."""

from __future__ import annotations

from collections.abc import Hashable

from sr3d.config import Config


def network(config: Config) -> Hashable:
    """What decides the size of the weights."""
    return config.dataset, config.model


def training(config: Config) -> Hashable:
    """What decides a step, as far as assigners and losses go by their names."""
    values = config.flat()
    return roughly_training(config), values.get("assigner.name"), values.get("loss.cls")


def roughly_training(config: Config) -> Hashable:
    """The same without assigner and loss, which are a few hundredths of a step."""
    drawn = config.augment.sample_count or config.augment.sample_fraction
    return network(config), config.train.batch_size, drawn


def testing(config: Config) -> Hashable:
    """What decides the test of a scene."""
    test, oracle = config.test, config.flat().get("test.oracle")
    return network(config), test.sample_count, test.nms, test.nms_pre, oracle
