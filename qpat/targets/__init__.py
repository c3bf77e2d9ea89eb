"""Pattern IR to code."""
