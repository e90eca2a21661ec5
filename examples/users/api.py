"""The API that the example reads, and that fails now and then: python api.py [--port 8001] [--day 1] [--failures 0.02].

GET /pairs                                    [["acme", "github"], ["acme", "slack"], ...]
GET /ORGANISATION/INTEGRATION/users?page=N    25 users; [] after the last page
On day 2 some users have changed, some are gone, and some are new; PUT /day with 2 has the day come.
"""

import argparse
import json
import random
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PAIRS = [(o, i) for o in ("acme", "globex", "initech") for i in ("github", "slack")]
PAGE = 25
HANGS_S = 1.5
"""Longer than the example waits for an answer."""


def users_of(organisation, integration, day=1):
    """All users of a member on a day; the same for the same arguments."""
    chance = random.Random(f"{organisation}/{integration}")
    users = [user(number, chance) for number in range(1, chance.randrange(300, 600))]
    for today in range(2, day + 1):
        chance = random.Random(f"{organisation}/{integration} day {today}")
        users = [one for one in users if chance.random() >= 0.05]
        for one in users:
            if chance.random() < 0.1:
                one["name"] += "-Smith"
                one["updated_at"] = (datetime(2026, 1, today, tzinfo=UTC)).isoformat()
        last = users[-1]["id"]
        users += [user(last + number, chance) for number in range(1, 11)]
    return users


def user(number, chance):
    name = f"{chance.choice(['Ada', 'Zoë', 'Łukasz', '美咲', 'Bob'])} {number}"
    created = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(10**7))
    return {
        "id": number,
        "name": name,
        "email": f"user{number}@example.com" if chance.random() < 0.8 else None,
        "teams": chance.sample(["core", "web", "data", "ops"], chance.randrange(3)),
        "updated_at": created.isoformat(),
    }


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, place = self.server, urlsplit(self.path)
        server.calls += 1
        if server.chance.random() < server.failures:
            server.failed += 1
            if server.chance.random() < 0.5:
                time.sleep(HANGS_S)
                return
            self.send_error(500)
            return
        if place.path == "/pairs":
            self.answer(PAIRS)
            return
        _, organisation, integration, _ = place.path.split("/")
        page = int(parse_qs(place.query)["page"][0])
        self.answer(users_of(organisation, integration, server.day)[page * PAGE : (page + 1) * PAGE])

    def do_PUT(self):
        self.server.day = int(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(self.server.day)

    def answer(self, data):
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(port=0, day=1, failures=0.02, seed=None):
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.day, server.failures, server.chance = day, failures, random.Random(seed)
    server.calls = server.failed = 0
    return server


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, default=8001)
    options.add_argument("--day", type=int, default=1)
    options.add_argument("--failures", type=float, default=0.02)
    given = options.parse_args()
    with serve(given.port, given.day, given.failures) as server:
        print(f"http://127.0.0.1:{server.server_port}/pairs", flush=True)
        server.serve_forever()
