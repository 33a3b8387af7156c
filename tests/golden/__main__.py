"""`python -m tests.golden [--parameters]`: writes the golden sources anew (make golden)."""

import sys

from tests.golden_sources import main

sys.exit(main(sys.argv[1:]))
