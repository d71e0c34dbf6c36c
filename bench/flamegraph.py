"""Draws the output of `perf script` as a flame graph: width is time, height is the call stack.

    perf script | bench/flamegraph.py 'TITLE' > flames.svg

The SVG has no scripts, so that it is displayed wherever images are. Hover over a frame for its full name and share.
"""

import html
import re
import sys

WIDTH, ROW, TOP = 1180, 15, 40
# The minimum width of a frame, in pixels; narrower frames are left out.
NARROWEST = 0.6
KINDS = [
    (re.compile(r"\[k\]$"), "#c9cdd6"),
    (re.compile(r"\b(h2|hyper|hyper_util|httparse)::"), "#f2b36d"),
    (re.compile(r"\b(tokio|mio)::"), "#9fc5e8"),
    (re.compile(r"\b(helloserve|service|balanced_channel|proto)::"), "#e8795e"),
    (re.compile(r"\b(axum|tower|tonic|prost)"), "#f6d77a"),
]
OTHER = "#d9d2c5"


class Frame:
    def __init__(self) -> None:
        self.samples = 0
        self.callees: dict[str, Frame] = {}


def stacks(lines):
    """Returns the stacks that perf prints: innermost frame first, separated by empty lines."""
    stack: list[str] = []
    for line in lines:
        if not line.strip():
            if stack:
                yield stack
            stack = []
        elif line[0] in "\t ":
            name = re.sub(r"^\s*[0-9a-f]+ (.*?)(\+0x[0-9a-f]+)? \((.*)\)$", r"\1 \3", line.rstrip())
            name, _, place = name.rpartition(" ")
            # Rust's symbol hash is meaningless to readers.
            name = re.sub(r"::h[0-9a-f]{16}$", "", name)
            if name == "[unknown]" or place == "([unknown])":
                continue
            stack.append(f"{name} [k]" if place.startswith("[") and "vdso" not in place else name)
    if stack:
        yield stack


def drawn(frame: Frame, name: str, left: float, depth: int, scale: float, whole: int, out: list[str]) -> int:
    width = frame.samples * scale
    if width < NARROWEST:
        return depth
    colour = next((colour for kind, colour in KINDS if kind.search(name)), OTHER)
    y, deepest = TOP + depth * ROW, depth
    room = int((width - 4) / 6.3)
    short = name if len(name) <= room else name[: room - 1] + "…" if room > 3 else ""
    out.append(
        f'<g><title>{html.escape(name)}: {frame.samples / whole:.1%}</title>'
        f'<rect x="{left:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" fill="{colour}" rx="1"/>'
        + (f'<text x="{left + 2:.1f}" y="{y + 11}">{html.escape(short)}</text>' if short else "")
        + "</g>"
    )
    for callee in sorted(frame.callees):
        deepest = max(deepest, drawn(frame.callees[callee], callee, left, depth + 1, scale, whole, out))
        left += frame.callees[callee].samples * scale
    return deepest


def main(title: str) -> None:
    sys.setrecursionlimit(10_000)
    root = Frame()
    for stack in stacks(sys.stdin):
        # The runtime's frames above a task are the same for all tasks, and perf does not always find them.
        tasks = [at for at, name in enumerate(stack) if name.startswith("tokio::runtime::task::raw::poll")]
        frame = root
        frame.samples += 1
        for name in reversed(stack[: tasks[0] if tasks else None]):
            frame = frame.callees.setdefault(name, Frame())
            frame.samples += 1
    if not root.samples:
        sys.exit("there is no stack in what perf printed")
    out: list[str] = []
    deepest = drawn(root, f"all: {root.samples} samples", 10, 0, (WIDTH - 20) / root.samples, root.samples, out)
    height = TOP + (deepest + 1) * ROW + 10
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="10">')
    print(f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>')
    print(f'<text x="10" y="24" font-size="15">{html.escape(title)}</text>')
    print("\n".join(out))
    print("</svg>")


if __name__ == "__main__":
    main(*sys.argv[1:])
