"""Lockers: who may change an upload now, within a process and between processes. What is changed stays unknown."""
