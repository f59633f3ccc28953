"""The same by simulation at finite D: exact draws of kept samples, many trials, extrapolation."""
