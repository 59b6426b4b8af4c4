"""The use cases of uploads, one verb per module. They reach the world only through the contracts."""
