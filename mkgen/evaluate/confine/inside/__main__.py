"""`python -I -S …/inside/__main__.py SPEC`: starts a worker confined and keeps it; see keeper.py.

Run by path, so that neither site-packages nor a working directory can stand in for a module.
"""

import os
import sys

sys.path.insert(0, os.path.abspath(__file__).rsplit(os.sep, 5)[0])

from mkgen.evaluate.confine.inside.keeper import main

if __name__ == "__main__":
    main()
