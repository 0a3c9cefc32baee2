"""The crate kube: typed API, patches, watch, reflector (lists in pages and streamed), exec, logs."""
import os

from harness import COMMON, main

main("rust", lambda d: [os.path.join(d, "target/debug/neap-client")],
     COMMON + ["JSON patch", "server-side apply", "server-side apply: a conflict", "server-side apply: forced",
               "a reflector sees everything after the server was killed", "a reflector by streaming lists",
               "exec: the end of its input", "logs: followed"])
