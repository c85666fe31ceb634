"""GroupFree: queries sampled from seed points, refined by a transformer decoder."""
