"""scons install: what is installed runs by itself. Longer than ten seconds when the release build is not there yet."""
import glob
import os
import re
import shutil
import stat
import subprocess
import tempfile

from installed import Installed
from cluster import TOP, Report, Server

LIMIT_S = 900  # read by tests/run.py: it may build
PLUGINS = {"store/sqlite", "store/memory", "runtime/oci", "runtime/hollow", "network/veth", "network/hollow",
           "proxy/nft", "scheduler/image_locality"}
KUBECONFIG_MODE = 0o600


def check_files(report, at):
    headers = {os.path.basename(h) for h in glob.glob(os.path.join(TOP, "core/include/neap/plugin/*.h"))}
    report.check("headers are installed", headers == set(os.listdir(at.path("include/neap/plugin"))) and
                 sorted(os.listdir(at.path("include/neap"))) == ["err.h", "plugin"])
    closed = [p for here, dirs, files in os.walk(at.root) for p in [here] + [os.path.join(here, f) for f in files]
              if not os.path.islink(p) and (not os.stat(p).st_mode & stat.S_IROTH or os.stat(p).st_mode & stat.S_IWOTH)]
    report.check("everybody reads it, nobody writes", not closed, closed)
    link = at.path("bin/neap")
    report.check("the program is a link that holds elsewhere", os.readlink(link) == "../lib/neap/neap")


def check_plugins(report, at):
    code, said = at.run("plugin", "list")
    found = {re.search(r"/plugins/(\S+)\.so$", line)[1] for line in said.splitlines()}
    own = all(os.path.realpath(line.split()[-1]).startswith(at.root) for line in said.splitlines())
    report.check("plugins are found", code == 0 and found == PLUGINS and own and "BROKEN" not in said, said)


def check_server(report, at):
    server = Server("sqlite", program=at.program)
    admin = server.client()
    code, got, _ = admin.request("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}})
    mode = os.stat(os.path.join(server.dir, "admin.kubeconfig")).st_mode & 0o777
    report.check("the installed server answers", code == 201 and mode == KUBECONFIG_MODE, got)
    report.check("the installed server ends", server.stop() == 0, server.tail())
    with open(os.path.join(TOP, "contrib/examples/hello.yaml")) as a, \
            open(at.path("share/doc/neap/examples/hello.yaml")) as b:
        report.check("examples are installed", a.read() == b.read())


def check_unprivileged(report, at):
    """As systemd runs it: no capability, no way to get one."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        print("skip the server without capabilities: root")
        return
    with tempfile.TemporaryDirectory(prefix="neap-test-") as here:
        program = os.path.join(here, "neap")
        with open(program, "w") as f:
            f.write('#!/bin/sh\nexec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all -- %s "$@"\n' % at.program)
        os.chmod(program, 0o755)
        server = Server("sqlite", program=program)
        code, version, _ = server.client().request("GET", "/version")
        with open("/proc/%d/status" % server.process.pid) as f:
            caps = re.search(r"CapEff:\s*(\S+)", f.read())[1]
        report.check("the server needs no capability", code == 200 and int(caps, 16) == 0, (caps, version))
        report.check("the server without capabilities ends", server.stop() == 0, server.tail())


def check_image_tool(report, at):
    with tempfile.TemporaryDirectory(prefix="neap-test-") as here:
        code, said = at.run("image", "list", "--data-dir", here)
        report.check("neap image finds its program", code == 0, said)


def check_units(report):
    """systemd-analyze looks whether the programs exist: the units of an installation without DESTDIR."""
    if not shutil.which("systemd-analyze"):
        print("skip systemd takes the units: systemd")
        return
    at = Installed()
    for unit in sorted(glob.glob(at.path("lib/systemd/system/*.service"))):
        p = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
        said = [l for l in p.stdout.decode(errors="replace").splitlines() if "neap" in l]
        report.check("systemd takes " + os.path.basename(unit), not said and "@PREFIX@" not in open(unit).read(), said)


def main():
    report = Report()
    at = Installed("/opt/neap")
    check_files(report, at)
    check_plugins(report, at)
    check_server(report, at)
    check_unprivileged(report, at)
    check_image_tool(report, at)
    check_units(report)
    report.end()


if __name__ == "__main__":
    main()
