"""Pattern IR on Relay modules: import, match, partition."""
