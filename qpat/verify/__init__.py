"""IR x TVM: whether what a pattern says it means is what its graphs compute."""
