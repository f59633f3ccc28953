"""What is measured of samples and curves: difficulty, scaling, rank correlation."""
