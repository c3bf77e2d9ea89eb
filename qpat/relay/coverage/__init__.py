"""What patterns take of models, and what keeps them from the rest: counts, and a page that shows it."""
