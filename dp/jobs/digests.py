"""sha256 of many files, computed anew only for those that changed, kept in `.cache/dp/digests.sqlite`."""

import hashlib
import json
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from dp import files
from dp.errors import UserError
from dp.jobs.record import parsed

FILE = Path(".cache", "dp", "digests.sqlite")
APPLICATION = 0x64706473  # says that a database is this one, in this layout
LAYOUT = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS records (digest TEXT PRIMARY KEY, outputs TEXT NOT NULL);
"""
SETTLED = 2 * 10**9
"""Nanoseconds: a file changed later than this before it was read may change again within one tick of its clock."""


class Digests:
    """`full`: believe nothing that was kept. `read`: files looked at; `hashed`: bytes hashed anew."""

    def __init__(self, full: bool = False, file: Path = FILE) -> None:
        self.full, self.file = full, file
        self.read = self.hashed = 0

    def of(self, names: Iterable[str]) -> dict[str, str]:
        """Name -> digest of its bytes, for those that are files, in their order."""
        stamps = {name: stamp for name in dict.fromkeys(names) if (stamp := _stamp(name))}
        kept = self._kept("SELECT path, stamp, digest FROM files WHERE path", stamps)
        known = {path: digest for path, stamp, digest in kept if stamp == stamps[path]}
        changed = [name for name in stamps if name not in known]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            hashed = [one for one in pool.map(_hashed, changed) if one]
        known |= {name: digest for name, _, digest, _ in hashed}
        self._keep("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", [one[:3] for one in hashed if one[1]])
        self.read += len(known)
        self.hashed += sum(size for *_, size in hashed)
        return {name: known[name] for name in stamps if name in known}

    def records(self, names: Iterable[str]) -> dict[str, tuple[str, dict[str, str] | None]]:
        """Name of a record.json -> its digest, and its outputs (name -> digest), or None where it is not sealed."""
        digests = self.of(names)
        kept = self._kept("SELECT digest, outputs FROM records WHERE digest", digests.values())
        known = {digest: json.loads(outputs) for digest, outputs in kept}
        found, new = {}, []
        for name, digest in digests.items():
            if digest not in known:
                try:
                    data = Path(name).read_bytes()
                except FileNotFoundError:
                    continue
                digest = hashlib.sha256(data).hexdigest()
                known[digest] = _outputs(data)
                new.append((digest, json.dumps(known[digest])))
            found[name] = (digest, known[digest])
        self._keep("INSERT OR REPLACE INTO records VALUES (?, ?)", new)
        return found

    def _kept(self, select: str, keys: Iterable[str]) -> list[Any]:
        if self.full:
            return []
        wanted = json.dumps(list(keys))
        found = self._with(lambda db: db.execute(f"{select} IN (SELECT value FROM json_each(?))", [wanted]).fetchall())
        return found or []

    def _keep(self, insert: str, rows: list[Any]) -> None:
        if rows:
            self._with(lambda db: db.executemany(insert, rows))

    def _with(self, use: Callable[[sqlite3.Connection], Any]) -> Any:
        """What `use` makes of the database; None, with a word, where it cannot be had. A broken one is made anew."""
        for last in (False, True):
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                with closing(sqlite3.connect(self.file, timeout=30)) as database, database:
                    _check(database)
                    return use(database)
            except sqlite3.OperationalError as error:
                return self._say(f"{error}; going on without it")
            except sqlite3.DatabaseError as error:
                anew = self._remove() and not last
                self._say(f"{error}; " + ("it is made anew" if anew else "going on without it"))
                if not anew:
                    return None
            except OSError as error:
                return self._say(f"{error}; going on without it")
        return None

    def _remove(self) -> bool:
        try:
            for suffix in ("-journal", ""):
                self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def _say(self, text: str) -> None:
        print(f"{self.file}: {text}.", file=sys.stderr)


def _check(database: sqlite3.Connection) -> None:
    """Lay out an empty database. Raises DatabaseError for one that is not this module's."""
    if database.execute("PRAGMA application_id").fetchone()[0] == APPLICATION:
        return
    database.execute("BEGIN IMMEDIATE")  # another process may lay it out meanwhile
    if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise sqlite3.DatabaseError("is no cache of digests, or of another version")
        for statement in LAYOUT.strip().splitlines():
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION}")
    database.commit()


def _stamp(name: str) -> str | None:
    """What changes with a file; None where there is none."""
    try:
        facts = os.stat(name)
    except OSError:
        return None
    return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ino}" if stat.S_ISREG(facts.st_mode) else None


def _hashed(name: str) -> tuple[str, str | None, str, int] | None:
    """Name, stamp (None where the bytes may change under it), digest and size; None where the file is gone."""
    before, now = _stamp(name), time.time_ns()
    try:
        digest = files.sha256(Path(name))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise UserError(
            f"{name}: cannot be read ({error}), so nobody can vouch for it. Give yourself the right to."
        ) from None
    if before is None or before != _stamp(name):
        return name, None, digest, 0
    size, changed, _ = map(int, before.split())
    return name, before if now - changed > SETTLED else None, digest, size


def _outputs(data: bytes) -> dict[str, str] | None:
    try:
        outputs: dict[str, str] = parsed(data)["made"]["outputs"]
    except ValueError:
        return None
    return outputs
