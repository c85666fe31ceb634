"""GSDN: anchors on four levels of a generative decoder that prunes its cells."""
