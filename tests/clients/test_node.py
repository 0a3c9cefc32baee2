"""The package @kubernetes/client-node: typed, generic, watch, informer, exec, log."""
import os

from harness import COMMON, main

main("node", lambda d: ["node", os.path.join(d, "client.mjs")],
     COMMON + ["server-side apply", "server-side apply: a conflict", "an informer sees everything after the server was killed"])
