"""Two requests at once on one upload (rows L1 to L5, D1, D2). All policy: the specification knows no locks."""

from __future__ import annotations

import re

from tests.conformance.case import POLICY, case
from tests.conformance.client import Stream, Tus
from tests.conformance.dialogue import Exchange
from tests.conformance.expectations import FOUND, GONE, at_most

_AREA = "concurrency"
_TAKEOVER = "A client whose connection died comes back while the server still waits on the old one."
_SOON_SECONDS = 1.0
#: Not 2xx, for it was cut short; not 409, 423 or 429, or two clients would push each other out endlessly.
_FINAL = tuple(status for status in range(400, 500) if status not in (409, 423, 429))


@case(
    "D1",
    POLICY,
    _AREA,
    "tus-js-client forgets the URL of an upload when HEAD is answered 4xx but 423, and restarts on 5xx.",
)
def head_beside_a_patch(tus: Tus) -> None:
    """HEAD during a stalled PATCH is answered with the offset, or 423 with `Retry-After`, and nothing else."""
    upload, stream = _hanging(tus)
    observed = tus.head(upload)
    if observed.status == 423:
        observed.expect(423, retry_after=..., upload_offset=None)
    else:
        observed.expect(FOUND, upload_offset=at_most(300))
    stream.wire.close()


@case("L1", POLICY, _AREA, "Interleaved writes are the one thing a resumable upload must exclude.")
def two_patches_at_one_offset(tus: Tus) -> None:
    """Of two PATCHes at one offset at most one succeeds, and the stored bytes are those of one of them alone."""
    upload = tus.create(20000)
    streams = [
        tus.begin_patch(upload, content_length=10000, upload_offset=0),
        tus.connect().begin(
            "PATCH", upload, content_type="application/offset+octet-stream", content_length=10000, upload_offset=0
        ),
    ]
    for _ in range(10):
        for stream, letter in zip(streams, (b"a", b"b"), strict=True):
            stream.wire.send(letter * 1000)
    answers = [stream.answer() for stream in streams]
    for answer in answers:
        answer.expect((204, *range(400, 500)))
    succeeded = [answer for answer in answers if answer.status == 204]
    answers[0].check("at most one 204", [answer.status for answer in answers], len(succeeded) <= 1)
    observed = tus.head(upload).expect(FOUND, upload_offset=at_most(10000)).number("Upload-Offset")
    for answer in succeeded:
        answer.expect(204, upload_offset=observed)
    tus.patch(upload, b"c" * (20000 - observed), upload_offset=observed).expect(204, upload_offset=20000)
    got = tus.get(upload)
    if got.status == 200:
        whole = re.fullmatch(rb"(a{%d}|b{%d})c*" % (observed, observed), got.body) is not None
        got.check(f"{observed} bytes of one PATCH alone, then the rest", repr(got.body[:20]), whole)


@case("L2a", POLICY, _AREA, _TAKEOVER)
def head_takes_over(tus: Tus) -> None:
    """HEAD during a stalled PATCH is answered within a second, with an offset that the next PATCH can use."""
    upload, stream = _hanging(tus)
    observed = tus.head(upload).expect(FOUND, upload_offset=at_most(300))
    _soon(observed)
    offset = observed.number("Upload-Offset")
    tus.patch(upload, b"y" * (1000 - offset), upload_offset=offset).expect(204, upload_offset=1000)
    stream.send(b"x" * 700)
    tus.head(upload).expect(FOUND, upload_offset=1000)
    tus.holds(upload, b"x" * offset + b"y" * (1000 - offset))


@case("L2b", POLICY, _AREA, _TAKEOVER)
def patch_takes_over(tus: Tus) -> None:
    """PATCH during a stalled PATCH is answered within a second, and late bytes of the stalled one change nothing."""
    upload = tus.create(1000)
    stream = tus.begin_patch(upload, content_length=1000, upload_offset=0)
    _soon(tus.patch(upload, b"y" * 500, upload_offset=0).expect(204, upload_offset=500))
    stream.send(b"x" * 1000)
    tus.head(upload).expect(FOUND, upload_offset=500)
    tus.patch(upload, b"y" * 500, upload_offset=500).expect(204, upload_offset=1000)
    tus.holds(upload, b"y" * 1000)


@case("L2c", POLICY, _AREA, _TAKEOVER, also=("termination",))
def delete_takes_over(tus: Tus) -> None:
    """DELETE during a stalled PATCH is answered within a second."""
    upload, _ = _hanging(tus)
    _soon(tus.delete(upload).expect(204))
    tus.head(upload).expect(GONE, upload_offset=None)


@case("L3", POLICY, _AREA, "A 2xx would acknowledge bytes that never came; a 409 or 423 would be tried again at once.")
def the_interrupted_patch_is_refused(tus: Tus) -> None:
    """The interrupted PATCH is answered 4xx (not 409, 423, 429), and its connection is closed."""
    upload, stream = _hanging(tus)
    tus.head(upload).expect(FOUND)
    stream.answer().expect(_FINAL)
    closed = stream.wire.is_closed_within(tus.subject.patience_seconds)
    tus.head(upload).expect(FOUND).check("the old connection is closed", closed, closed)


@case(
    "L5",
    POLICY,
    _AREA,
    "What was deleted must not come back by the bytes of a request that began before.",
    also=("termination",),
)
def no_return_after_deletion(tus: Tus) -> None:
    """A PATCH that was active when the upload was deleted is answered 4xx, and the upload stays deleted."""
    upload, stream = _hanging(tus)
    tus.delete(upload).expect(204)
    stream.send(b"x" * 700)
    stream.answer().expect(range(400, 500))
    tus.head(upload).expect(GONE, upload_offset=None)


@case("L7", POLICY, _AREA, "Reading does not change the upload.")
def concurrent_heads(tus: Tus) -> None:
    """Ten concurrent HEADs on one upload are all answered, with the same offset."""
    upload = tus.create(10, b"hello")
    lines = [tus.connect() for _ in range(10)]
    for line in lines:
        line.begin("HEAD", upload)
    for line in lines:
        line.answer().expect(FOUND, upload_offset=5)


@case("L8", POLICY, _AREA, "Uploads are independent of each other.")
def another_upload_meanwhile(tus: Tus) -> None:
    """A stalled PATCH does not affect the creation of other uploads and PATCHes on them."""
    _, stream = _hanging(tus)
    for _ in range(3):
        other = tus.create(5)
        _soon(tus.patch(other, b"hello", upload_offset=0).expect(204, upload_offset=5))
        _soon(tus.head(other).expect(FOUND, upload_offset=5))
    stream.wire.close()


def _hanging(tus: Tus) -> tuple[str, Stream]:
    """An upload with an active PATCH that has sent 300 of its 1000 bytes."""
    upload = tus.create(1000)
    return upload, tus.begin_patch(upload, content_length=1000, upload_offset=0).send(b"x" * 300)


def _soon(answer: Exchange) -> None:
    seconds = answer.seconds
    answer.check(f"within {_SOON_SECONDS:g} s", f"{seconds:.1f} s", seconds < _SOON_SECONDS)
