"""What was collected: messages and events, each with a number that grows with every change. Its own small database."""

import threading
import time
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import JSON, BigInteger, String, delete, func, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pickup_learn import acts
from pickup_learn.join import Message, Row, join, key_of
from pickup_web.database import add_rows, relax

KEEP = 10_000  # joined messages, and as many events; older ones are deleted
NEWEST = 500  # messages that a page starts with
SESSIONS = 50  # IdP sessions on the session map
ROUNDS = 4  # how far links are followed from a new message: code → state → sid …

Event = dict[str, Any]
Place = tuple[int, int]  # id and time of the last row that was read


class Base(DeclarativeBase):
    """The tables of this service."""


class CollectedMessage(Base):
    """One joined message."""

    __tablename__ = "collected_message"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(255), unique=True)
    content: Mapped[Message] = mapped_column(JSON)


class Link(Base):
    """By what the messages of one act or session are found, such as ``state:…``."""

    __tablename__ = "link"

    value: Mapped[str] = mapped_column(String(300), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True, index=True)


class CollectedEvent(Base):
    """One named event of a service."""

    __tablename__ = "collected_event"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(255), unique=True)
    name: Mapped[str] = mapped_column(String(80))
    sid: Mapped[str | None] = mapped_column(String(255), index=True)
    content: Mapped[Event] = mapped_column(JSON)


class Person(Base):
    """A user name that a message told."""

    __tablename__ = "person"

    sub: Mapped[str] = mapped_column(String(255), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))


class Cursor(Base):
    """How far a service's record was read. The time tells us when a reset has begun the ids again."""

    __tablename__ = "cursor"

    source: Mapped[str] = mapped_column(String(80), primary_key=True)  # such as idp/messages
    last_id: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[int] = mapped_column(BigInteger)


