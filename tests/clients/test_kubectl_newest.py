"""The kubectl of the API's own version, built as a Go module, does what the pinned older one does."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "conformance"))
import suite  # noqa: E402

LIMIT_S = 2700  # read by tests/run.py: with Go and an empty cache it is built first


def main():
    word = suite.why_not()
    if word:
        print("skip clients/kubectl: " + word)
        return 0
    env = dict(os.environ, NEAP_KUBECTL=suite.build()["kubectl"])
    return subprocess.call([sys.executable, os.path.join(os.path.dirname(HERE), "cluster/test_kubectl.py")], env=env)


if __name__ == "__main__":
    sys.exit(main())
