//! `--report`: the page is there, or the load never begins.

use super::{
    compare, load,
    servers::{Diary, Draws},
};

#[tokio::test]
async fn a_report_is_written_and_the_output_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.html");
    let file = path.to_str().unwrap();
    let url = Draws::new(&[("pod-a", 50), ("pod-b", 50)], 0).url().await;
    let exit = load(&url, &["-n", "200", "--report", file, "--header", "X-Key: secret", "--json"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(!exit.stdout.contains("over_time"), "{exit:?}");
    let page = std::fs::read_to_string(&path).unwrap();
    for words in [&*url, "pod-a", "</html>", "X-Key: ..."] {
        assert!(page.contains(words), "{words} is not in the page");
    }
    assert!(!page.contains("secret"));

    let exit = compare(&[&url, &url, "-n", "50", "--report", file, "--expect-pods", "9"]).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(std::fs::read_to_string(&path).unwrap().contains("2 targets under the same load"));
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_said_before_the_first_call() {
    let diary = Diary::default();
    let url = format!("http://{}/a", diary.address().await);
    for exit in [
        load(&url, &["-n", "5", "--report", "/nonexistent/a.html"]).await,
        compare(&[&url, &url, "-n", "5", "--report", "/nonexistent/a.html"]).await,
    ] {
        assert_eq!((exit.code, &*exit.stdout), (Some(3), ""), "{exit:?}");
        assert!(exit.stderr.contains("cannot write the report to /nonexistent/a.html: "), "{exit:?}");
        assert!(exit.stderr.contains("make the directory first"), "{exit:?}");
    }
    assert_eq!(diary.read(), "", "nothing was called");
}
