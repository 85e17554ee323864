"""Rights for PostgreSQL roles that may each do one part: collect, load, or read.

The roles themselves are made by whoever looks after the server (`CREATE ROLE … LOGIN`); here they get what their part
needs of our schema, and nothing else. What later versions add is covered by default privileges, so an upgrade takes no
second grant. Tables are made and changed by their owner alone: the role that runs `db upgrade`.
"""

from enum import StrEnum

import sqlalchemy as sa
from psycopg import sql

from sensor_platform.database.raw import cursor
from sensor_platform.database.tables import (
    SCHEMA,
    collector_connection,
    collector_control,
    collector_heartbeat,
    collector_subscription,
    subscription,
)
from sensor_platform.errors import ConfigurationError


class Part(StrEnum):
    """What a role may do."""

    COLLECTOR = "collector"
    LOADER = "loader"
    READER = "reader"


#: What a collector says of itself.
_OWN = (collector_heartbeat, collector_subscription, collector_connection)
#: What it is told.
_TOLD = (collector_control, subscription)
_CHANGE = "SELECT, INSERT, UPDATE, DELETE"


def grant(connection: sa.Connection, role: str, part: Part) -> None:
    """Gives `role` the rights of `part`, and takes any other right on our schema away. May be repeated.

    Raises:
        ConfigurationError: there is no such role, or it owns the tables, so that no right could be withheld.
    """
    names = {"role": role, "schema": SCHEMA, "owner": _owner(connection, role)}
    with cursor(connection) as cur:
        for statement in (*_NOTHING, *_STATEMENTS[part]):
            cur.execute(sql.SQL(statement).format(**{name: sql.Identifier(value) for name, value in names.items()}))


def _owner(connection: sa.Connection, role: str) -> str:
    """Who owns the schema: what that role makes later is covered, whoever grants."""
    found = connection.execute(_FIND, {"role": role, "schema": SCHEMA}).one_or_none()
    if found is None:
        raise ConfigurationError(f'there is no role "{role}": CREATE ROLE "{role}" LOGIN PASSWORD \'…\' makes one')
    if found.is_owner:
        raise ConfigurationError(
            f'"{role}" owns the schema {SCHEMA}, or is a superuser: no right can be withheld from it; name another role'
        )
    return str(found.owner)


def _on(tables: tuple[sa.Table, ...], rights: str) -> str:
    return f"GRANT {rights} ON {', '.join(map(str, tables))} TO {{role}}"


_FIND = sa.text("""
    SELECT rolsuper OR pg_roles.oid = nspowner AS is_owner, pg_get_userbyid(nspowner) AS owner
    FROM pg_roles LEFT JOIN pg_namespace ON nspname = :schema
    WHERE rolname = :role""")
_NOTHING = (
    "REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}",
    "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM {role}",
    "REVOKE ALL ON SCHEMA {schema} FROM {role}",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} REVOKE ALL ON TABLES FROM {role}",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} REVOKE ALL ON FUNCTIONS FROM {role}",
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
)
_STATEMENTS = {
    Part.COLLECTOR: (_on(_OWN, _CHANGE), _on(_TOLD, "SELECT")),
    Part.LOADER: (
        f"GRANT {_CHANGE} ON ALL TABLES IN SCHEMA {{schema}} TO {{role}}",
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role}",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {{owner}} IN SCHEMA {{schema}} GRANT {_CHANGE} ON TABLES TO {{role}}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT EXECUTE ON FUNCTIONS TO {role}",
        f"REVOKE INSERT, UPDATE, DELETE ON {', '.join(map(str, _OWN))} FROM {{role}}",
        "REVOKE INSERT, UPDATE, DELETE ON {schema}.alembic_version FROM {role}",
    ),
    Part.READER: (
        "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {role}",
    ),
}