class Record:
    """Everything that was collected. One writer at a time; :meth:`wait` returns after each change."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = threading.Lock()
        self._changed = threading.Condition()
        self._version = 0
        self._last: int | None = None
        self._sources: set[str] = set()  # those that have a place; they lose it by a reset, in another process
        self.resets = 0  # how often that was noticed

    # --- what the collector writes ---

    def place(self, source: str) -> Place | None:
        """The last row of that source; None at the start, and after a reset of our own."""
        with Session(self._engine) as session:
            cursor = session.get(Cursor, source)
        if cursor is None and source in self._sources:
            self._sources.clear()
            self.resets += 1
            self.tell()
        return (cursor.last_id, cursor.last_at) if cursor else None

    def forget_place(self, source: str) -> None:
        """Read that source again from its beginning; what is known already stays as it is."""
        with self._writing, Session(self._engine) as session, session.begin():
            session.execute(delete(Cursor).where(Cursor.source == source))
            self._sources.discard(source)

    def skip(self, source: str, row: Row) -> None:
        """Leave this row out; the next poll begins behind it."""
        with self._writing, Session(self._engine) as session, session.begin():
            self._move(session, source, [row])

    def add_messages(self, source: str, rows: list[Row]) -> None:
        """Join these rows with the messages they belong to, and name the acts again that changed by it."""
        if not rows:
            return
        with self._writing, Session(self._engine) as session, session.begin():
            relax(session)
            known = load(session, {key_of(row) for row in rows})
            batch = dict(known)
            for row in rows:
                batch[key_of(row)] = join(batch.get(key_of(row)), row)
            new = {key: message for key, message in batch.items() if message is not known.get(key)}
            remember_people(session, new.values())
            self._store(session, neighbours(session, new), new)
            self._move(session, source, rows)
            prune(session, CollectedMessage)
        self.tell()

    def add_events(self, source: str, rows: list[Row]) -> None:
        """Add the events; the reason of an ending may give its act another name."""
        if not rows:
            return
        service = source.partition("/")[0]
        with self._writing, Session(self._engine) as session, session.begin():
            relax(session)
            events = {f"{service}.{row['at']}.{row['id']}": {**row, "service": service} for row in rows}
            there = set(session.scalars(select(CollectedEvent.key).where(CollectedEvent.key.in_(events))))
            new = {key: event for key, event in events.items() if key not in there}
            rows_to_add = [
                {"seq": seq, "key": key, "name": event["name"], "sid": event["sid"], "content": {**event, "seq": seq}}
                for key, event in new.items()
                for seq in [self._next(session)]
            ]
            add_rows(session, CollectedEvent, rows_to_add)
            ended = {f"sid:{event['sid']}" for event in new.values() if event["name"] == "op.session.ended"}
            if ended:
                self._store(session, load(session, keys_by(session, ended)), {})
            self._move(session, source, rows)
            prune(session, CollectedEvent)
        self.tell()

    def _store(self, session: Session, around: dict[str, Message], new: dict[str, Message]) -> None:
        """Write what is new, and those around it whose act has changed."""
        batch = {**around, **new}
        sids = {message["sid"] for message in batch.values() if message.get("sid")}
        people = {message["sub"] for message in batch.values() if message.get("sub")}
        given = acts.assign(
            list(batch.values()),
            reasons(session, sids),
            {person.sub: person.name for person in session.scalars(select(Person).where(Person.sub.in_(people)))},
            f"a{self._next(session)}",
        )
        changed = [
            {**message, "act": given[key]}
            for key, message in batch.items()
            if key in new or message.get("act") != given[key]
        ]
        keys = [message["key"] for message in changed]
        for model in (CollectedMessage, Link):
            session.execute(delete(model).where(model.key.in_(keys)))
        numbered = [{**message, "seq": self._next(session)} for message in acts.in_order(changed)]
        add_rows(
            session,
            CollectedMessage,
            [{"seq": message["seq"], "key": message["key"], "content": message} for message in numbered],
        )
        links = [
            {"value": link, "key": message["key"]}
            for message in numbered
            for link in {*acts.links_of(message), person_link(message["act"]["person"])}
        ]
        add_rows(session, Link, links)

    def _move(self, session: Session, source: str, rows: list[Row]) -> None:
        """The next poll begins behind the last of these rows."""
        session.merge(Cursor(source=source, last_id=rows[-1]["id"], last_at=rows[-1]["at"]))
        self._sources.add(source)

    def _next(self, session: Session) -> int:
        """A number that grows, also over restarts and resets: it is at least the time in milliseconds."""
        if self._last is None:
            self._last = last_of(session)
        self._last = max(self._last + 1, int(time.time() * 1000))
        return self._last

    # --- what the API reads ---

    def last(self) -> int:
        """The number of the newest message or event."""
        with Session(self._engine) as session:
            return last_of(session)

    def newest(self, limit: int = NEWEST, since: int = 0) -> list[Message]:
        """The newest messages, oldest first; with ``since`` none that was complete before this time in milliseconds."""
        query = select(CollectedMessage.content).where(CollectedMessage.seq > since)  # see _next
        query = query.order_by(CollectedMessage.seq.desc()).limit(limit)
        with Session(self._engine) as session:
            return list(session.scalars(query))[::-1]

    def messages_after(self, seq: int, limit: int = NEWEST) -> list[Message]:
        """Those that are new or have changed since ``seq``."""
        query = select(CollectedMessage.content).where(CollectedMessage.seq > seq).order_by(CollectedMessage.seq)
        with Session(self._engine) as session:
            return list(session.scalars(query.limit(limit)))

    def events_after(self, seq: int, limit: int = NEWEST) -> list[Event]:
        """The events since ``seq``."""
        query = select(CollectedEvent.content).where(CollectedEvent.seq > seq).order_by(CollectedEvent.seq)
        with Session(self._engine) as session:
            return list(session.scalars(query.limit(limit)))

    def message(self, key: str) -> Message | None:
        """One message."""
        with Session(self._engine) as session:
            return session.scalar(select(CollectedMessage.content).where(CollectedMessage.key == key))

    def act(self, message: Message) -> list[Message]:
        """The messages of this one's act and session, itself among them."""
        with Session(self._engine) as session:
            around = neighbours(session, {message["key"]: message})
        return [message, *(one for one in around.values() if one["act"]["id"] == message["act"]["id"])]

    def newest_of(self, kinds: Collection[str], limit: int, sid: str | None = None) -> list[Message]:
        """The newest messages of these kinds, the newest first; with ``sid`` those of one session."""
        kind = CollectedMessage.content["kind"].as_string()
        at = CollectedMessage.content["at"].as_float()  # integers have 32 bits in PostgreSQL
        query = select(CollectedMessage.content).where(kind.in_(kinds)).order_by(at.desc()).limit(limit)
        if sid is not None:
            of_session = select(Link.key).where(Link.value == f"sid:{sid}")
            query = query.where(CollectedMessage.key.in_(of_session))
        with Session(self._engine) as session:
            return list(session.scalars(query))

    def messages_of(self, person: str) -> list[Message]:
        """The messages of this person's acts; the empty name: of the acts that have no person."""
        keys = select(Link.key).where(Link.value == person_link(person))
        with Session(self._engine) as session:
            return list(session.scalars(select(CollectedMessage.content).where(CollectedMessage.key.in_(keys))))

    def people_since(self, seq: int) -> tuple[set[str], int]:
        """Whose acts have messages that are new or changed since ``seq``, and the number of the newest of these."""
        of_person = (Link.key == CollectedMessage.key) & Link.value.startswith(person_link(""), autoescape=True)
        query = select(Link.value, func.max(CollectedMessage.seq)).join(Link, of_person)
        with Session(self._engine) as session:
            found = session.execute(query.where(CollectedMessage.seq > seq).group_by(Link.value)).all()
        people = {value.removeprefix(person_link("")) for value, _ in found}
        return people, max((last for _, last in found), default=seq)

    def latest_sessions(self, kinds: Collection[str]) -> tuple[list[Event], list[Message], dict[str, str]]:
        """The events of the newest IdP sessions, their messages of these kinds, and the people's names."""
        newest = (
            select(CollectedEvent.sid)
            .where(CollectedEvent.sid.is_not(None))
            .group_by(CollectedEvent.sid)
            .order_by(func.max(CollectedEvent.seq).desc())
            .limit(SESSIONS)
        )
        with Session(self._engine) as session:
            sids = list(session.scalars(newest))
            events = list(session.scalars(select(CollectedEvent.content).where(CollectedEvent.sid.in_(sids))))
            keys = select(Link.key).where(Link.value.in_([f"sid:{sid}" for sid in sids]))
            kind = CollectedMessage.content["kind"].as_string()
            messages = select(CollectedMessage.content).where(CollectedMessage.key.in_(keys), kind.in_(kinds))
            people = {person.sub: person.name for person in session.scalars(select(Person))}
            return events, list(session.scalars(messages)), people

    # --- telling ---

    @property
    def version(self) -> int:
        """Another one after each change."""
        return self._version

    def tell(self) -> None:
        """Wake all who wait."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def wait(self, version: int, seconds: float) -> bool:
        """Until there is another version than this; False when the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: self._version != version, seconds)


