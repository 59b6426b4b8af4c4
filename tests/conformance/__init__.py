"""A conformance suite for tus 1.0.0 that talks to any server by URL and needs nothing but the standard library.

``wire`` moves bytes, ``dialogue`` records requests, expectations and responses, ``client`` has the methods, ``cases/``
says what must hold, ``run`` decides, ``table`` prints. Nothing here imports the server under test.
"""
