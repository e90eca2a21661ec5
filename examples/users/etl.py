"""Users of several organisations, from two integrations each. The API fails and the sink fails: each user once."""

import json
from datetime import UTC, datetime
from urllib.request import urlopen

from failures import inject

from etl_cli.runtime import Pipeline

pipeline = Pipeline.load(__file__)
inject(pipeline)  # what goes wrong on purpose: take it out for real use


def pairs(api):
    """Members of the source: acme/github, acme/slack, ..."""
    return [tuple(pair) for pair in get(f"{api}/pairs")]


@pipeline.extract(
    "users_raw",
    mode="append",
    fan_out=pairs,
    member_column="member",
    columns={"page": "integer"},
    attempts=20,
    delay="50ms",
    limit="1s",
)
def users_raw(member, position, api, run):
    """Everything seen: a row for each page, as the API gave it, the empty last one as well."""
    organisation, integration = member
    seen_at, page = position or (datetime.now(UTC).isoformat(), 0)
    users = True
    while users:
        users = get(f"{api}/{organisation}/{integration}/users?page={page}")
        row = {"seen_at": datetime.fromisoformat(seen_at), "page": page, "users": users}
        page += 1
        yield [row], (seen_at, page)
        run.progress(page)


# The latest: a row for each user of the last time that a member was read.
pipeline.sql("users_latest.sql", after=["users_raw"], retries=20, retry_delay="50ms")


@pipeline.extract(
    "users",
    mode="sync",
    key=["member", "id"],
    columns={"updated_at": "timestamptz"},
    track_changes=True,
    after=["users_latest"],
    attempts=20,
    delay="50ms",
    limit="1s",
)
def users(run):
    """The synced table; what a run inserts, updates and deletes in it is told by users_changes."""
    for (user,) in run.sink.execute("SELECT to_jsonb(u) FROM users_latest AS u"):
        yield user


def get(url):
    with urlopen(url, timeout=1) as answer:
        return json.load(answer)


if __name__ == "__main__":
    pipeline.main()  # python etl.py check | plan | run | serve
