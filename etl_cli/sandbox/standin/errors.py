"""Errors as SQL Server numbers them, and the one for everything that the stand-in does not do."""

from __future__ import annotations

# These roll the transaction back and end the batch, as on SQL Server without TRY/CATCH; the others that are
# listed in STATEMENT_ONLY let the next statement of the batch run, and the rest just end the batch.
ROLLS_BACK = frozenset({241, 242, 245, 1205, 3952, 3960, 3961, 8114})
STATEMENT_ONLY = frozenset({220, 229, 515, 544, 1222, 2601, 2627, 2628, 8115, 8134, 8152, 5074, 4922})


class SqlError(Exception):
    """An error that goes to the client as an ERROR token: number, state, class (severity), text, line."""

    def __init__(self, number: int, message: str, *, severity: int = 16, state: int = 1, line: int = 1) -> None:
        self.number = number
        self.message = message
        self.severity = severity
        self.state = state
        self.line = line
        super().__init__(number, message)

    @property
    def rolls_back(self) -> bool:
        """Whether the open transaction is lost with this error."""
        return self.number in ROLLS_BACK

    @property
    def ends_batch(self) -> bool:
        """Whether the statements behind the failed one are skipped."""
        return self.number not in STATEMENT_ONLY


class ConnectionClosedError(Exception):
    """The client has gone, or a fault cut the link."""


class CancelledError(Exception):
    """The client sent ATTENTION while its statement was under way."""


def not_supported(piece: str, line: int = 1) -> SqlError:
    """Return the answer to everything that is not understood: 50000, never a guess."""
    return SqlError(50000, f"stand-in: not supported: {piece}", line=line)


def syntax(near: str, line: int = 1) -> SqlError:
    """Return 102."""
    return SqlError(102, f"Incorrect syntax near '{near}'.", severity=15, line=line)


def invalid_object(name: str, line: int = 1) -> SqlError:
    """Return 208."""
    return SqlError(208, f"Invalid object name '{name}'.", line=line)


def invalid_column(name: str) -> SqlError:
    """Return 207."""
    return SqlError(207, f"Invalid column name '{name}'.")


def conversion_failed(value: str, source: str, target: str) -> SqlError:
    """Return 245, for text that is no number of the wanted type."""
    return SqlError(245, f"Conversion failed when converting the {source} value '{value}' to data type {target}.")


def conversion_error(source: str, target: str) -> SqlError:
    """Return 8114."""
    return SqlError(8114, f"Error converting data type {source} to {target}.", state=5)


def temporal_conversion_failed() -> SqlError:
    """Return 241."""
    return SqlError(241, "Conversion failed when converting date and/or time from character string.")


def overflow(target: str) -> SqlError:
    """Return 8115."""
    return SqlError(8115, f"Arithmetic overflow error converting expression to data type {target}.", state=2)


def small_overflow(target: str, value: int) -> SqlError:
    """Return 220, the overflow of tinyint and smallint."""
    return SqlError(220, f"Arithmetic overflow error for data type {target}, value = {value}.", state=2)


def implicit_conversion_refused(source: str, target: str) -> SqlError:
    """Return 529, for a pair of types between which no conversion exists."""
    return SqlError(529, f"Explicit conversion from data type {source} to {target} is not allowed.", state=2)


def truncated(table: str, column: str, value: str) -> SqlError:
    """Return 2628."""
    return SqlError(
        2628,
        f"String or binary data would be truncated in table '{table}', column '{column}'. Truncated value: '{value}'.",
    )


def duplicate_key(constraint: str | None, index: str, table: str, key: str) -> SqlError:
    """Return 2627 for a constraint, 2601 for a unique index."""
    if constraint is not None:
        return SqlError(
            2627,
            f"Violation of {constraint} constraint '{index}'. Cannot insert duplicate key in object "
            f"'{table}'. The duplicate key value is ({key}).",
            severity=14,
        )
    return SqlError(
        2601,
        f"Cannot insert duplicate key row in object '{table}' with unique index '{index}'. "
        f"The duplicate key value is ({key}).",
        severity=14,
    )


def null_refused(column: str, table: str, action: str) -> SqlError:
    """Return 515; action is INSERT or UPDATE."""
    return SqlError(
        515,
        f"Cannot insert the value NULL into column '{column}', table '{table}'; column does not allow nulls. "
        f"{action} fails.",
        state=2,
    )


def permission_denied(action: str, name: str, database: str, schema: str) -> SqlError:
    """Return 229."""
    return SqlError(
        229,
        f"The {action} permission was denied on the object '{name}', database '{database}', schema '{schema}'.",
        severity=14,
        state=5,
    )


def login_failed(user: str) -> SqlError:
    """Return 18456."""
    return SqlError(18456, f"Login failed for user '{user}'.", severity=14)


def unknown_procedure(name: str) -> SqlError:
    """Return 2812."""
    return SqlError(2812, f"Could not find stored procedure '{name}'.", state=62)


def deadlock(spid: int) -> SqlError:
    """Return 1205."""
    return SqlError(
        1205,
        f"Transaction (Process ID {spid}) was deadlocked on lock resources with another process and has been "
        "chosen as the deadlock victim. Rerun the transaction.",
        severity=13,
        state=51,
    )


def lock_timeout() -> SqlError:
    """Return 1222."""
    return SqlError(1222, "Lock request time out period exceeded.", state=56)
