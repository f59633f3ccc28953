"""Distillation inside the perceptron: points learnt by matching (`matching`), laid beside the theory (`study`)."""
