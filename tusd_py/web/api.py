"""Uploads, jobs and events as JSON under ``/api``.

While access control is off there is no authentication: limit access to it by the network.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tusd_py.access.errors import KeysUnavailable
from tusd_py.access.quota import quota_views, subject_of
from tusd_py.contracts.endpoint_states import EndpointStates
from tusd_py.contracts.job_queue import JobQueue
from tusd_py.contracts.records import RecordsError
from tusd_py.contracts.store import StoreError
from tusd_py.model.jobs import JobState
from tusd_py.model.principal import Principal, Verb
from tusd_py.protocol.access_errors import Unauthenticated
from tusd_py.protocol.errors import TusError
from tusd_py.protocol.headers import Headers
from tusd_py.uploads.ports import Ports
from tusd_py.views import endpoint_view, event_view, job_view, upload_view
from tusd_py.web.authentication import ANONYMOUS, Authenticator
from tusd_py.web.client_address import ClientAddresses
from tusd_py.web.errors import to_refusal
from tusd_py.web.json_refusal import refusal

OpenPorts = Callable[[], Awaitable[Ports]]

#: The most rows in one response.
LIMIT_MAX = 1000
_LIMIT_DEFAULT = 100
#: The largest row number of the database.
_NUMBER_MAX = 2**63 - 1


class ApiError(Exception):
    """A request that is refused with this status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def api_routes(
    open_ports: OpenPorts,
    authenticator: Authenticator | None = None,
    client_addresses: ClientAddresses | None = None,
) -> list[BaseRoute]:
    """Return the routes. No response may be cached. An ``authenticator`` decides which requests are permitted."""
    api = _Api(open_ports, authenticator, client_addresses or ClientAddresses())
    return [
        Route("/api/uploads/{upload_id}", api.endpoint(api.upload, is_own=True), methods=["GET"]),
        Route("/api/quota", api.endpoint(api.quota, is_own=True), methods=["GET"]),
        Route("/api/jobs", api.endpoint(api.jobs), methods=["GET"]),
        Route("/api/jobs/{job_id}", api.endpoint(api.job), methods=["GET"]),
        Route("/api/jobs/{job_id}", api.endpoint(api.delete), methods=["DELETE"]),
        Route("/api/jobs/{job_id}/retry", api.endpoint(api.retry), methods=["POST"]),
        Route("/api/events", api.endpoint(api.events), methods=["GET"]),
        Route("/api/endpoints", api.endpoint(api.endpoints), methods=["GET"]),
        # The name of an endpoint may be a URL.
        Route("/api/endpoints/{name:path}/open", api.endpoint(api.open_endpoint), methods=["POST"]),
    ]


