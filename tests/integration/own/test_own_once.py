"""Every row of an own source once, whatever fails: tries, positions, chunks, killed workers, what becomes visible."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.copying import leftovers, rows_of
from tests.support.database import SinkDatabase
from tests.support.pipeline import Finished, PipelineDirectory

Own = Callable[[str], PipelineDirectory]

RETRIES = 'attempts=3, delay="10ms"'


def ran(done: Finished) -> Finished:
    assert done.code == 0, done.out + done.err
    return done


def test_a_page_with_a_new_column_is_not_taken_for_recorded(own: Own, sink: SinkDatabase) -> None:
    """What is open is committed before the column is added: with the position before, not with the new page's."""
    directory = own(f"""
@pipeline.extract("items", mode="append", batches=10, {RETRIES})
def items(position):
    page = position or 0
    while page < 6:
        page += 1
        if page == 5 and times("page 5") == 1:
            killed()
        row = {{"id": page}} if page < 4 else {{"id": page, "note": "new"}}
        yield [row], page
""")
    ran(directory.cli("run"))
    assert rows_of(sink, "SELECT id, note FROM items ORDER BY id") == [
        *((n, None) for n in (1, 2, 3)),
        *((n, "new") for n in (4, 5, 6)),
    ]


def test_yields_of_several_kinds_make_one_batch(own: Own, sink: SinkDatabase) -> None:
    """Lists and Arrow together, the second with a column more: they have the last one's position or none."""
    directory = own(f"""
import pyarrow as pa

@pipeline.extract("items", mode="append", pages=2, {RETRIES})
def items(position):
    for page in range(position or 0, 3):
        yield [{{"id": page}}]
        yield pa.RecordBatch.from_pylist([{{"id": 10 + page, "note": "arrow"}}]), page + 1

@pipeline.on_write
def die(event):
    if times("writes") == 2:
        killed()
""")
    ran(directory.cli("run"))
    assert rows_of(sink, "SELECT id, note FROM items ORDER BY id") == [
        *((n, None) for n in (0, 1, 2)),
        *((n, "arrow") for n in (10, 11, 12)),
    ]


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_pages_without_a_position_wait_for_the_next_one(own: Own, sink: SinkDatabase, mode: str) -> None:
    """None is no position, as an API's next page is None on its last: what came with it comes once."""
    directory = own(f"""
@pipeline.extract("items", mode="{mode}", {RETRIES})
def items(position):
    pages = [(1, None), (2, 2), (3, None), (4, 4), (5, None)]
    for number, after in pages[position or 0:]:
        if number in (2, 4, 5) and times(f"page {{number}}") == 1:
            killed()
        yield [{{"id": number}}], after
    if times("the end") == 1:
        raise OSError("away")
""")
    ran(directory.cli("run"))
    assert rows_of(sink, "SELECT id FROM items ORDER BY id") == [(n,) for n in range(1, 6)]
    assert leftovers(sink) == []


def test_a_member_whose_end_was_recorded_is_not_read_again(own: Own, sink: SinkDatabase) -> None:
    """The worker dies after its last commit, before it has told its end."""
    directory = own("""
@pipeline.extract("items", mode="append", attempts=3, delay="10ms")
def items():
    times("called")
    yield [{"id": 1}]
    yield [{"id": 2}]

import etl_cli.runtime.own.stream as stream
commit = stream._Member._commit
def dying(self):
    commit(self)
    if self._place.is_over and times("the end") == 1:
        killed()
stream._Member._commit = dying
""")
    done = ran(directory.cli("run"))
    assert "SIGKILL" in done.out
    assert rows_of(sink, "SELECT id FROM items ORDER BY id") == [(1,), (2,)]
    assert (directory.path / "called").read_text() == "x"


def test_members_that_have_a_row_in_common_merge_it(own: Own, sink: SinkDatabase) -> None:
    """Two of them insert the same key at the same time: one waits, and finds it there at its next try."""
    with sink.connect() as connection:
        connection.execute("CREATE TABLE people (id bigint PRIMARY KEY, name text)")
        connection.execute(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NULL;"
            " END $$; CREATE TRIGGER slow AFTER INSERT ON people FOR EACH STATEMENT EXECUTE FUNCTION slow()"
        )
    directory = own(f"""
@pipeline.extract("people", key=["id"], fan_out=["a", "b", "c"], {RETRIES})
def people(member):
    yield [{{"id": n, "name": "the same"}} for n in range(100)]
""")
    ran(directory.cli("run"))
    assert rows_of(sink, "SELECT count(*), min(name) FROM people") == [(100, "the same")]


