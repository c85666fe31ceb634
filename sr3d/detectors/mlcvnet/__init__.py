"""MLCVNet: VoteNet with context between patches, between objects, and of the whole scene."""
