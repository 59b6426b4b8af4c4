"""Answers ordinary requests without a task: see ``uploads.create_directly`` and ``uploads.change_directly``.

The HTTP server offers each request that has arrived whole, before it starts a task for it (``begin_directly``). What is
not ordinary is declined here, and then answered by ``TusEndpoint``, as everything is in other servers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import fields
from functools import partial

from tusd_py.model.principal import Principal
from tusd_py.protocol.headers import Headers
from tusd_py.uploads.change_directly import direct_changes
from tusd_py.uploads.create_directly import direct_creations
from tusd_py.uploads.known_writers import KnownWriters
from tusd_py.uploads.ports import Ports
from tusd_py.web.direct_changes import METHODS, DirectChangeAnswers
from tusd_py.web.direct_creations import DirectCreationAnswers, RepeatedCreations
from tusd_py.web.ordinary_request import OrdinaryRequest, Run, WholeRequest
from tusd_py.web.tus import TusEndpoint

log = logging.getLogger(__name__)
_request_log = logging.getLogger("tusd_py.requests")


class DirectAnswers:
    """Begins requests to one endpoint, which is mounted at ``base_path``. ``opened`` are the ports once opened."""

    def __init__(self, endpoint: TusEndpoint, base_path: str, opened: Callable[[], Ports | None]) -> None:
        self._endpoint = endpoint
        self._prefix = base_path.rstrip("/") + "/"
        self._collection_paths = frozenset({self._prefix, self._prefix.rstrip("/")})
        self._opened = opened
        self._ports: Ports | None = None  # for which the next two are
        self._creations: DirectCreationAnswers | None = None
        self._changes: DirectChangeAnswers | None = None
        # As in ``create_directly``: any other optional part that is there may concern all requests.
        self._is_possible = not any(
            each.default is None and each.name != "authenticator" and getattr(endpoint, each.name) is not None
            for each in fields(endpoint)
        )

    def begin(self, whole: WholeRequest, run: Run) -> bool | RepeatedCreations:
        """Begin to answer a request if it is an ordinary one; return whether it was.

        The creation of an upload without bytes returns how the server begins those that are like it.
        """
        path = whole.path
        is_creation = whole.method == "POST"
        if is_creation:
            is_for_endpoint = path in self._collection_paths
        else:
            is_for_endpoint = whole.method in METHODS and path.startswith(self._prefix)
        if not is_for_endpoint or whole.is_below_root:
            return False
        ports = self._opened()
        if ports is not self._ports:
            self._prepare(ports)
        answers = self._creations if is_creation else self._changes
        # Each answered request is a line at this level, which is ``Exchange``'s.
        if answers is None or _request_log.isEnabledFor(logging.DEBUG):
            return False
        try:
            return self._begin(answers, whole, run)
        except Exception as failure:  # noqa: BLE001
            # The outermost handler. Nothing has begun: the endpoint meets the same failure, and answers it.
            log.debug("not answered directly: %s: %s", type(failure).__name__, failure)
            return False

    def _prepare(self, ports: Ports | None) -> None:
        self._ports = ports
        self._creations = self._changes = None
        if ports is not None and self._is_possible:
            writers = KnownWriters()
            creations, changes = direct_creations(ports, writers), direct_changes(ports, writers)
            if creations is not None:
                is_current = partial(self._is_current, ports)
                self._creations = DirectCreationAnswers(self._endpoint, creations, self._prefix, is_current)
            if changes is not None:
                self._changes = DirectChangeAnswers(self._endpoint, changes, self._prefix)

    def _is_current(self, ports: Ports) -> bool:
        """Whether requests still begin as they do with these ports."""
        return self._opened() is ports and not _request_log.isEnabledFor(logging.DEBUG)

    def _begin(
        self, answers: DirectCreationAnswers | DirectChangeAnswers, whole: WholeRequest, run: Run
    ) -> bool | RepeatedCreations:
        endpoint = self._endpoint
        headers = Headers(whole.headers)
        principal: Principal | None = None
        if endpoint.authenticator is not None:
            assert self._ports is not None
            principal = endpoint.authenticator.recall(whole.scope, headers, self._ports.access_ports)
            if principal is None:
                return False
        request_id = endpoint.request_ids.of(headers.get_bytes(b"x-request-id"))
        request = OrdinaryRequest(whole, run, headers.get_bytes(b"origin"), principal, request_id)
        begun = answers.begin(request, headers)
        if begun:
            endpoint.metrics.open.inc()
        return begun
