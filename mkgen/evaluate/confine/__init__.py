"""Confinement: what a worker process can see, reach and use up."""
