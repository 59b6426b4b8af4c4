"""The worker: a process that does what follows from uploads, beside the server. It knows no HTTP server."""

import sys

if "dramatiq.cli" in sys.modules:
    # `dramatiq workers`: Dramatiq's command imports this package, and expects the broker and the actors from that.
    from . import command  # noqa: F401 - it is imported for what it does
