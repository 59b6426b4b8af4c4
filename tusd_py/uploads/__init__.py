"""The use cases of uploads, one verb per module. They use backends only through the contracts."""
