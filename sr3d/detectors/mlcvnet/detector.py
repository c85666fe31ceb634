"""MLCVNet (Xie et al., CVPR 2020): VoteNet whose patches, objects and scene see each other.

Its loss is VoteNet's, without proposals that are neither positive nor negative (`loss.far`).
"""

from __future__ import annotations

from sr3d.detectors.mlcvnet.config import MLCVNetConfig
from sr3d.detectors.mlcvnet.network import ContextProposalModule, ContextVoteModule
from sr3d.detectors.votenet.detector import VoteNet
from sr3d.detectors.votenet.network import count_outputs


class MLCVNet(VoteNet):
    """VoteNet with context in the vote module and in the proposal module."""

    def __init__(self, config: MLCVNetConfig) -> None:
        super().__init__(config)
        model = config.model
        outputs = count_outputs(self.bins.count, len(self.dataset.classes))
        self.vgen = ContextVoteModule(model.seed_channels)
        self.pnet = ContextProposalModule(
            self.pnet.vote_aggregation, model.proposal_channels, outputs, model.seed_channels
        )