def load(session: Session, keys: Collection[str]) -> dict[str, Message]:
    """The messages of these keys."""
    found: dict[str, Message] = {}
    for part in parts(keys):
        for message in session.scalars(select(CollectedMessage.content).where(CollectedMessage.key.in_(part))):
            found[message["key"]] = message
    return found


def keys_by(session: Session, links: Collection[str]) -> set[str]:
    """The messages that have one of these links."""
    return {key for part in parts(links) for key in session.scalars(select(Link.key).where(Link.value.in_(part)))}


def neighbours(session: Session, messages: dict[str, Message]) -> dict[str, Message]:
    """The messages of the same acts and sessions, these not among them."""
    found: dict[str, Message] = {}
    seen: set[str] = set()
    latest: Collection[Message] = messages.values()
    for _ in range(ROUNDS):
        links = {link for message in latest for link in acts.links_of(message)} - seen
        seen |= links
        keys = keys_by(session, links) - messages.keys() - found.keys()
        if not keys:
            break
        more = load(session, keys)
        found |= more
        latest = more.values()
    return found


def reasons(session: Session, sids: Collection[str]) -> dict[str, str]:
    """Why these sessions ended."""
    ended = CollectedEvent.name == "op.session.ended"
    found = {}
    for part in parts(sids):
        for event in session.scalars(select(CollectedEvent.content).where(ended, CollectedEvent.sid.in_(part))):
            found[event["sid"]] = event["outcome"]
    return found


def person_link(person: str | None) -> str:
    """Marks the messages of a person's acts. It ties no messages together, so it is not among ``links_of``."""
    return f"person:{person or ''}"


def remember_people(session: Session, messages: Iterable[Message]) -> None:
    for message in messages:
        for sub, name in acts.people_in(message).items():
            session.merge(Person(sub=sub, name=name))
    session.flush()


def prune(session: Session, model: type[CollectedMessage] | type[CollectedEvent]) -> None:
    """Keep the newest :data:`KEEP` rows."""
    oldest = session.scalar(select(model.seq).order_by(model.seq.desc()).offset(KEEP).limit(1))
    if oldest is None:
        return
    if model is CollectedMessage:
        old = select(model.key).where(model.seq <= oldest)
        session.execute(delete(Link).where(Link.key.in_(old)))
    session.execute(delete(model).where(model.seq <= oldest))


def last_of(session: Session) -> int:
    return max(session.scalar(select(func.max(model.seq))) or 0 for model in (CollectedMessage, CollectedEvent))


def parts(values: Collection[str], size: int = 500) -> Iterable[list[str]]:
    """``values`` in lists that fit into one statement."""
    all_of_them = list(values)
    return (all_of_them[start : start + size] for start in range(0, len(all_of_them), size))
