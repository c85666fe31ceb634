"""Parts that several families of detectors share."""
