//! A drill can fail: each of its expectations holds once and fails once, with its sentence and its exit code, and
//! targets that do worse than the default channel are noticed.

use service::testing::Exit;

use super::drill;

/// Returns the line with the outcome of an expectation.
fn line<'a>(exit: &'a Exit, word: &str, flag: &str) -> &'a str {
    let begin = format!("{word}  {flag}: ");
    let line = exit.stdout.lines().find(|line| line.starts_with(&begin));
    line.unwrap_or_else(|| panic!("no line begins with {begin:?}: {exit:?}"))
}

#[tokio::test]
async fn each_expectation_has_its_exit_code_and_sentence() {
    for (limit, code, word) in [("30s", 0, "held"), ("1us", 1, "failed")] {
        let exit = drill(&["scale", "2", "--pods", "1", "--max-gap", limit, "--max-discovery", limit]).await;
        assert_eq!(exit.code, Some(code), "{exit:?}");
        let gap = line(&exit, word, "--max-gap");
        assert!(gap.contains("no call succeeded for ") && gap.contains(" allowed"), "{gap}");
        let discovery = line(&exit, word, "--max-discovery");
        assert!(discovery.contains("hellogrpc-2 got its first call "), "{discovery}");
    }
}

#[tokio::test]
async fn one_connection_loses_calls_with_its_pod() {
    let exit = drill(&["kill", "--target", "/hellogrpc?via=pick_first", "--max-errors", "0"]).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    line(&exit, "failed", "--max-errors");
    assert!(exit.stdout.contains("verdict  kill cost "), "{}", exit.stdout);
}

#[tokio::test]
async fn one_connection_never_finds_another_pod() {
    let arguments = ["scale", "2", "--pods", "1", "--target", "/hellogrpc?via=pick_first"];
    let limits = ["--max-discovery", "1s", "--patience", "1s"];
    let exit = drill(&[&arguments[..], &limits].concat()).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    let sentence = line(&exit, "failed", "--max-discovery");
    assert!(sentence.contains("hellogrpc-2 became ready and got no call to the end"), "{sentence}");
}

#[tokio::test]
async fn tonics_own_balancer_keeps_calling_lost_pods() {
    let exit = drill(&["restart", "--pods", "2", "--target", "tonic", "--max-errors", "0"]).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    line(&exit, "failed", "--max-errors");
}

#[tokio::test]
async fn bad_usage_is_exit_code_2_with_a_hint() {
    for (arguments, words) in [
        (&["scale"][..], "drill scale 5"),
        (&["scale", "0"], "0"),
        (&["scale", "201"], "201"),
        (&["kill", "3"], "for drill scale alone"),
        (&["explode"], "dns-outage"),
        (&["dns-outage", "--on", "compose"], "--on demo"),
        (&["kill", "--on", "mars"], "compose"),
        (&["kill", "--target", "http://"], "host"),
        (&["kill", "--rate", "0"], "--rate"),
        (&["kill", "--steady", "0s"], "--steady"),
        (&["kill", "--max-gap", "long"], "--max-gap"),
    ] {
        let exit = drill(arguments).await;
        assert_eq!(exit.code, Some(2), "{arguments:?}: {exit:?}");
        assert!(exit.stderr.contains(words), "{arguments:?}: {}", exit.stderr);
    }
}

/// A load on another system would always pass, because the drill does not affect it.
#[tokio::test]
async fn target_outside_the_drilled_system_is_an_error() {
    for target in ["http://127.0.0.1:9/", "grpc://127.0.0.1:9", "dns:///elsewhere:8000"] {
        let exit = drill(&["kill", "--pods", "1", "--target", target]).await;
        assert_eq!((exit.code, exit.stdout.as_str()), (Some(2), ""), "{exit:?}");
        assert!(exit.stderr.contains("is outside the demo that this drill starts"), "{}", exit.stderr);
    }
}
