"""The measured grid, the map to the theory's alpha, the checks and their verdicts (`all_checks`)."""
