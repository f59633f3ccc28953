"""Data sets on the device, whitening, and differentiable augmentation."""
