"""A small API to try the example with: python server.py [--port 8000].

GET /jokes?page=N&since=TIME gives ten jokes, oldest change first, and [] after the last one.
POST /jokes with {"id": 3, "text": "..."} changes one, or adds it.
"""

import argparse
import json
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PAGE = 10
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
OPENINGS = ["Why did the shard", "Knock knock, said", "A transaction walks into", "How many rows does"]


def first_jokes(count=45):
    return {
        number: {
            "id": number,
            "text": f"{OPENINGS[number % len(OPENINGS)]} number {number}?",
            "rating": number % 50 / 10,
            "tags": ["database", "long"] if number % 3 else ["database"],
            "updated_at": (BEGIN + timedelta(minutes=number)).isoformat(),
        }
        for number in range(1, count + 1)
    }


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = parse_qs(urlsplit(self.path).query)
        page, since = int(asked.get("page", ["1"])[0]), asked.get("since", [""])[0]
        jokes = sorted(self.server.jokes.values(), key=lambda joke: (joke["updated_at"], joke["id"]))
        jokes = [joke for joke in jokes if joke["updated_at"] >= since]
        self.answer(jokes[(page - 1) * PAGE : page * PAGE])

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = int(given["id"])
        new = {"id": number, "text": "", "rating": 0.0, "tags": [], **self.server.jokes.get(number, {}), **given}
        new["updated_at"] = datetime.now(UTC).isoformat()
        self.server.jokes[number] = new
        self.answer(new)

    def answer(self, data):
        body = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(port=0):
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.jokes = first_jokes()
    return server


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=8000)
    with serve(options.parse_args().port) as server:
        print(f"http://127.0.0.1:{server.server_port}/jokes", flush=True)
        server.serve_forever()
