"""Checks names and doc comments against the conventions in CONTRIBUTING.md.

    python .ci/check_style.py

- A paragraph of a doc comment, and a comment, starts with the thing that it describes, not with a question word.
- Modules and types do not use the words of BANNED as their whole name.
- No production function has test-only code in it.

Prints each finding as `file:line: problem` and exits with 1 if there is any.
"""

import re
import subprocess
import sys

OPENINGS = re.compile(r"(Who|Whom|Whose|What|When|Where|Whether|Of|None|Nobody|So many|How|Those|That)\b")
# A comment inside the code may begin with a time or a place.
RIDDLES = re.compile(r"(Who|Whom|Whose|What|Whether|Of|None|Nobody|So many|How|Those|That)\b")
BANNED = """member pool assembly looks stage streak sign host record nearby link passed leaving lost wire frames pipe slots
heartbeat watchdog complaints crew trail lives spans words printable findings answered refusal told asked""".split()
# A library's own name for a thing is no finding.
ITEM = re.compile(r"^\s*(?:pub(?:\([^)]*\))? )?(?:mod|struct|enum|trait|type|union) (\w+)")
DOC = re.compile(r"^\s*//[/!] ?(.*)")
COMMENT = re.compile(r"^\s*// (.*)")


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def findings(path, text):
    in_paragraph = in_comment = False
    depth_of_function = None
    for number, line in enumerate(text.splitlines(), 1):
        doc = DOC.match(line)
        if doc and not in_paragraph and OPENINGS.match(doc.group(1)):
            yield number, f"a doc comment starts with {doc.group(1).split()[0]!r}; start with the thing and what it does"
        in_paragraph = bool(doc and doc.group(1).strip())
        comment = COMMENT.match(line)
        if comment and not in_comment and RIDDLES.match(comment.group(1)):
            yield number, f"a comment starts with {comment.group(1).split()[0]!r}; start with what it is about"
        in_comment = bool(comment)
        item = ITEM.match(line)
        if item and snake(item.group(1)) in BANNED:
            yield number, f"{item.group(1)!r} is not a term of gRPC, HTTP or Kubernetes; choose the field's word"
        indent = len(line) - len(line.lstrip())
        if depth_of_function is not None and line.strip() == "}" and indent <= depth_of_function:
            depth_of_function = None
        if re.match(r"\s*(pub(\([^)]*\))? )?(async )?(const )?fn \w+", line) and line.rstrip().endswith("{"):
            depth_of_function = indent
        elif depth_of_function is not None and "#[cfg(test)]" in line:
            yield number, "test-only code inside a function; move it to the tests"


def main():
    paths = subprocess.run(["git", "ls-files", "*.rs"], check=True, capture_output=True, text=True).stdout.split()
    count = 0
    for path in paths:
        try:
            text = open(path, encoding="utf-8").read()
        except FileNotFoundError:
            continue  # Deleted in the working tree.
        name = path.rsplit("/", 1)[-1].removesuffix(".rs")
        if name in BANNED or (name == "mod" and path.split("/")[-2] in BANNED):
            print(f"{path}: the module's name is not a term of gRPC, HTTP or Kubernetes")
            count += 1
        for number, problem in findings(path, text):
            print(f"{path}:{number}: {problem}")
            count += 1
    if count:
        print(f"{count} findings in {len(paths)} files", file=sys.stderr)
        sys.exit(1)
    print(f"ok  names and doc comments of {len(paths)} files")


if __name__ == "__main__":
    main()
