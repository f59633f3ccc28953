"""Speed as ratios to the slow way, measured in one run; accuracy beside it."""
