"""`scons install` below a temporary folder. The release build has to be there (contrib/setup/test makes it)."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "api"))
from cluster import TOP


class Installed:
    """prefix: where it says that it is; root: where the files are."""

    def __init__(self, prefix=None):
        self.temp = tempfile.TemporaryDirectory(prefix="neap-install-")
        os.chmod(self.temp.name, 0o755)
        self.prefix = prefix or self.temp.name
        self.root = self.temp.name + prefix if prefix else self.temp.name
        argv = ["scons", "-Q", "install", "PREFIX=" + self.prefix] + (["DESTDIR=" + self.temp.name] if prefix else [])
        p = subprocess.run(argv, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if p.returncode:
            raise RuntimeError("scons install: " + p.stdout.decode(errors="replace")[-1500:])
        self.program = self.path("bin/neap")

    def path(self, name):
        return os.path.join(self.root, name)

    def run(self, *argv):
        """(exit code, what it said)"""
        p = subprocess.run([self.program] + list(argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
                           timeout=60)
        return p.returncode, p.stdout.decode(errors="replace")
