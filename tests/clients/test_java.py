"""The Java library client-java: typed, watch, informer, exec."""
import os

from harness import COMMON, main

main("java", lambda d: ["java", "-jar", os.path.join(d, "client.jar")],
     COMMON + ["server-side apply", "server-side apply: a conflict", "logs: followed",
               "an informer sees everything after the server was killed"])
