"""A fake daemon for the supervisor's tests: answers /ready on the port given and does as its mode says."""

import ctypes
import http.server
import json
import os
import signal
import sys
from pathlib import Path


class Ready(http.server.BaseHTTPRequestHandler):
    """Answers every GET as a daemon that is ready, by its own pid."""

    pid = os.getpid()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"pid": self.pid, "ready": True, "reasons": {}}).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay silent."""


def main() -> int:
    mode, port, diary = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    with diary.open("a") as file:
        file.write(f"{mode} {port}\n")
    print(f"hello from {mode}", flush=True)
    if mode == "misconfigured":
        print("listen_address: no such address", flush=True)
        return 78
    if mode == "stranger":
        Ready.pid = os.getppid()
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    http.server.ThreadingHTTPServer.allow_reuse_address = True
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Ready).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
