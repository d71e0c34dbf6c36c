#!/usr/bin/env python3
"""Which parts of a program's code are used: writes a linker script that puts them side by side.

    bench/used_code.py CALLGRIND_OUTPUT EXECUTABLE > helloserve/used_code.ld

The output is callgrind's (`--demangle=no`) of the executable, which has its symbols. A path of names, such as that of a
module, is written as one pattern when at least half of the code below it was run; so most functions that are added
later are where they should be. Hashes are left out, for they change with every build.
"""

import re
import subprocess
import sys

SHARE = 0.5
# Of the names of the standard library, which are mangled in another way, so much is compared.
LONGEST = 90


def sizes(executable):
    """Of each function, in bytes, by its symbol."""
    found = {}
    for line in subprocess.run(["nm", "-S", executable], capture_output=True, text=True, check=True).stdout.splitlines():
        fields = line.split(None, 3)
        if len(fields) == 4 and fields[2] in "tTwW":
            found[fields[3]] = int(fields[1], 16)
    return found


def ran(callgrind):
    with open(callgrind) as lines:
        matches = (re.match(r"c?fn=(\S+)", line) for line in lines)
        # Recursion is counted at every depth.
        return {re.sub(r"'\d+$", "", match[1]) for match in matches if match}


def path(symbol):
    """The names that a symbol is made of, without its hash; none if it is not Rust's."""
    if symbol.startswith("_R"):
        return ["_R", re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", symbol[2:])[:LONGEST]]
    if not symbol.startswith("_ZN"):
        return []
    names, rest = ["_ZN"], symbol[3:]
    while match := re.match(r"\d+", rest):
        name = rest[:match.end() + int(match[0])]
        if re.fullmatch(r"17h[0-9a-f]{16}", name):
            break
        names.append(name)
        rest = rest[len(name):]
    return names


class Names:
    """All symbols that begin alike."""

    def __init__(self):
        self.below, self.size, self.used = {}, 0, 0

    def patterns(self, prefix=""):
        if not self.used and prefix:
            return
        # Whatever is of Rust is not enough to be alike.
        if not self.below or (prefix not in ("", "_ZN", "_R") and self.used >= SHARE * self.size):
            # What the compiler takes to be unlikely is in `.text.unlikely.`.
            yield f"*(.text*.{prefix}*)"
            return
        for name, below in sorted(self.below.items()):
            yield from below.patterns(prefix + name)


def main(callgrind, executable):
    used, root = ran(callgrind), Names()
    for symbol, size in sizes(executable).items():
        names = root
        for name in path(symbol):
            names = names.below.setdefault(name, Names())
            names.size += size
            names.used += size * (symbol in used)
    print("/* Written by bench/used_code.py. */")
    print("SECTIONS\n{\n  .text.used :\n  {")
    for pattern in root.patterns():
        print(f"    {pattern}")
    print("  }\n}\nINSERT BEFORE .text;")


main(*sys.argv[1:])
