"""PyTorch reference -> torch.export -> ATen graph -> nests."""

from mkgen.frontend.lower import lower_task

__all__ = ["lower_task"]
