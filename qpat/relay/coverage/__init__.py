"""What patterns take of models, and what keeps them from the rest, counted and drawn."""
