"""contrib/plugin-template outside the tree: built against the installed headers, accepted, loaded; what is broken is
refused in one line."""
import os
import shutil
import subprocess
import sys

from installed import Installed

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "api"))
from cluster import TOP, Report, Server
from test_scheduler import bound, make, node, pod, wait

LIMIT_S = 900  # read by tests/run.py: scons install may build


class Template:
    """A copy of the template beside an installation."""

    def __init__(self, at):
        self.at = at
        self.dir = os.path.join(at.root, "src")
        shutil.copytree(at.path("share/doc/neap/plugin-template"), self.dir)
        with open(os.path.join(self.dir, "prefer_rank.c")) as f:
            self.text = f.read()

    def make(self, *targets):
        env = dict(os.environ, PKG_CONFIG_PATH=self.at.path("lib/pkgconfig"), NEAP=self.at.program,
                   CFLAGS="-O1 -Wall -Wextra -Werror")
        p = subprocess.run(["make", "-C", self.dir] + list(targets), env=env, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
        return p.returncode, p.stdout.decode(errors="replace")

    def changed(self, name, old, new):
        """A plugin of the same source with something wrong."""
        folder = os.path.join(self.at.root, name)
        os.makedirs(folder)
        assert self.text.count(old), old
        with open(os.path.join(folder, "x.c"), "w") as f:
            f.write(self.text.replace(old, new))
        so = os.path.join(folder, "x.so")
        subprocess.run(["cc", "-std=gnu17", "-w", "-Wno-implicit-function-declaration", "-fPIC", "-shared", "-I" + self.at.path("include"),
                        "-o", so, os.path.join(folder, "x.c")], check=True)
        return so


def check_build(report, t):
    code, said = t.make()
    report.check("the template builds against the installed headers", code == 0, said)
    needed = subprocess.run(["nm", "-D", "--undefined-only", os.path.join(t.dir, "prefer_rank.so")],
                            stdout=subprocess.PIPE).stdout.decode()
    report.check("it needs nothing of neap", "neap" not in needed, needed)
    code, said = t.make("check")
    report.check("neap plugin check accepts it", code == 0 and "scheduler  PreferRank" in said, said)
    code, said = t.make("install")
    report.check("it is listed when installed", code == 0 and "PreferRank" in t.at.run("plugin", "list")[1], said)


def refused(report, t, name, file, says):
    code, said = t.at.run("plugin", "check", file)
    report.check("refused: " + name, code != 0 and said.count("\n") == 1 and file in said and says in said,
                 "%d %r" % (code, said))


def check_refusals(report, t):
    refused(report, t, "another ABI", t.changed("abi", ".abi_major = NEAP_PLUGIN_ABI_MAJOR", ".abi_major = 77"),
            "made for plugin ABI 77.")
    refused(report, t, "another thing", t.changed("magic", ".magic = NEAP_PLUGIN_MAGIC", ".magic = 1"), "wrong magic")
    refused(report, t, "an unknown kind", t.changed("kind", ".kind = NEAP_PLUGIN_SCHEDULER", ".kind = 99"), "unknown kind 99")
    refused(report, t, "no descriptor", t.changed("symbol", "neap_plugin =", "neap_plugin_x ="), 'exports no "neap_plugin"')
    refused(report, t, "a mandatory function missing", t.changed("slot", ".configure = configure,", ""),
            'mandatory function "configure" is missing')
    refused(report, t, "a function that nobody has", t.changed("undefined", "free(self);", "neap_free_of_nobody(self);"),
            "undefined symbol: neap_free_of_nobody")
    for name, data in (("no ELF file", b"hello, world\n" * 100), ("an empty file", b""), ("half a file", None)):
        file = os.path.join(t.at.root, name.replace(" ", "_") + ".so")
        if data is None:
            with open(os.path.join(t.dir, "prefer_rank.so"), "rb") as f:
                data = f.read()[:3000]
        with open(file, "wb") as f:
            f.write(data)
        refused(report, t, name, file, ": ")
    refused(report, t, "no file", os.path.join(t.at.root, "absent.so"), "No such file")


def check_broken_beside_good(report, t):
    """A bad file never hides the good ones."""
    bad = t.at.path("lib/neap/plugins/scheduler/broken.so")
    with open(bad, "w") as f:
        f.write("x")
    code, said = t.at.run("plugin", "list")
    report.check("a broken plugin is named, the others listed", code == 1 and "PreferRank" in said and
                 sum("BROKEN" in l for l in said.splitlines()) == 1, said)
    os.unlink(bad)


def check_scheduling(report, t):
    """The plugin decides, under the sanitizers' server and in the installed one."""
    plugins = ["--plugin-dir", t.at.path("lib/neap/plugins"), "--scheduler-plugins", "prefer_rank"]
    server = Server(args=plugins + ["--plugin-PreferRank-label", "example.com/speed"])
    wait(server, "default", bool, path="/api/v1/namespaces/default/serviceaccounts")
    admin = server.client()
    for name, rank in (("n0", "10"), ("n1", "90"), ("n2", None), ("n3", "none")):
        node(server, admin, name, labels={"example.com/speed": rank} if rank else {})
    names = ["p%d" % i for i in range(6)]
    make(admin, *[pod(n) for n in names])
    where = [bound(wait(server, n, bound)) for n in names]
    report.check("a server schedules by the plugin", where == ["n1"] * 6, where)
    report.check("the server with the plugin ends well", server.stop() == 0, server.tail())
    try:
        Server(program=t.at.program, args=plugins + ["--plugin-PreferRank-label="]).stop()
        report.fail("a plugin that refuses its options stops the start", "it started")
    except RuntimeError as e:
        report.check("a plugin that refuses its options stops the start", "PreferRank: the option label is empty" in
                     str(e), e)


def main():
    report = Report()
    t = Template(Installed())
    check_build(report, t)
    check_refusals(report, t)
    check_broken_beside_good(report, t)
    check_scheduling(report, t)
    report.end()


if __name__ == "__main__":
    main()
