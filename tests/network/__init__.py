"""Broken connections, killed and stopped servers, full disks: acknowledged bytes are kept, and uploads continue."""
