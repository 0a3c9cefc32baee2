"""The Python package kubernetes: typed, dynamic, watch, informer, stream."""
import os

from harness import COMMON, HERE, main

main("python", lambda d: [os.path.join(d, "venv/bin/python"), os.path.join(HERE, "python/client.py")],
     COMMON + ["server-side apply", "server-side apply: a conflict", "logs: followed",
               "an informer sees everything after the server was killed"])
