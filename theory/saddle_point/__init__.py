"""The saddle point at D -> infinity: kept laws, Gaussian averages, Newton's method, continuation in alpha."""
