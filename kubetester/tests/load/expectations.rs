//! Each expectation holds once and fails once, with its sentence and its exit code.

use super::{load, servers::Draws};

#[tokio::test]
async fn each_expectation_has_its_exit_code_and_sentence() {
    let even = Draws::new(&[("pod-a", 50), ("pod-b", 50)], 0).url().await;
    let skewed = Draws::new(&[("pod-a", 90), ("pod-b", 10)], 0).url().await;
    let failing = Draws::new(&[("pod-a", 100)], 30).url().await;
    for (url, flag, value, code, sentence) in [
        (&even, "--expect-pods", "2", 0, "2 pods answered, 2 expected"),
        (&even, "--expect-pods", "3", 1, "2 pods answered, 3 expected"),
        (&even, "--max-skew", "2", 0, "at most 2.000 allowed"),
        (&skewed, "--max-skew", "2", 1, "times the calls of the idlest, at most 2.000 allowed"),
        (&failing, "--max-skew", "2", 1, "only one pod was seen"),
        (&even, "--max-errors", "0", 0, "0 of 400 calls failed, at most 0 allowed"),
        (&failing, "--max-errors", "0", 1, "of 400 calls failed, at most 0 allowed"),
        (&failing, "--max-errors", "60%", 0, "at most 60 % allowed"),
        (&failing, "--max-errors", "1%", 1, "at most 1 % allowed"),
        (&even, "--max-p50", "60s", 0, "at most 60.0 s allowed"),
        (&even, "--max-p50", "1us", 1, "at most 1.00 µs allowed"),
        (&even, "--max-p95", "60s", 0, "at most 60.0 s allowed"),
        (&even, "--max-p95", "1us", 1, "at most 1.00 µs allowed"),
        (&even, "--max-p99", "60s", 0, "at most 60.0 s allowed"),
        (&even, "--max-p99", "1us", 1, "at most 1.00 µs allowed"),
        (&even, "--min-rate", "1", 0, "at least 1.0 wanted"),
        (&even, "--min-rate", "9M", 1, "at least 9 000 000 wanted"),
    ] {
        let exit = load(url, &["-n", "400", "-c", "2", flag, value]).await;
        assert_eq!(exit.code, Some(code), "{flag} {value}: {exit:?}");
        let word = if code == 0 { "held" } else { "failed" };
        let line = exit.stdout.lines().find(|line| line.starts_with(&format!("{word}  {flag}: ")));
        assert!(line.is_some_and(|line| line.contains(sentence)), "{flag} {value}:\n{}", exit.stdout);
    }
}

#[tokio::test]
async fn every_failed_expectation_is_named() {
    let failing = Draws::new(&[("pod-a", 100)], 50).url().await;
    let exit =
        load(&failing, &["-n", "50", "--expect-pods", "2", "--max-errors", "0", "--max-p99", "1m"]).await;
    assert_eq!(exit.code, Some(1));
    let failed: Vec<_> = exit.stdout.lines().filter(|line| line.starts_with("failed  --")).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
}

#[tokio::test]
async fn bad_usage_is_exit_code_2_and_names_the_flag() {
    for arguments in [
        ["--calls", "0"],
        ["--calls", "1.5"],
        ["--callers", "0"],
        ["--callers", "4294967295"],
        ["--callers", "18446744073709551615"],
        ["--connections", "1000000000"],
        ["--duration", "0s"],
        ["--rate", "0"],
        ["--timeout", "soon"],
        ["--header", "no colon"],
        ["--pod-from", "somewhere"],
        ["--max-skew", "0.5"],
        ["--max-errors", "101%"],
        ["--max-p99", "fast"],
        ["--connections", "4"],
    ] {
        let exit = load("http://127.0.0.1:9/", &arguments).await;
        assert_eq!(exit.code, Some(2), "{arguments:?}: {exit:?}");
        assert!(exit.stderr.contains(arguments[0]), "{arguments:?}: {}", exit.stderr);
    }
    for target in ["", "http://", "grpc://host", "xds:///svc", "dns:///a b:1"] {
        assert_eq!(load(target, &[]).await.code, Some(2), "{target}");
    }
}