def test_changes_are_recorded_from_the_second_run_on(own: Own, sink: SinkDatabase) -> None:
    directory = own("""
@pipeline.extract("items", mode="sync", key=["id"], track_changes=True)
def items():
    run = times("run")
    yield [{"id": 1, "note": "stays"}, {"id": 2, "note": f"of run {run}"}, {"id": 10 + run, "note": "comes and goes"}]
""")
    ran(directory.cli("run"))
    ran(directory.cli("run"))
    changes = "SELECT operation, coalesce(new, old) ->> 'id' FROM items_changes ORDER BY 1, 2"
    assert rows_of(sink, changes) == [("delete", "11"), ("insert", "12"), ("update", "2")]


def test_what_became_visible_before_a_crash_is_not_applied_again(own: Own, sink: SinkDatabase) -> None:
    """The run dies after its rows became visible, before the step's end was written."""
    directory = own("""
@pipeline.extract("items", mode="sync", key=["id"], allow_empty=True)
def items():
    yield [{"id": 1}, {"id": 2}]
""")
    ran(directory.cli("run"))
    with sink.connect() as connection:
        connection.execute("UPDATE etl.steps SET state = 'running', result = NULL")
        connection.execute("UPDATE etl.runs SET state = 'interrupted'")
    ran(directory.cli("run", "--resume"))
    assert rows_of(sink, "SELECT id FROM items ORDER BY id") == [(1,), (2,)]
    assert leftovers(sink) == []


@pytest.mark.parametrize(
    "how", ["RAISE 'no' USING ERRCODE = '40001'", "PERFORM pg_terminate_backend(pg_backend_pid())"]
)
def test_making_visible_is_tried_again(own: Own, sink: SinkDatabase, how: str) -> None:
    directory = own("""
@pipeline.extract("items", mode="sync", key=["id"], delay="10ms")
def items():
    yield [{"id": n} for n in range(times("run"))]
""")
    ran(directory.cli("run"))
    with sink.connect() as connection:
        connection.execute("CREATE TABLE items_keep (id bigint REFERENCES items); INSERT INTO items_keep VALUES (0)")
        connection.execute("CREATE SEQUENCE tries")
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('tries') <= 2 THEN "
            f"{how}; PERFORM pg_sleep(0.1); END IF; RETURN NULL; END $$;"
            "CREATE TRIGGER fail BEFORE INSERT ON items FOR EACH STATEMENT EXECUTE FUNCTION fail()"
        )
    done = ran(directory.cli("run"))
    assert done.out.count("making public.items visible failed") == 2
    assert rows_of(sink, "SELECT id FROM items ORDER BY id") == [(0,), (1,)]
    assert leftovers(sink) == []


def test_an_empty_page_first_is_no_error(own: Own, sink: SinkDatabase) -> None:
    directory = own("""
@pipeline.extract("items", key=["id"], cursor="at", columns={"at": "timestamptz"})
def items(position):
    yield [], 1
    yield [{"id": 1, "at": "2026-01-01T00:00:00+00:00"}], 2
    yield [], 3
""")
    ran(directory.cli("run"))
    assert rows_of(sink, "SELECT id FROM items") == [(1,)]
    assert rows_of(sink, "SELECT value FROM etl.watermarks") == [("2026-01-01T00:00:00+00:00",)]


def test_rows_of_which_none_can_be_stored_are_told(own: Own, sink: SinkDatabase) -> None:
    directory = own(
        """
from pydantic import BaseModel, EmailStr

class Item(BaseModel):
    size: int | str

@pipeline.extract("items", mode="append", model=Item, on_bad_row="reject", max_rejects=5)
def items():
    yield [{"size": None}]
""".replace(", EmailStr", "")
    )
    done = directory.cli("run")
    assert done.code == 1
    assert "items: no row could be stored; the last: " in done.err


def test_members_that_cannot_be_listed_at_first_are_asked_for_again(own: Own, sink: SinkDatabase) -> None:
    directory = own("""
def accounts():
    if times("asked") < 3:
        raise OSError("away")
    return ["a", "b"]

@pipeline.extract("items", mode="append", fan_out=accounts, member_column="account", attempts=3, delay="10ms")
def items(member):
    yield [{"id": 1}]
""")
    done = ran(directory.cli("run"))
    assert done.out.count('step "items" fan_out failed: OSError: away') == 2
    assert rows_of(sink, "SELECT account FROM items ORDER BY 1") == [("a",), ("b",)]


def test_members_that_cannot_be_listed_fail_the_step(own: Own, sink: SinkDatabase) -> None:
    directory = own("""
def accounts():
    raise OSError("away")

@pipeline.extract("items", mode="append", fan_out=accounts, attempts=2, delay="10ms")
def items(member):
    yield [{"id": 1}]
""")
    done = directory.cli("run")
    assert done.code == 1
    assert 'step "items" fan_out failed: OSError: away (etl.py, line ' in done.err


