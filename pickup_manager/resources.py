"""The three resources: their texts and fields. crud.py generates the pages from them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pickup_manager.models import Base, Driver, Passenger, Vehicle
from pickup_web.forms import Field, choice, day, email, number, pattern, phone, text


@dataclass(frozen=True)
class Resource:
    """A table and its pages. The first field is the key: set when a row is added, fixed afterwards."""

    model: type[Base]
    singular: str
    plural: str
    icon: str
    about: str
    title_field: str  # the field with the display name
    fields: Sequence[Field]


TYPE_NAMES = ("Sedan", "Estate", "Van", "Minibus", "Electric")
VEHICLE_TYPES = [("", "Choose a type"), *((name, name) for name in TYPE_NAMES)]
CONTACT = Field("contact", "Contact number", phone, hint="With the country code: +1 202 555 0143", kind="tel")


def key(label: str, regex: str, shape: str) -> Field:
    """The key field."""
    return Field("id", label, pattern(regex, f"Enter {shape}."), hint=f"{shape[0].upper()}{shape[1:]}")


DRIVERS = Resource(
    model=Driver,
    singular="driver",
    plural="drivers",
    icon="wheel",
    about="Who drives for Pickup. Dispatch offers these names for bookings.",
    title_field="name",
    fields=[
        key("Driver ID", "D[0-9]{4}", "D and four digits, such as D0081"),
        Field("name", "Name", text("the driver's name")),
        CONTACT,
        Field("license", "License", pattern("[A-Z0-9-]{5,20}", "Enter 5 to 20 letters, digits or hyphens.")),
        Field("joined", "Joined", day, kind="date"),
    ],
)

VEHICLES = Resource(
    model=Vehicle,
    singular="vehicle",
    plural="vehicles",
    icon="cab",
    about="Every cab of the fleet, by its plate.",
    title_field="id",
    fields=[
        key("Plate", "[A-Z0-9-]{3,12}", "3 to 12 letters, digits or hyphens, such as PKP-107"),
        Field("model", "Make and model", text("make and model")),
        Field("type", "Type", choice(VEHICLE_TYPES, "Choose a type."), kind="select", choices=VEHICLE_TYPES),
        Field("seats", "Seats", number(1, 60), hint="For passengers, not counting the driver's", kind="number"),
    ],
)

PASSENGERS = Resource(
    model=Passenger,
    singular="passenger",
    plural="passengers",
    icon="people",
    about="Who has an account with Pickup.",
    title_field="name",
    fields=[
        key("Passenger ID", "P[0-9]{4}", "P and four digits, such as P0107"),
        Field("name", "Name", text("the passenger's name")),
        CONTACT,
        Field("email", "Email", email, kind="email"),
    ],
)

RESOURCES = {resource.plural: resource for resource in (DRIVERS, VEHICLES, PASSENGERS)}
