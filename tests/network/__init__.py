"""Broken connections, killed and stopped servers, full disks: what was acknowledged stays, and everything goes on."""
