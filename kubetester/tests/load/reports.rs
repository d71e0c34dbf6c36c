//! `--report`: the page is written, or the load does not start.

use super::{
    compare, load,
    servers::{Diary, Draws},
};

#[tokio::test]
async fn report_does_not_change_the_output() {
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
async fn unwritable_report_fails_before_the_first_call() {
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

#[tokio::test]
async fn full_disk_error_names_the_report() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.html");
    let url = Draws::new(&[("pod-a", 100)], 0).url().await;
    // A limit on the size of files fails like a full disk.
    let tool = super::TOOL;
    let command =
        format!("trap '' XFSZ; ulimit -f 1; exec {tool} load {url} -n 20 --report {}", path.display());
    let exit = service::testing::exit_of("sh", &["-c", &command], &[]).await;
    assert_eq!((exit.code, exit.stderr.lines().count()), (Some(3), 1), "{exit:?}");
    let words = format!("cannot write the report to {}: File too large", path.display());
    assert!(exit.stderr.contains(&words), "{}", exit.stderr);
    assert!(exit.stdout.contains("verdict"), "the result is not lost: {}", exit.stdout);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
}
