"""The actors by name: one for each processing step, one for webhooks, and one for schedules."""

from tusd_py.model.steps import STEPS

from ..actor import Actor
from .schedules import schedules
from .steps import step_actor
from .webhooks import webhooks


def find_actors() -> dict[str, Actor]:
    """Every actor by its name, which is the ``actor`` of its jobs."""
    return {**{step.name: step_actor(step.name) for step in STEPS}, "webhooks": webhooks, "schedules": schedules}
