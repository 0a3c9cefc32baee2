"""client-go (typed, informers, leader election) and controller-runtime, in JSON and in protobuf."""
import os

from harness import COMMON, main

EXTRA = ["server-side apply", "server-side apply: a conflict", "exec by websocket", "exec as kubectl does it", "exec by SPDY alone: told what is served",
         "logs: followed",
         "informers sync", "informers see everything after the server was killed", "leader election",
         "leader election: another takes over", "leader election goes on after the server was killed",
         "manager: reconciles", "manager: what it owns comes back", "manager: goes on after the server was killed"]
NEEDED = [x for x in COMMON if not x.startswith("exec")] + EXTRA

main("go", lambda d: [os.path.join(d, "go")], NEEDED, 180)
