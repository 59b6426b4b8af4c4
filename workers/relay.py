"""Takes jobs from the outbox to the actors: gives out what is due, keeps the leases, and stops in order.

No death loses a job: whoever has it when it dies leaves a lease that runs out. What it does may happen twice then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass

from tusd_py.contracts.jobs import Job, JobState
from tusd_py.contracts.outbox import JobLost
from tusd_py.contracts.records import RecordsError

from .attempts import Attempts, facts, told
from .broker import Channel

log = logging.getLogger(__name__)

#: Whoever makes a job pokes; but a poke may be lost.
_POLL_SECONDS = 1.0
_RUNNING_COUNTED_MAX = 1000


@dataclass(slots=True)
class Hand:
    """A job that this process answers for, and the task that does it once it has begun."""

    job: Job
    doing: asyncio.Task[None] | None = None
    is_lost: bool = False


class Relay:
    """One worker process's part. Everything in it runs on the loop of the actors."""

    def __init__(self, attempts: Attempts, channel: Channel, threads: int) -> None:
        self._attempts = attempts
        self._outbox = attempts.outbox
        self._clock = attempts.ports.clock
        self._channel = channel
        self._threads = threads
        self._hands: dict[int, Hand] = {}
        self._bell = asyncio.Event()
        self._ended = asyncio.Event()  # set each time a job of ours ends
        self._is_draining = False
        self._failing = ""

    def wake(self) -> None:
        """Look for jobs now."""
        self._bell.set()

    async def run(self) -> None:
        """Give out jobs until ``stop``; errors of the database and of the broker are waited out."""
        renewing = asyncio.create_task(self._keep_renewing())
        try:
            while not self._is_draining:
                self._bell.clear()
                try:
                    while not self._is_draining and await self._give_out():
                        pass
                    self._failing = ""
                    await self._rest()
                except (RecordsError, ConnectionError) as error:
                    if self._failing != type(error).__name__:
                        self._failing = type(error).__name__
                        log.warning("no jobs can be given out; it is tried again", extra={"reason": told(error)})
                    await asyncio.sleep(_POLL_SECONDS)
            while self._hands:
                await self._another_end()
        finally:
            renewing.cancel()

    async def stop(self) -> None:
        """Give out nothing more, and give back what has not begun; ``run`` returns when the last actor has."""
        self._is_draining = True
        self._bell.set()
        for hand in [hand for hand in self._hands.values() if hand.doing is None]:
            self._let_go(hand)
            await self._attempts.give_back(hand.job, hand.job.error)

    async def perform(self, job_id: int, token: int) -> None:
        """Do a job that was given out. One that has been given to somebody else since is left alone."""
        hand = await self._take(job_id, token)
        if hand is None:
            return
        hand.doing = asyncio.current_task()
        try:
            await self._attempts.make(hand.job)
        except asyncio.CancelledError:
            if hand.is_lost:
                self._attempts.tally.lost += 1
                return
            await asyncio.shield(self._interrupted(hand.job))
            raise
        finally:
            self._let_go(hand)

    async def _interrupted(self, job: Job) -> None:
        if self._is_draining:
            await self._attempts.give_back(job, "its worker was stopped")
        else:
            seconds = self._attempts.settings.worker.time_limit_seconds
            await self._attempts.again(job, f"it took longer than {seconds:g} s (worker.time_limit_seconds)", None)

    async def _give_out(self) -> bool:
        """Claim jobs for half of the room there is, and hand them to the actors; whether there may be more."""
        room, full = await self._room()
        if room <= 0:
            return False
        now = self._clock()
        # What one consumer leaves to the others is counted anew for the next claim.
        jobs = await self._outbox.claim(now, now + self._attempts.lease, (room + 1) // 2, full)
        for job in jobs:
            if await self._attempts.can_be_made(job):
                await self._hand_over(job)
        return bool(jobs)

    async def _room(self) -> tuple[int, frozenset[str]]:
        """How many jobs can be given out, and the consumers that have had their share.

        A consumer gets no more than it leaves for all others: however slow it is, they get on.
        """
        capacity = self._threads * await self._channel.workers(self._attempts.lease.total_seconds())
        jobs = await self._running() if self._channel.is_shared else [hand.job for hand in self._hands.values()]
        room = capacity - len(jobs)
        counts = Counter(job.consumer for job in jobs)
        return room, frozenset(name for name, count in counts.items() if count >= room)

    async def _running(self) -> list[Job]:
        """The jobs that any worker has a lease of."""
        now = self._clock()
        running = await self._outbox.list_jobs(states=(JobState.RUNNING,), limit=_RUNNING_COUNTED_MAX)
        return [job for job in running if job.next_attempt_at > now]

    async def _hand_over(self, job: Job) -> None:
        if self._is_draining:
            await self._attempts.give_back(job, job.error)
            return
        if not self._channel.is_shared:
            self._hands[job.id] = Hand(job)
        try:
            await self._channel.put(job)
        except ConnectionError:
            await self._attempts.give_back(job, "the broker could not be reached")
            raise

    async def _take(self, job_id: int, token: int) -> Hand | None:
        hand = self._hands.get(job_id)
        if hand is None and self._channel.is_shared and not self._is_draining:
            job = await self._outbox.find_job(job_id)
            if job is not None and job.state is JobState.RUNNING:
                hand = self._hands.setdefault(job_id, Hand(job))
        return hand if hand is not None and hand.job.token == token and hand.doing is None else None

    def _let_go(self, hand: Hand) -> None:
        if self._hands.get(hand.job.id) is hand:
            del self._hands[hand.job.id]
        self._bell.set()
        self._ended.set()

    async def _another_end(self) -> None:
        self._ended.clear()
        await self._ended.wait()

    async def _rest(self) -> None:
        """Wait for a poke, for the time of the next job, or for a second."""
        if self._bell.is_set():
            return
        due = await self._outbox.next_due()
        seconds = _POLL_SECONDS if due is None else (due - self._clock()).total_seconds()
        # What is due and was not given out waits for room, or for an earlier one of its lane: their ends poke.
        seconds = min(seconds, _POLL_SECONDS) if seconds > 0 else _POLL_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await self._bell.wait()
        except TimeoutError:
            return

    async def _keep_renewing(self) -> None:
        """Every third of a lease, renew those of all jobs in hand; an actor that has lost its job is stopped."""
        while True:
            await asyncio.sleep(self._attempts.lease.total_seconds() / 3)
            await asyncio.gather(*(self._renew(hand) for hand in list(self._hands.values())))

    async def _renew(self, hand: Hand) -> None:
        try:
            await self._attempts.renew(hand.job)
        except JobLost:
            if self._hands.get(hand.job.id) is not hand:
                return  # it ended meanwhile
            log.warning("a job was lost to another worker", extra=facts(hand.job))
            hand.is_lost = True
            if hand.doing is None:
                self._let_go(hand)
            else:
                hand.doing.cancel()
        except RecordsError as error:
            log.warning("a lease could not be renewed", extra={**facts(hand.job), "reason": told(error)})
