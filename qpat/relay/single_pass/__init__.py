"""MergeComposite in one pass over the module: the same composites, made with their types.

TVM's pass walks, rebuilds and types the whole module once for every row of the table. Here the
module is read once, rows are matched on integers, and what is made is given its type at once.
"""
