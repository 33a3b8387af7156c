"""`python -m mkgen`: the command line, where its script is not on the path."""

from mkgen.cli.main import main

main()
