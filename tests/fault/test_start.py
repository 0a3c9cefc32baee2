"""What stands in the way of a start: one clear line, an exit code that is not 0, soon, and nothing half made: the next
start, without the obstacle, works. A disk that fills while the server runs: writes are refused, nothing is lost."""
import http.client
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "api"))
from cluster import NEAP, Report, Server

LIMIT_S = 120    # read by tests/run.py
END_S = 20
NOBODY = 65534
MAPS = "/api/v1/namespaces/default/configmaps"


def ended(argv, **kw):
    """(exit code, lines that begin with "neap:", everything)"""
    try:
        p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=END_S, **kw)
    except subprocess.TimeoutExpired as e:
        return None, [], (e.stdout, e.stderr)
    said = p.stderr.decode(errors="replace")
    return p.returncode, [x for x in said.splitlines() if x.startswith("neap:")], (p.stdout, said)


def check_refused(report, name, argv, words, **kw):
    code, lines, said = ended(argv, **kw)
    report.check(name, code not in (None, 0) and len(lines) == 1 and all(w in lines[0] for w in words) and
                 not said[0], (code, said))


def command(part, directory, *options):
    return [NEAP, part, "--data-dir", directory, "--listen", "127.0.0.1:0"] + list(options)


def check_works(report, name, directory):
    """The same directory, without the obstacle."""
    server = Server("sqlite", directory=directory)
    code = server.client().request("POST", MAPS, {"metadata": {"name": "after"}})[0]
    report.check(name + ": the next start works", code == 201 and server.stop() == 0, code)


def check_help(report, directory):
    """Every command tells what it takes, wherever it is asked, and does nothing else."""
    _, _, (out, _) = ended([NEAP, "--help"])
    names = [x.split()[0] for x in out.decode().splitlines() if x.startswith("  ")]
    report.check("help: there are commands", "server" in names and "exec" in names, out)
    for name in names:
        code, _, said = ended([NEAP, name, "--help"])
        report.check("help: " + name, code == 0 and said[0].startswith(b"usage: neap " + name.encode()) and not said[1],
                     (code, said))
    code, _, said = ended(command("server", directory, "-h"))
    report.check("help: options and their defaults", code == 0 and b"--history-bytes 67108864" in said[0] and
                 not os.listdir(directory), (code, said))


def check_port(report, directory):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        address = "127.0.0.1:%d" % s.getsockname()[1]
        for part in ("server", "up") if os.geteuid() == 0 else ("server",):
            check_refused(report, part + ": the port is in use", [NEAP, part, "--data-dir", directory, "--listen", address],
                          [address, "Address already in use"])
    check_works(report, "port", directory)


def check_not_root(report, directory):
    os.chmod(os.path.dirname(directory), 0o777)
    for part in ("up", "agent"):
        check_refused(report, part + ": not root", command(part, directory), ["root"], user=NOBODY, group=NOBODY,
                      extra_groups=[])
    report.check("not root: nothing is made", not os.path.exists(directory))


def check_no_cgroups(report, directory):
    check_refused(report, "up: no cgroups", ["unshare", "--mount", "sh", "-c", "umount -lR /sys/fs/cgroup && exec \"$@\"", "sh"]
                  + command("up", directory), ["no cgroups under /sys/fs/cgroup"])
    check_works(report, "no cgroups", directory)


def check_newer(report, directory):
    server = Server("sqlite", directory=directory)
    server.stop()
    path = os.path.join(directory, "plugins/sqlite/neap.db")
    with sqlite3.connect(path) as db:
        db.execute("update meta set format = format + 1")
    check_refused(report, "a database of a newer version", command("server", directory), ["neap.db", "newer"])
    with sqlite3.connect(path) as db:
        db.execute("update meta set format = format - 1")
    check_works(report, "newer", directory)


def check_verify(report, directory):
    """A bit that a disk has turned: the object is named, the server does not start with it."""
    verify = [NEAP, "store", "verify", "--data-dir", directory]
    server = Server("sqlite", directory=directory)
    server.client().request("POST", MAPS, {"metadata": {"name": "precious"}, "data": {"x": "marker-of-the-test"}})
    check_refused(report, "verify: a server runs", verify, ["in use"])
    server.stop()
    code, _, said = ended(verify)
    report.check("verify: sound", code == 0 and said[0].startswith(b"sound: revision"), (code, said))
    path = os.path.join(directory, "plugins/sqlite/neap.db")
    with open(path, "r+b") as f:
        data = f.read()
        f.seek(data.index(b"marker-of-the-test"))
        f.write(b"M")
    code, _, said = ended(verify)
    report.check("verify: the object is named", code == 1 and b"/registry/core/configmaps/default/precious" in said[0],
                 (code, said))
    check_refused(report, "a record that is not what was written", command("server", directory),
                  ["/registry/core/configmaps/default/precious", "not what was written"])
    with open(path, "wb") as f:
        f.write(data)
    check_works(report, "turned back", directory)


def fill(path):
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            pass


def check_full_at_start(report, disk):
    fill(disk + "/filler")
    check_refused(report, "a full disk", command("server", disk + "/d"), ["full"])
    os.unlink(disk + "/filler")
    check_works(report, "full", disk + "/d")


def check_full_later(report, disk):
    server = Server("sqlite", directory=disk + "/d")
    admin, kept, codes = server.client(), [], set()

    def write(name):
        try:
            code, got, _ = admin.request("POST", MAPS, {"metadata": {"name": name}, "data": {"x": "y" * 20000}})
        except (OSError, http.client.HTTPException) as e:
            code, got = None, e
        if code == 201:
            kept.append(name)
        return code, got

    fill(disk + "/filler")
    for i in range(400):
        code, got = write("full-%d" % i)
        codes.add(code)
        if code != 201:
            break
    report.check("a disk fills up: a write is refused with a Status", code == 507 and
                 got.get("kind") == "Status" and admin.request("GET", MAPS)[0] == 200, (codes, got))
    os.unlink(disk + "/filler")
    code, got = write("space-again")
    report.check("there is space again: writes go on", code == 201, (code, got))
    server.kill()
    server = Server("sqlite", directory=disk + "/d")
    there = {o["metadata"]["name"] for o in server.client().request("GET", MAPS)[1]["items"]}
    report.check("nothing acknowledged is lost", set(kept) <= there, set(kept) - there)
    report.check("its end", server.stop() == 0, server.tail())


def main():
    report = Report()
    with tempfile.TemporaryDirectory(prefix="neap-start-") as top:
        os.mkdir(top + "/help", 0o700)
        check_help(report, top + "/help")
        check_port(report, top + "/port")
        os.mkdir(top + "/newer", 0o700)
        check_newer(report, top + "/newer")
        os.mkdir(top + "/verify", 0o700)
        check_verify(report, top + "/verify")
        if os.geteuid() == 0:
            check_not_root(report, top + "/user")
            check_no_cgroups(report, top + "/cgroups")
            disk = top + "/disk"
            os.mkdir(disk)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], check=True)
            try:
                check_full_at_start(report, disk)
                check_full_later(report, disk)
            finally:
                subprocess.run(["umount", "-l", disk])
        else:
            print("skip a disk of its own: root")
    report.end()


if __name__ == "__main__":
    main()
