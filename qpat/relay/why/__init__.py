"""Why an operator stays on the host: the pattern that came nearest, and what kept it from it."""
