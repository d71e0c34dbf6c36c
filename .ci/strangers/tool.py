"""Runs kubetester and checks its result: exit code, kinds of the verdict, calls by pod."""

import json
import subprocess

SECONDS = 60
HELLO = ["--method", "helloworld.Greeter/SayHello", "--data", '{"name": "Ann"}']


def run(tool, *arguments):
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=SECONDS)
    return done.returncode, done.stdout, done.stderr


def load(tool, *arguments, code=0):
    """The document of a load. One caller, so that each pod's turn comes as often as the others'."""
    actual, out, err = run(tool, "load", "-n", "300", "-c", "1", "--json", *arguments)
    assert actual == code, f"{arguments}: exit {actual}: {out}{err}"
    return json.loads(out)


def verdict(tool, expected, *arguments, code=0):
    """The load ends with findings of these kinds, in this order."""
    document = load(tool, *arguments, code=code)
    kinds = [finding["kind"] for finding in document["findings"]]
    assert kinds == expected, f"{arguments}: {kinds}: {document['verdict']}"
    return document


def even(tool, pods, *arguments):
    """Each pod takes the same number of calls, and none fails."""
    document = verdict(tool, ["even"], *arguments, "--max-errors", "0")
    calls = {pod["name"]: pod["calls"] for pod in document["pods"]}
    assert calls == dict.fromkeys(pods, 300 // len(pods)), f"{arguments}: {calls}"


def only_error(document):
    """The cause that all failed calls share."""
    (error,) = document["errors"]
    return error["cause"]


def refused(tool, expected, words, *arguments):
    """It is refused in one line, before any call."""
    code, out, err = run(tool, "load", "-n", "300", *arguments)
    assert (code, out, err.count("\n")) == (expected, "", 1) and words in err, f"{arguments}: exit {code}: {out}{err}"
