"""Alembic runs this file in each command, for every schema. pickup_web/schema.py gives the options."""

from alembic import context

context.configure(**context.config.attributes["options"])
context.run_migrations()
