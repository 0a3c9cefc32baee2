#!/usr/bin/python3
"""The same requests to neap and to a real kube-apiserver: prints what they answer otherwise, and records.

  /usr/bin/python3 tests/api/beside_api.py --kube-apiserver PATH --etcd PATH [FILE...] [--only WORD] [--record OUT]

FILE: rows as in tests/data/steps.jsonl (the default), with or without answers. --record writes the rows with the real
server's answers. --mutate takes the objects of tests/data/roundtrip.jsonl and changes one field at a time (mutate.py),
as dry runs. --keep serves both until Enter is pressed. How the real one is built: the head of tests/bench/beside.py."""
import argparse
import json
import os
import sys
import tempfile

import facts
import steps
from cluster import TOP, Client, Server

sys.path.insert(0, os.path.join(TOP, "tests", "bench"))
import beside  # noqa: E402  pylint: disable=wrong-import-position


class RealServer:
    """As cluster.Server, so that cluster.Client speaks to it."""

    def __init__(self, apiserver, etcd, port):
        self.temp = tempfile.TemporaryDirectory(prefix="neap-peer-")
        self.dir, self.port = self.temp.name, port
        self.side = beside.Peer(apiserver, etcd, self.dir, port, ["--allow-privileged=true"])
        self.side.start()

    def context(self, certificate=True):
        c = beside.ssl.create_default_context()
        c.check_hostname, c.verify_mode = False, beside.ssl.CERT_NONE
        if certificate:
            c.load_cert_chain(self.side.cert, self.side.key)
        return c

    def client(self, token=None, certificate=True):
        return Client(self, token, certificate and not token)

    def stop(self):
        self.side.stop()


def load(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def recorded(row, wanted):
    """The row as tests/data keeps it."""
    kept = []
    for s, w in zip(row["steps"], wanted):
        s = {k: v for k, v in s.items() if k != "answer"}
        kept.append(dict(s, answer={"code": w["code"]} if s.get("quiet") else w))
    return {"case": row["case"], "steps": kept}


def run(rows, ours, theirs, out):
    differing = 0
    for row in rows:
        try:
            wanted = steps.masked(row, theirs.play(row))
            found = steps.compare(row, wanted, ours.play(row))
        except (KeyError, IndexError, TypeError, OSError) as e:
            print("%s: cannot be played: %r" % (row["case"], e))
            continue
        differing += bool(found)
        for i, d in found:
            s = row["steps"][i]
            print("%s [%d] %s %s: %s" % (row["case"], i, s["method"], s["path"], d), flush=True)
        if out:
            out.write(json.dumps(recorded(row, wanted)) + "\n")
    print("%d cases, %d differ" % (len(rows), differing))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kube-apiserver", required=True)
    parser.add_argument("--etcd", required=True)
    parser.add_argument("--port", type=int, default=12200, help="this one and the next two are the real server's")
    parser.add_argument("--only", help="cases whose name holds this")
    parser.add_argument("--mutate", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--record")
    parser.add_argument("files", nargs="*", default=[os.path.join(TOP, "tests", "data", "steps.jsonl")])
    args = parser.parse_args()
    if args.mutate:
        import mutate
        rows = mutate.rows(facts.load("roundtrip.jsonl"))
    else:
        rows = [row for path in args.files for row in load(path)]
    rows = [row for row in rows if not args.only or args.only in row["case"]]
    real, neap = RealServer(args.kube_apiserver, args.etcd, args.port), None
    try:
        neap = Server(args=["--scheduler=false", "--controllers=false"])  # as the real server is: alone
        with open(args.record or os.devnull, "w", encoding="utf-8") as out:
            run(rows, steps.player(neap), steps.player(real), out)
        if args.keep:
            print("neap %d, peer %d: Enter ends them" % (neap.port, real.port))
            sys.stdin.readline()
    finally:
        real.stop()
        if neap and neap.stop():
            sys.exit("neap's exit: " + neap.tail())


if __name__ == "__main__":
    main()
