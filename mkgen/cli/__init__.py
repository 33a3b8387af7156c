"""The command line: one file per command; `main` is the only place that turns errors into codes."""
