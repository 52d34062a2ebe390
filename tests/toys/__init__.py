"""Toy-size models with random weights: the real library classes, built offline and saved as folders in their published layout."""
