"""What follows from patterns that are right each by itself: which can never match, and why."""
