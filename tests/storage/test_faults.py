"""Which faults of a database have to be fixed, and which may pass."""

import pytest

from bot.errors import DatabaseUnavailable
from bot.storage.engines.faults import fix_for

FAILED = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '
USER, RIGHTS, TLS = "fix the user and the password", "let the user of DATABASE_URL", "fix sslmode"
PARAMETER, ADDRESS = "fix or remove that parameter", "fix the host and the port"


@pytest.mark.parametrize(
    ("message", "sqlstate", "fix"),
    [
        (f'{FAILED}FATAL:  password authentication failed for user "bot"', "", USER),
        (f"{FAILED}fe_sendauth: no password supplied", "", USER),
        (f'{FAILED}FATAL:  role "bot" is not permitted to log in', "", USER),
        (f'{FAILED}FATAL:  pg_hba.conf rejects connection for host "127.0.0.1"', "", RIGHTS),
        (f'{FAILED}FATAL:  permission denied for database "bot"', "", RIGHTS),
        (f"{FAILED}local user with ID 10001 does not exist", "", USER),
        (f"{FAILED}server does not support SSL, but SSL was required", "", TLS),
        (f'{FAILED}root certificate file "/nowhere" does not exist', "", TLS),
        (f"{FAILED}received invalid response to SSL negotiation: H", "", ADDRESS),
        ('FATAL:  unsupported startup parameter: options"', "", PARAMETER),
        ("FATAL:  no such database: bot", "", "create that database"),  # PgBouncer
        ("FATAL:  SSL required", "", TLS),  # PgBouncer
        ("transaction blocks not allowed in statement pooling mode", "08P01", "set pool_mode to"),  # PgBouncer
        ("FATAL:  Tenant or user not found", "", USER),  # Supabase
        ("FATAL:  (ESSLREQUIRED) SSL connection is required for user: bot", "", TLS),  # Supabase
        ("ERROR:  connection is insecure (try using `sslmode=require`)", "", TLS),  # Neon
        ("ERROR:  This IP address 192.0.2.1 is not allowed to connect to this endpoint", "", RIGHTS),  # Neon
        ("FATAL:  This RDS Proxy requires TLS connections", "", TLS),
        ("FATAL:  RDS Proxy currently doesn't support command-line options", "", PARAMETER),
        # By SQLSTATE, whatever language the server speaks; a connection that fails has none.
        ("keine Berechtigung für Schema public", "42501", RIGHTS),
        ("unknown function: pg_advisory_xact_lock()", "42883", ADDRESS),  # CockroachDB
        # A failover, a restart, a network, a full disk: these may pass.
        (f"{FAILED}Connection refused", "", None),
        (f"{FAILED}FATAL:  the database system is starting up", "", None),
        ("server conn crashed?", "08P01", None),
        (f'{FAILED}FATAL:  too many connections for role "bot"', "", None),
        (f'{FAILED}FATAL:  database "bot" is not currently accepting connections', "", None),
        ('FATAL:  database "bot" is disabled', "", None),  # PgBouncer
        ('connection to server at "tenant.certificate.invalid" failed: Connection refused', "", None),
        (f"{FAILED}session is read-only", "", None),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", "", None),
        ("connection timeout expired", "", None),
        ("SSL connection has been closed unexpectedly", "", None),
        ("the database system is shutting down", "57P03", None),
        ("cannot execute INSERT in a read-only transaction", "25006", None),
        ("could not extend file: No space left on device", "53100", None),
    ],
)
def test_what_has_to_be_fixed_comes_with_its_fix(message: str, sqlstate: str, fix: str | None) -> None:
    """What may pass has none."""
    found = fix_for(DatabaseUnavailable(message, sqlstate))

    assert found == fix if fix is None else found is not None and found.startswith(fix)
