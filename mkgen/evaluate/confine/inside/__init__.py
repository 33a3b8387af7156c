"""What runs between the parent and the worker; the standard library only."""
