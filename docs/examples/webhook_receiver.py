#!/usr/bin/env python3
"""Takes what a webhook route posts, and says on which message it was: webhook_receiver.py PORT SECRET_FILE"""
import base64
import hashlib
import hmac
import http.server
import json
import sys
import time

KEY = base64.b64decode(open(sys.argv[2]).readline().strip().removeprefix("whsec_"))
seen = set()  # a real one keeps its ids where it keeps its orders


def is_ours(headers, body):
    number, moment = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    mac = hmac.new(KEY, f"{number}.{moment}.".encode() + body, hashlib.sha256).digest()
    mine = "v1," + base64.b64encode(mac).decode()
    fresh = moment.isdigit() and abs(time.time() - int(moment)) < 300
    return fresh and any(hmac.compare_digest(mine, one) for one in headers.get("webhook-signature", "").split())


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.take(body) if is_ours(self.headers, body) else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def take(self, body):
        number, mail = self.headers["webhook-id"], json.loads(body)["data"]
        if number not in seen:
            message = base64.b64decode(mail["raw"])
            print(mail["envelope"]["to"], mail["subject"], len(message), "bytes", flush=True)
        seen.add(number)
        return 200


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
