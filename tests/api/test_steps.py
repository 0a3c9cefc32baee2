"""Several requests in a row get the real server's answers (tests/data/steps.jsonl)."""
import facts
import steps
from cluster import Report, Server


def main():
    report, server = Report(), Server(args=["--scheduler=false", "--controllers=false"])  # as recorded
    player, skip = steps.player(server), facts.known("known-steps.json")
    for row in facts.load("steps.jsonl"):
        name = row["case"]
        try:
            found = steps.compare(row, [s["answer"] for s in row["steps"]], player.play(row))
        except Exception as e:  # the server died, or answered what is no HTTP
            found = [(0, repr(e))]
        if name not in skip:
            report.check("steps " + name, not found, found)
        elif not found:
            report.fail("steps " + name, "passes, but is listed in known-steps.json")
        else:
            print("skip %s: %s" % (name, skip[name]))
    report.end(server)


if __name__ == "__main__":
    main()
