"""The checks of ``tusd-py check``, one subject per module."""
