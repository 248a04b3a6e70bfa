"""The tables of Practice. Everything is kept for each person, so that no act touches another seat."""

from typing import Any

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from pickup_learn.record import Base


class PracticeSettings(Base):
    """How Practice behaves for one person."""

    __tablename__ = "practice_settings"

    sub: Mapped[str] = mapped_column(String(255), primary_key=True)
    values: Mapped[dict[str, Any]] = mapped_column(JSON)  # the settings that are not right; see settings.py
    conditions: Mapped[list[str]] = mapped_column(JSON)  # what a lab simulates around the app; see settings.py


class PracticeSession(Base):
    """A signed-in browser. An ended session stays, so that its tab can be told why."""

    __tablename__ = "practice_session"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)  # hash of the value in the cookie
    sub: Mapped[str] = mapped_column(String(255), index=True)
    sid: Mapped[str] = mapped_column(String(255), index=True)
    name: Mapped[str] = mapped_column(String(255))
    id_token: Mapped[str] = mapped_column(String(4096))  # the id_token_hint of a logout
    in_memory: Mapped[bool]  # of worker 1, where worker 2 does not find it
    started_at: Mapped[int] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str | None] = mapped_column(String(255))
    told_at: Mapped[int | None] = mapped_column(BigInteger)  # when an open tab learned of the end


class UsedToken(Base):
    """A logout token that was used, so that it is not used again (Back-Channel Logout §2.6)."""

    __tablename__ = "practice_used_token"

    sub: Mapped[str] = mapped_column(String(255), primary_key=True)
    jti: Mapped[str] = mapped_column(String(255), primary_key=True)
    sid: Mapped[str | None] = mapped_column(String(255), index=True)
    at: Mapped[int] = mapped_column(BigInteger)


class LabRun(Base):
    """When a person last started a lab. Its check counts only what happened later."""

    __tablename__ = "practice_lab_run"

    sub: Mapped[str] = mapped_column(String(255), primary_key=True)
    lab: Mapped[str] = mapped_column(String(80), primary_key=True)
    started_at: Mapped[int] = mapped_column(BigInteger)  # ms
