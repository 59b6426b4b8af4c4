"""The background worker: runs webhooks, validation, publishing and assembly beside the server."""

import sys

if "dramatiq.cli" in sys.modules:
    # `dramatiq workers`: Dramatiq's command imports this package and expects it to declare the broker and the actors.
    from . import dramatiq_entry  # noqa: F401 - imported for its side effects
