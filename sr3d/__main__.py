"""`python -m sr3d` is the command `sr3d`."""

import sys

from sr3d.cli import main

sys.exit(main())
