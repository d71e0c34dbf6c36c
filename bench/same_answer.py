"""Checks that the targets do the same work, before they are measured.

    same_answer.py PATH BACKENDS TARGET=ADDRESS...

Sends each target as many requests as there are backends, for the same path, and compares the backends' answers: each
target must have reached every backend, and pass on the same JSON. The gateway (a target whose name starts with
helloserve) wraps the backend's answer in its own as the member `response`; that member is compared with the whole
answer of the other targets.
"""

import json
import sys
import urllib.request


def said(target: str, url: str) -> dict:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers.get_content_type() == "application/json", f"{url}: {answer.headers}"
        body = json.load(answer)
    return body["response"] if target.startswith("helloserve") else body


def main(path: str, backends: str, *targets: str) -> None:
    answers = {}
    for target, address in (given.split("=", 1) for given in targets):
        url = f"http://{address}{path}"
        seen = {json.dumps(said(target, url), sort_keys=True) for _ in range(int(backends))}
        if len(seen) != int(backends):
            sys.exit(f"{url} ({target}) has not reached {backends} backends in as many requests: {sorted(seen)}")
        answers[target] = seen
    first, *others = answers
    for other in others:
        if answers[other] != answers[first]:
            sys.exit(f"{path}: {first} says {sorted(answers[first])}, {other} says {sorted(answers[other])}")
    example = min(answers[first])
    print(f"{path}: {', '.join(answers)} hand on the same JSON; the backends ({backends}) say {example}")


if __name__ == "__main__":
    main(*sys.argv[1:])
