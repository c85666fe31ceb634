#!/usr/bin/env bash
# Runs once in the new environment, from the folder that snakemake was called in: the checkout.
set -euo pipefail
python -m pip install --constraint constraints.txt --editable .
