"""Finished uploads under names for people, in a directory of the operator's."""
