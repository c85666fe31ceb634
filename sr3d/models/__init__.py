"""Detectors: one family a file, and plain functions that build them from a configuration."""
