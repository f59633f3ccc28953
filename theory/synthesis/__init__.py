"""Synthesis instead of selection: the saddle point of points whose noise is correlated across points."""
