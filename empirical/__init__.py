"""Dataset distillation on real images (PyTorch)."""