NEWER_FIRST = """
@pipeline.extract("items", key=["id"], cursor="At", OPTIONS)
def items(run):
    versions = [{"id": 1, "At": "b", "v": "new"}, {"id": 1, "At": "B", "v": "old"}, {"id": 1, "At": "A", "v": "older"}]
    for number, row in enumerate(versions[run.params["first"]:]):
        yield [row], number
"""


@pytest.mark.parametrize("options", ["pages=3", "pages=1, batches=3", "batches=1"])
@pytest.mark.parametrize("changes", ["", '@pipeline.map("items")\ndef same(row):\n    return row\n'])
def test_an_older_version_that_is_read_later_does_not_win(
    own: Own, sink: SinkDatabase, options: str, changes: str
) -> None:
    directory = own(NEWER_FIRST.replace("OPTIONS", options) + changes)
    with sink.connect() as connection:  # where b comes before B, unlike in Python
        found = "SELECT quote_ident(collname) FROM pg_collation WHERE collname IN ('unicode', 'en-x-icu') LIMIT 1"
        [(collation,)] = connection.execute(found).fetchall()
        connection.execute(f"CREATE TABLE items (id bigint PRIMARY KEY, at text COLLATE {collation}, v text)")
    ran(directory.cli("run", "--param", "first=0"))
    assert rows_of(sink, "SELECT at, v FROM items") == [("b", "new")]
    ran(directory.cli("run", "--param", "first=1", "--full"))
    assert rows_of(sink, "SELECT at, v FROM items") == [("b", "new")]


def test_what_the_sink_will_never_take_is_not_tried_again(own: Own, sink: SinkDatabase) -> None:
    directory = own("""
@pipeline.extract("items", key=["id"], attempts=5, delay="10ms")
def items():
    times("asked")
    yield {"id": 1}
""")
    with sink.connect() as connection:
        connection.execute("CREATE TABLE items (id bigint PRIMARY KEY)")
        connection.execute(
            "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$;"
            "CREATE TRIGGER never BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION never()"
        )
    failed = directory.cli("run")
    assert (failed.code, "never" in failed.err) == (1, True)
    assert (directory.path / "asked").read_text() == "x"


COLUMN = ', member_column="account"'


@pytest.mark.parametrize("column", [True, False])
def test_a_member_that_is_none_any_more_leaves_no_rows(column: bool, own: Own, sink: SinkDatabase) -> None:
    directory = own("""
def accounts():
    return json.loads((HERE / "accounts").read_text())

@pipeline.extract("items", key="id", mode="replace", fan_out=accounts, member_column="account", attempts=1)
def items(member):
    if member == "b" and times("b") == 1:
        raise OSError("away")
    times(member)
    yield {"id": ord(member[0]), "name": member}
""")
    (directory.path / "accounts").write_text('["a", "b", "c%"]')
    if not column:
        (directory.path / "etl.py").write_text((directory.path / "etl.py").read_text().replace(COLUMN, ""))
    assert directory.cli("run").code == 1
    (directory.path / "accounts").write_text('["a", "b"]')
    done = ran(directory.cli("run", "--resume"))
    assert "c% of items is none of its members any more" in done.out
    assert rows_of(sink, "SELECT name FROM items ORDER BY 1") == [("a",), ("b",)]
    assert (directory.path / "a").read_text() == ("x" if column else "xx"), "where it can be, it is not read again"
    assert rows_of(sink, "SELECT shard, state, rows_loaded FROM etl.tasks WHERE run_id = 2 ORDER BY 1") == [
        ("a", "applied", 1),
        ("b", "applied", 1),
    ]
    assert leftovers(sink) == []


def test_a_plan_tells_the_targets_of_own_sources(own: Own, sink: SinkDatabase) -> None:
    directory = own("""
@pipeline.extract("items", key="id", cursor="at", fan_out=["a", "b"], member_column="account", target="x.things")
def items():
    yield {}

@pipeline.step
def accounts():
    return []

@pipeline.extract("rest", key="id", fan_out="accounts", to_sink=False)
def rest():
    yield {}

@pipeline.load("rest")
def keep(batch):
    pass
""")
    shown = [" ".join(line.split()) for line in ran(directory.cli("plan")).out.splitlines()]
    for line in ("target x.things", "key id, account", "cursor at", "for a, b", "target own writers only"):
        assert line in shown
    assert "for what step accounts gives" in shown
    data = directory.cli("plan", "--json").data
    assert data["sources"]["items"]["mode"] == "upsert"
    assert data["steps"][-1] == {"name": "rest", "after": ["accounts"]}