class _Api:
    def __init__(
        self, open_ports: OpenPorts, authenticator: Authenticator | None, client_addresses: ClientAddresses
    ) -> None:
        self._open_ports = open_ports
        self._authenticator = authenticator
        self._client_addresses = client_addresses

    def endpoint(
        self, answer: Callable[[Ports, Request], Awaitable[object]], *, is_own: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that sends the result of ``answer`` as JSON, or ``{"error": sentence}``.

        With ``is_own`` the answer is about what belongs to the client, and finds out itself what it may see.
        """

        async def endpoint(request: Request) -> Response:
            status, content = 200, None
            try:
                if self._authenticator is not None and not is_own:
                    verb = Verb.OBSERVE if request.method == "GET" else Verb.OPERATE
                    await self._authenticator.require(request.scope, verb)
                content = await answer(await self._open_ports(), request)
            except (TusError, KeysUnavailable) as refused:
                return refusal(to_refusal(refused, request.method))
            except ApiError as error:
                status, content = error.status, {"error": error.sentence}
            except (OSError, RecordsError, StoreError) as failure:
                status, content = 503, {"error": f"the request failed, try again later: {failure}"}
            return JSONResponse(content, status, headers={"cache-control": "no-store"})

        return endpoint

    async def _principal(self, request: Request) -> Principal:
        """The principal of a request for what is its own; anonymous while access control is off."""
        if self._authenticator is None:
            return ANONYMOUS
        return await self._authenticator.authenticate(request.scope, Headers(request.scope["headers"]), "GET")

    async def quota(self, ports: Ports, request: Request) -> object:
        """What the client has used of its quotas: as an owner, or else by its address."""
        principal = await self._principal(request)
        if principal.is_anonymous and self._authenticator and not self._authenticator.policy.allows_anonymous:
            raise Unauthenticated
        if ports.quotas is None or ports.quota_ledger is None:
            raise ApiError(404, "quotas are off (quotas.enabled)")
        address = self._client_addresses.key(request.scope, Headers(request.scope["headers"]))
        subject = subject_of(principal.subject, address)
        limits = await ports.quota_ledger.find_limits(subject) or ports.quotas.limits_for(principal)
        now = ports.clock()
        usage = await ports.quota_ledger.usage(subject, ports.quotas.periods(now))
        return {"subject": subject, "quotas": quota_views(ports.quotas, usage, limits, now)}

    async def upload(self, ports: Ports, request: Request) -> object:
        authenticator, principal = self._authenticator, await self._principal(request)
        if authenticator is not None and principal.is_anonymous:
            raise Unauthenticated
        upload = await ports.records.find(request.path_params["upload_id"])
        is_hidden = (
            upload is not None
            and authenticator is not None
            and not authenticator.policy.permits(principal, Verb.INSPECT, upload)
        )
        if upload is None or is_hidden:
            raise ApiError(404, "no upload has this id")
        return upload_view(upload)

    async def jobs(self, ports: Ports, request: Request) -> object:
        states = request.query_params.getlist("state")
        if not set(states) <= set(JobState):
            raise ApiError(400, f"state must be one of {', '.join(JobState)}")
        jobs = await _job_queue(ports).list_jobs(
            states=[JobState(state) for state in states],
            upload_id=request.query_params.get("upload", ""),
            before_id=_number(request, "before", _NUMBER_MAX, _NUMBER_MAX),
            limit=_number(request, "limit", _LIMIT_DEFAULT, LIMIT_MAX),
        )
        return {"jobs": [job_view(job) for job in jobs]}

    async def job(self, ports: Ports, request: Request) -> object:
        job = await _job_queue(ports).find_job(_job_id(request))
        if job is None:
            raise ApiError(404, "no job has this number")
        return job_view(job)

    async def retry(self, ports: Ports, request: Request) -> object:
        if not await _job_queue(ports).requeue(_job_id(request), ports.clock()):
            raise ApiError(409, "no dead or waiting job has this number")
        return await self.job(ports, request)

    async def delete(self, ports: Ports, request: Request) -> object:
        if not await _job_queue(ports).delete_job(_job_id(request)):
            raise ApiError(409, "no job with this number can be deleted; a running job cannot")
        return {"dropped": _job_id(request)}

    async def events(self, ports: Ports, request: Request) -> object:
        """Events in order: the newest, or with ``after`` those that follow this place."""
        is_after = "after" in request.query_params
        events = await _job_queue(ports).list_events(
            after=_number(request, "after", 0, _NUMBER_MAX),
            upload_id=request.query_params.get("upload", ""),
            newest=not is_after,
            limit=_number(request, "limit", _LIMIT_DEFAULT, LIMIT_MAX),
        )
        return {"events": [{"place": place, **event_view(event)} for place, event in events]}

    async def endpoints(self, ports: Ports, request: Request) -> object:
        return {"endpoints": [endpoint_view(each) for each in await _endpoint_states(ports).list_closed()]}

    async def open_endpoint(self, ports: Ports, request: Request) -> object:
        name = request.path_params["name"]
        if not await _endpoint_states(ports).open_endpoint(name):
            raise ApiError(409, "no closed endpoint has this name")
        return {"opened": name}


def _endpoint_states(ports: Ports) -> EndpointStates:
    if ports.endpoint_states is None:
        raise ApiError(404, "records are kept in memory; webhooks need a database (records.url)")
    return ports.endpoint_states


def _job_queue(ports: Ports) -> JobQueue:
    if ports.job_queue is None:
        raise ApiError(404, "records are kept in memory; jobs and events need a database (records.url)")
    return ports.job_queue


def _job_id(request: Request) -> int:
    text = request.path_params["job_id"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise ApiError(404, "a job is named by its number")
    return int(text)


def _number(request: Request, name: str, default: int, value_max: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= value_max):
        raise ApiError(400, f"{name} must be a whole number, at most {value_max}")
    return int(text)
