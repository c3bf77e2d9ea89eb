"""Syntax tree to pattern IR."""
