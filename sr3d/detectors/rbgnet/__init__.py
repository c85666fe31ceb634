"""RBGNet: clusters of votes look along rays for the surface of their object."""
