"""Gradient matching: distances, class gradients, and DC, DSA, DCC, DSAC as settings of one loss."""
