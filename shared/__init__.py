"""What both wings use: difficulty of samples, scaling curves, run records."""
