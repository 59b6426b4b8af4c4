"""Publishing: finished uploads appear under readable names in a directory of the operator."""
