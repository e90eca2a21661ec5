"""The server as a whole: its databases and its logins."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

from etl_cli.sandbox.standin.errors import SqlError, login_failed
from etl_cli.sandbox.standin.session import Login
from etl_cli.sandbox.standin.store.database import Database

SYSTEM_DATABASES = ("master", "tempdb", "model", "msdb")
FIRST_SPID = 51
POLL_S = 0.05


class Instance:
    """Databases by lower-case name, logins with their passwords, session numbers."""

    def __init__(self, user: str, password: str, *, allow_snapshot: bool = True) -> None:
        self.administrator = user
        self.allow_snapshot = allow_snapshot
        self.databases: dict[str, Database] = {}
        self._passwords = {user.lower(): password}
        self._spids = itertools.count(FIRST_SPID)
        self._latch = threading.Lock()
        self.closing = threading.Event()
        for name in SYSTEM_DATABASES:
            self.create_database(name)

    def next_spid(self) -> int:
        """Return a session number."""
        return next(self._spids)

    def sleep(self, seconds: float, check: Callable[[], None]) -> None:
        """Sleep unless the server stops; check is called all the while and may raise."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self.closing.wait(min(left, POLL_S)):
            check()

    def create_database(self, name: str) -> Database:
        """Add a database; 1801 when it is there."""
        with self._latch:
            if name.lower() in self.databases:
                raise SqlError(1801, f"Database '{name}' already exists. Choose a different database name.", state=3)
            made = Database(name, len(self.databases) + 1, allow_snapshot=self.allow_snapshot)
            self.databases[name.lower()] = made
            return made

    def database(self, name: str) -> Database:
        """Return a database; 911 when there is none of that name."""
        found = self.databases.get(name.lower())
        if found is None:
            raise SqlError(911, f"Database '{name}' does not exist. Make sure that the name is entered correctly.")
        return found

    def create_login(self, name: str, password: str) -> None:
        """Add a login; 15025 when it is there."""
        if name.lower() in self._passwords:
            raise SqlError(15025, f"The server principal '{name}' already exists.")
        self._passwords[name.lower()] = password

    def drop_login(self, name: str) -> None:
        """Remove a login; 15151 when it is not there."""
        if self._passwords.pop(name.lower(), None) is None:
            raise SqlError(15151, f"Cannot drop the login '{name}', because it does not exist.")

    def authenticate(self, user: str, password: str) -> Login:
        """Return who logs in; 18456 for a wrong name or password."""
        expected = self._passwords.get(user.lower())
        if expected is None or expected != password:
            raise login_failed(user)
        return Login(user, user.lower() == self.administrator.lower())
