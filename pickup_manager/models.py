"""Manager's tables. Each row's ``id`` is the number or plate that users see."""

from datetime import date

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The base of Manager's tables; ``id`` is the key of each."""

    id: Mapped[str] = mapped_column(String(20), primary_key=True)


class Driver(Base):
    """A driver of the fleet."""

    __tablename__ = "driver"

    name: Mapped[str] = mapped_column(String(80))
    contact: Mapped[str] = mapped_column(String(30))
    license: Mapped[str] = mapped_column(String(20))
    joined: Mapped[date]


class Vehicle(Base):
    """A cab; its ``id`` is the plate."""

    __tablename__ = "vehicle"

    model: Mapped[str] = mapped_column(String(80))
    type: Mapped[str] = mapped_column(String(20))
    seats: Mapped[int]


class Passenger(Base):
    """A customer with an account at Pickup."""

    __tablename__ = "passenger"

    name: Mapped[str] = mapped_column(String(80))
    contact: Mapped[str] = mapped_column(String(30))
    email: Mapped[str] = mapped_column(String(254))
