"""Dispatch's table of bookings. Times are seconds since the epoch."""

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Dispatch's tables."""


class Booking(Base):
    """A cab for a passenger.

    Drivers are stored in Manager, which may be down or may delete them, so the booking keeps the driver's
    name. ``created_by`` is the ``sub`` of the user who took the call.
    """

    __tablename__ = "booking"

    id: Mapped[int] = mapped_column(primary_key=True)
    driver_id: Mapped[str | None] = mapped_column(String(20))
    driver_name: Mapped[str | None] = mapped_column(String(80))
    passenger: Mapped[str] = mapped_column(String(80))
    contact: Mapped[str] = mapped_column(String(30))
    created_at: Mapped[int] = mapped_column(BigInteger, index=True)
    created_by: Mapped[str] = mapped_column(String(255))
    created_by_name: Mapped[str] = mapped_column(String(255))
    cancelled_at: Mapped[int | None] = mapped_column(BigInteger)
