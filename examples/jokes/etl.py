"""Jokes of an HTTP API, page by page, into the table `jokes`: new ones and changed ones, each once."""

import json
from urllib.parse import urlencode
from urllib.request import urlopen

from etl_cli.runtime import Pipeline

pipeline = Pipeline.load(__file__)


@pipeline.extract("jokes", key=["id"], cursor="updated_at", columns={"updated_at": "timestamptz"})
def jokes(api, watermark, position):
    """The jokes that changed since the last run; a try after a failure goes on with the next page."""
    since = {"since": watermark.isoformat()} if watermark else {}
    page = position or 1
    while batch := get(f"{api}/jokes?{urlencode({'page': page, **since})}"):
        page += 1
        yield batch, page


def get(url):
    with urlopen(url, timeout=10) as answer:
        return json.load(answer)


if __name__ == "__main__":
    pipeline.main()  # python etl.py check | plan | run | serve
