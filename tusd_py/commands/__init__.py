"""The commands of ``tusd-py``, one per module; ``console`` and ``startup`` are shared by them."""
