"""What the verbs' arguments share."""

import argparse

Verbs = argparse._SubParsersAction  # argparse has no public name for it
