"""Sample difficulty under its public name; see `shared.measures.difficulty`, where it is computed."""

from shared.measures.difficulty import el2n, gradient_norms, gradn, loss, margin, misclassification_rate

__all__ = ["el2n", "gradient_norms", "gradn", "loss", "margin", "misclassification_rate"]
