"""Real images chosen by their difficulty: scores of an ensemble, kept with where they come from, and the choice."""
