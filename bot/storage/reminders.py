"""Reminders: a direct message to a person before a model is unloaded. It counts from the model's last reload.

Each function runs inside one transaction of Database.run.
"""

from sqlalchemy import Connection, and_, delete, select

from bot.core.models import REMIND_AFTER, REST, JobKind, Place, Reload, Reminder
from bot.storage.database import now
from bot.storage.requests import add_job
from bot.storage.schema import is_reminder, jobs, reloads, to_reload, was_accepted


def add(connection: Connection, user_id: str, reload_id: str, place: Place) -> Reminder | None:
    """Add a reminder about a reload's model, unless there is one; None if that reload is unknown or wasn't accepted.

    place is where another reload is offered. If the time for the reminder has passed, it is due now.
    """
    model_id = connection.execute(
        select(reloads.c.model_id).where(reloads.c.id == reload_id, was_accepted)
    ).scalar_one_or_none()
    if model_id is None:
        return None
    if mine := [one for one in of_person(connection, user_id) if one.model_id == model_id]:
        return mine[0]
    last = last_accepted(connection, model_id)
    due_at = max(last.ready_by + REMIND_AFTER, now(connection))
    columns = {"user_id": user_id, "model_id": model_id, **place._asdict()}
    add_job(connection, last.id, JobKind.REMINDER, due_at, **columns)
    return Reminder(model_id, due_at)


def stop(connection: Connection, user_id: str, model_id: str) -> bool:
    """Delete a reminder, even one that is just being sent. Returns whether there was one."""
    mine = and_(is_reminder, jobs.c.user_id == user_id, jobs.c.model_id == model_id)
    return connection.execute(delete(jobs).where(mine)).rowcount > 0


def of_person(connection: Connection, user_id: str) -> list[Reminder]:
    """A person's reminders, by when their models should have been ready."""
    mine = (
        select(jobs.c.model_id, jobs.c.due_at)
        .join_from(jobs, reloads)
        .where(is_reminder, jobs.c.user_id == user_id)
        .order_by(reloads.c.ready_at, jobs.c.id)
    )
    return [Reminder(model_id, None if due_at == REST else due_at) for model_id, due_at in connection.execute(mine)]


def last_accepted(connection: Connection, model_id: str) -> Reload:
    """The last reload of a model that ModelsLab accepted. There must be one."""
    accepted = select(reloads).where(reloads.c.model_id == model_id, was_accepted)
    return to_reload(connection.execute(accepted.order_by(reloads.c.accepted_at.desc(), reloads.c.id).limit(1)).one())
