//! Output that cannot be written is an error; a closed pipe is not.

use service::testing::exit_of;

use super::{TOOL, compare, load, servers::Draws};

#[tokio::test]
async fn full_disk_is_exit_code_3_and_one_sentence() {
    let url = Draws::new(&[("pod-a", 100)], 0).url().await;
    for command in [
        format!("load {url} -n 20"),
        format!("load {url} -n 20 --json"),
        format!("compare {url} {url} -n 20"),
        format!("load {url} -n 20 -o csv"),
        "completions bash".to_owned(),
        "man".to_owned(),
        "demo --once --listen 127.0.0.1:0".to_owned(),
    ] {
        let exit = exit_of("sh", &["-c", &format!("exec {TOOL} {command} > /dev/full")], &[]).await;
        assert_eq!((exit.code, exit.stderr.lines().count()), (Some(3), 1), "{command}: {exit:?}");
        assert!(
            exit.stderr.contains("cannot write to standard output: No space left"),
            "{command}: {exit:?}"
        );
    }
}

#[tokio::test]
async fn closed_pipe_is_quiet() {
    let url = Draws::new(&[("pod-a", 100)], 0).url().await;
    let command = format!("({TOOL} load {url} -n 20 --json; echo $? >&2) | true");
    let exit = exit_of("bash", &["-c", &command], &[]).await;
    assert_eq!(exit.stderr.trim(), "0", "{exit:?}");
}

#[tokio::test]
async fn csv_has_a_line_for_each_target_under_one_header() {
    let [a, b] = [Draws::new(&[("pod-a", 100)], 0).url().await, Draws::new(&[("pod-b", 100)], 0).url().await];
    let exit = compare(&[&a, &b, "-n", "20", "-o", "csv"]).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let lines: Vec<Vec<&str>> = exit.stdout.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 3, "{}", exit.stdout);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{}", exit.stdout);
    let column = |name: &str| lines[0].iter().position(|column| *column == name).unwrap();
    for (line, url) in lines[1..].iter().zip([&a, &b]) {
        assert_eq!((line[column("command")], line[column("target")]), ("compare", url.as_str()));
        assert_eq!([line[column("calls")], line[column("failed")], line[column("pods")]], ["20", "0", "1"]);
        assert!(line[column("p99")].parse::<f64>().unwrap() > 0.0);
        assert_eq!((line[column("findings")], line[column("held")]), ("one-pod", "true"));
    }
}

#[tokio::test]
async fn junit_has_a_case_for_each_expectation() {
    let url = Draws::new(&[("pod-a&<", 100)], 0).url().await;
    let exit = load(&url, &["-n", "20", "-o", "junit", "--expect-pods", "2", "--max-errors", "0"]).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    let xml = scraper::Html::parse_fragment(&exit.stdout);
    let all = |what: &str| -> Vec<_> {
        xml.select(&scraper::Selector::parse(what).unwrap()).map(|one| one.value().clone()).collect()
    };
    let names: Vec<_> = all("testcase").iter().map(|case| case.attr("name").unwrap().to_owned()).collect();
    assert_eq!(names, ["--expect-pods", "--max-errors"]);
    let suite = &all("testsuite")[0];
    assert_eq!((suite.attr("tests"), suite.attr("failures")), (Some("2"), Some("1")));
    assert_eq!(all("failure").len(), 1, "{}", exit.stdout);
    assert!(exit.stdout.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"), "{}", exit.stdout);
    assert!(exit.stdout.ends_with("</testsuites>\n"), "{}", exit.stdout);
}
