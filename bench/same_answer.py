"""Checks that the targets do the same work, before anybody measures how fast.

    same_answer.py PATH BACKENDS TARGET=ADDRESS...

Asks each target as often as there are backends, for the same path, and compares what the backends said: each target
must have reached every backend, and hand on the same JSON. The gateway (a target called helloserve...) puts what the
backend said into an answer of its own, as the member `response`; that member is compared with the whole answer of
the others.
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
