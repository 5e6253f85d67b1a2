"""What waiting can't fix is told from what may pass."""

import pytest

from bot.errors import DatabaseUnavailable
from bot.storage.faults import fix_for

FAILED = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("message", "sqlstate", "fix"),
    [
        (f'{FAILED}FATAL:  password authentication failed for user "bot"', "", "fix the user and the password"),
        (f"{FAILED}fe_sendauth: no password supplied", "", "fix the user and the password"),
        (f'{FAILED}FATAL:  role "bot" is not permitted to log in', "", "fix the user and the password"),
        (f'{FAILED}FATAL:  pg_hba.conf rejects connection for host "127.0.0.1"', "", "let the user of DATABASE_URL"),
        (f'{FAILED}FATAL:  permission denied for database "bot"', "", "let the user of DATABASE_URL"),
        (f'{FAILED}FATAL:  role "bot" does not exist', "", "fix the user and the password"),
        (f"{FAILED}local user with ID 10001 does not exist", "", "fix the user and the password"),
        (f"{FAILED}server does not support SSL, but SSL was required", "", "fix sslmode"),
        (f'{FAILED}root certificate file "/nowhere" does not exist', "", "fix sslmode"),
        (f"{FAILED}received invalid response to SSL negotiation: H", "", "fix the host and the port"),
        ('FATAL:  unsupported startup parameter: options"', "", "fix or remove that parameter"),
        ("FATAL:  SASL authentication failed", "", "fix the user and the password"),  # PgBouncer
        ("FATAL:  no such database: bot", "", "create that database"),  # PgBouncer
        ("FATAL:  SSL required", "", "fix sslmode"),  # PgBouncer
        ("transaction blocks not allowed in statement pooling mode", "08P01", "have the pooler"),  # PgBouncer
        ("FATAL:  Tenant or user not found", "", "fix the user and the password"),  # Supabase
        ("FATAL:  (ENOTFOUND) tenant/user bot.x not found", "", "fix the user and the password"),  # Supabase
        ("FATAL:  (ESSLREQUIRED) SSL connection is required for user: bot", "", "fix sslmode"),  # Supabase
        ("ERROR:  connection is insecure (try using `sslmode=require`)", "", "fix sslmode"),  # Neon
        ("ERROR:  This IP address 192.0.2.1 is not allowed to connect to this endpoint", "", "let the user"),  # Neon
        ("FATAL:  This RDS Proxy requires TLS connections", "", "fix sslmode"),
        ("FATAL:  RDS Proxy currently doesn't support command-line options", "", "fix or remove that parameter"),
        ("keine Berechtigung für Schema public", "42501", "let the user of DATABASE_URL"),
        ("es wurde kein Schema für die Erzeugung ausgewählt", "3F000", "create that schema"),
        ('relation "reload_model_reloads" already exists', "42P07", "use another database or schema"),
        ("unknown function: pg_advisory_xact_lock()", "42883", "fix the host and the port"),  # CockroachDB
    ],
)
def test_what_has_to_be_fixed_comes_with_its_fix(message: str, sqlstate: str, fix: str) -> None:
    """By SQLSTATE, whatever language the server speaks; a connection that fails has none."""
    found = fix_for(DatabaseUnavailable(message, sqlstate))

    assert found is not None
    assert found.startswith(fix)


@pytest.mark.parametrize(
    ("message", "sqlstate"),
    [
        (f"{FAILED}Connection refused", ""),
        (f"{FAILED}FATAL:  the database system is starting up", ""),
        (f"{FAILED}FATAL:  sorry, too many clients already", ""),
        (f'{FAILED}FATAL:  too many connections for role "bot"', ""),
        (f'{FAILED}FATAL:  too many connections for database "bot"', ""),
        (f'{FAILED}FATAL:  database "bot" is not currently accepting connections', ""),
        ('FATAL:  database "bot" is disabled', ""),  # PgBouncer
        ('connection to server at "tenant.certificate.invalid" failed: Connection refused', ""),
        ("failed to resolve host 'db.invalid': [Errno -2] Name or service not known", ""),
        (f"{FAILED}session is read-only", ""),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", ""),
        ("connection timeout expired", ""),
        ("SSL connection has been closed unexpectedly", ""),
        ("server conn crashed?", "08P01"),
        ("the database system is shutting down", "57P03"),
        ("cannot execute INSERT in a read-only transaction", "25006"),
        ("could not extend file: No space left on device", "53100"),
    ],
)
def test_what_may_pass_is_waited_for(message: str, sqlstate: str) -> None:
    """A failover, a restart, a network, a full disk."""
    assert fix_for(DatabaseUnavailable(message, sqlstate)) is None
