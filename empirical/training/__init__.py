"""Plain training of networks (`sgd`), its gradient, and predictions in chunks."""
