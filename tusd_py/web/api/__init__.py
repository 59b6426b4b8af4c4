"""The JSON API under ``/api``: one module for each kind of resource.

To add a resource:

1. Write ``web/api/<resource>.py`` with its handlers and, at the end, the tuple ``ROUTES`` of ``ApiRoute`` values. A
   handler is ``async def name(call: Call) -> object``: it returns a JSON value, ``None`` for 204, or a ``Response``,
   and raises ``ApiError(status, sentence)``, a ``TusError``, or an exception that ``web.errors`` maps. ``call`` has
   the ports, the principal, the query (``call.query``) and the JSON body (``await call.json()``).
2. Add ``<resource>.ROUTES`` to ``ROUTES`` in ``web/api/routes.py``.
3. Describe every route, its parameters and its responses in ``web/api/openapi/<resource>.json``. A test compares both.

Each route names the access that it needs: a ``Verb`` of the access policy, or an ``Access``. Queries, bodies, cursors,
problem details and ``Cache-Control: no-store`` are the same everywhere: see ``query``, ``json_body``, ``cursors``,
``problems`` and ``dispatch``.
"""
