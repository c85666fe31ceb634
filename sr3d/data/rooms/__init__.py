"""Procedural rooms: indoor scenes that look like scans, with exact boxes, made from a seed."""
