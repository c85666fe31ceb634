from __future__ import annotations

from hypothesis import settings

# A busy machine must not fail a test: no time limit per example.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
