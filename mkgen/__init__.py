"""mkgen: one PyTorch reference, a readable, verified kernel for every vendor's target."""

__version__ = "0.1.0"
