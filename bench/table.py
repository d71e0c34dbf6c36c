"""Prints the results of the turns as tables: one for each path, with the ratios below it.

A line of results has: path, target, connections, round, CPU of the gateway and of the backends in ms, resident KiB,
then what report.lua prints: requests, microseconds, socket errors, other statuses, p50 and p99 in microseconds.
"""

import statistics
import sys
from collections import defaultdict

MEASURES = {
    "requests/s": lambda it: it["requests"] / it["us"] * 1e6,
    "CPU us/request": lambda it: it["cpu_ms"] * 1e3 / it["requests"],
    "backends' CPU us/request": lambda it: it["backends_ms"] * 1e3 / it["requests"],
    "p50 us": lambda it: it["p50"],
    "p99 us": lambda it: it["p99"],
    "peak RSS MB": lambda it: it["rss_kib"] / 1024,
}
FIELDS = ["cpu_ms", "backends_ms", "rss_kib", "requests", "us", "errors", "statuses", "p50", "p99"]


def written(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}" if value < 10 else f"{value:.1f}"


def spread(values: list[float]) -> str:
    return f"{written(min(values))} {written(statistics.median(values))} {written(max(values))}"


def printed(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, ["-" * width for width in widths])
    for row in rows:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    print()


def main(results: str) -> None:
    turns: dict = defaultdict(lambda: defaultdict(dict))
    failed = False
    with open(results, encoding="utf-8") as lines:
        for line in lines:
            path, target, connections, turn, *numbers = line.rstrip("\n").split("\t")
            turns[path, int(connections)][target][turn] = it = dict(zip(FIELDS, map(int, numbers), strict=True))
            if it["errors"] or it["statuses"]:
                failed = True
                print(f"{path}, {connections} connections, {target}: {it['errors']} socket errors, "
                      f"{it['statuses']} answers that are failures", file=sys.stderr)
    for path in dict.fromkeys(path for path, _ in turns):
        print(f"/hello{path}: minimum, median and maximum of the rounds\n")
        rows, ratios = [["connections", "target", *MEASURES]], [["connections", "ratio", *MEASURES]]
        for connections in (count for of, count in turns if of == path):
            targets = turns[path, connections]
            for target, rounds in targets.items():
                cells = [spread([measure(it) for it in rounds.values()]) for measure in MEASURES.values()]
                rows.append([str(connections), target, *cells])
            for other in (name for name in targets if name != "helloserve"):
                pairs = [(targets["helloserve"][turn], it) for turn, it in targets[other].items()]
                cells = [spread([measure(own) / measure(its) for own, its in pairs if measure(its) > 0] or [0])
                         for measure in MEASURES.values()]
                ratios.append([str(connections), f"helloserve / {other}", *cells])
        printed(rows)
        printed(ratios)
    sys.exit("there were failures, see above: these figures are not of the same work" if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
