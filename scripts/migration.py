"""``make migration OF=idp NAME="add a nickname"``: writes the migration from a package's newest revision to its models.

It needs no running service: it compares the models with a temporary database that all migrations have made.
"""

import re
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from alembic import command
from sqlalchemy import create_engine

from pickup_web.schema import Schema, alembic_config, upgrade


def write(schema: Schema, name: str) -> Path:
    """The new file: the next number, and the name."""
    number = f"{int(schema.newest) + 1:04}"
    with tempfile.TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{folder}/migrated.db")
        with engine.begin() as connection:
            upgrade(connection, schema)
            config = alembic_config(connection, schema)
            target = str(schema.migrations)
            command.revision(config, name, autogenerate=True, rev_id=number, version_path=target)
        engine.dispose()
    return next(schema.migrations.glob(f"{number}_*.py"))


def main() -> None:
    """Reads the package and the name from the command line."""
    if len(sys.argv) != 3 or not re.fullmatch(r"[A-Za-z][\w ,-]*", sys.argv[2]):
        sys.exit('Usage: make migration OF=idp NAME="add a nickname" (letters, digits, spaces)')
    write(import_module(sys.argv[1]).SCHEMA, sys.argv[2])


if __name__ == "__main__":
    main()
