"""Second opinions, slow and independent: published equations, other solvers, the model with nothing left out."""
