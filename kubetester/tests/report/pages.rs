//! The text of the pages.

use std::time::Duration;

use kubetester::{
    compare::Comparison,
    conditions::Conditions,
    drill::{
        event_log::{Event, EventKind},
        expect::DrillExpectations,
        result::DrillResult,
        scenario::Scenario,
        success_log::CallTimes,
    },
    engine::{Plan, Run},
    expect::Expectations,
    render, report,
    result::{Ending, IdleEndpoint, LoadResult, Move, PodStreams, Streams},
};

use super::{CALLS, Calls, Page, about};

#[test]
fn load_page_has_verdict_figures_and_pods() {
    let page = Calls { failing: 8, ..CALLS }.page();
    assert_eq!(page.texts("h1"), ["http://gw:80/hello"]);
    // Failures come first and determine the colour of the verdict.
    let sentences = page.texts(".verdict.bad p");
    assert!(sentences[0].starts_with("500 of 4 000 calls failed"), "{sentences:?}");
    assert!(sentences[1].starts_with("uneven: the busiest of 2 pods"), "{sentences:?}");
    assert_eq!(page.texts(".expectations li"), ["held --expect-pods 2 pods answered, 2 expected"]);
    assert_eq!(page.texts(".facts:not(.small) dd"), ["4 000", "1 000", "500", "2", "700 µs", "1.19 ms"]);
    assert_eq!(page.texts("table.pods tbody tr:first-child td")[..3], ["1 500", "42.9 %", "500"]);
    assert_eq!(page.texts("table.causes tbody tr")[0].replace('\n', ""), "500it & <b>failed</b>");
    assert_eq!(page.texts("footer code")[0], "kubetester load 'http://gw/hello?a=1&b=2'");
    assert_eq!(page.texts("footer time"), ["1970-01-01 00:00:00 UTC"]);
    assert_eq!(page.texts("figcaption").len(), 4);
}

#[test]
fn held_streams_have_their_pods_their_endings_and_their_moves() {
    let pod = |name: &str, held, ended, came_later| PodStreams {
        name: name.to_owned(),
        held,
        share: held as f64 / 20.0,
        opened: held + ended,
        ended,
        first_at: 0.25,
        came_later,
    };
    let ending = Ending {
        status: "UNAVAILABLE".to_owned(),
        pod: Some("pod-a".to_owned()),
        count: 10,
        shortest: 1.5,
        longest: 2.5,
        first_at: 2.0,
        last_at: 3.0,
    };
    let streams = Streams {
        method: "a.B/C".to_owned(),
        wanted: 20,
        hold: 10.0,
        settled: Some(0.1),
        held: 20,
        held_unnamed: 0,
        opened: 30,
        reopened: 10,
        not_opened: 0,
        ended: 10,
        pods: vec![pod("pod-a", 0, 10, false), pod("pod-b", 20, 0, true)],
        endings: vec![ending],
        moves: vec![Move { from: "pod-a".to_owned(), to: "<pod-b>".to_owned(), count: 10 }],
        idle: Some(vec![IdleEndpoint { address: "10.0.0.1:80".to_owned(), came_later: false }]),
    };
    let plan =
        Plan { calls: None, duration: Some(Duration::from_secs(10)), rate: None, timeout: Duration::ZERO };
    let conditions = Conditions::new("dns:///a:1".parse().unwrap(), 20);
    let result =
        LoadResult::of_streams(&conditions, &plan, &Run::default(), streams, &Expectations::default());
    let page = Page::new(report::load(&result, &about()));
    let rows = |table: usize| {
        let selector = format!(".scroll:nth-of-type({table}) table.streams tbody tr");
        page.texts(&selector).into_iter().map(|row| row.replace('\u{202f}', " ")).collect::<Vec<_>>()
    };
    assert_eq!(rows(1), ["pod-a01010250 ms", "pod-b20200250 mscame later"]);
    assert_eq!(rows(2), ["10UNAVAILABLEpod-a1.50 s2.50 s"]);
    assert_eq!(rows(3), ["10pod-a<pod-b>"]);
    assert!(page.text.contains("The endpoint 10.0.0.1:80 is connected and holds no stream."));
}

#[test]
fn comparison_page_has_one_scale_and_marks_the_best() {
    let one = Calls { pods: &["pod-a"], every: Duration::from_millis(2), fastest: 3000, ..CALLS };
    let results = vec![
        ("turns".to_owned(), CALLS.load("http://gw/a"), Vec::new()),
        ("first".to_owned(), one.load("http://gw/b"), Vec::new()),
    ];
    let page = Page::new(report::compare(&Comparison::new(5, results), &about()));
    assert_eq!(page.texts("h2"), ["turns", "first"]);
    assert_eq!(
        page.texts("main > section tbody tr:first-child strong"),
        ["1 000", "2", "1.000", "690 µs", "1.18 ms"]
    );
    assert_eq!(page.texts("main > section tbody td:nth-child(2)"), ["even", "one-pod"]);
    for axis in ["vertical", "horizontal"] {
        let [a, b] =
            ["target-0", "target-1"].map(|panel| page.texts(&format!("#{panel} .plot .{axis} span")));
        assert!(a == b && a.len() > 5, "{a:?} {b:?}");
    }
    // The same pod has the same colour.
    assert_eq!(page.texts("#target-0 .ends .c0"), ["pod-a"]);
    assert_eq!(page.texts("#target-1 .ends .c0"), ["pod-a"]);
    assert!(page.texts(".lead")[0].contains("Not every expectation held."), "{:?}", page.texts(".lead"));
}

#[test]
fn drill_page_marks_events_on_all_plots() {
    let event = |at, what, pod: Option<&str>| Event { at, what, pod: pod.map(str::to_owned) };
    let events = vec![
        event(1.0, EventKind::DnsFails, None),
        event(1.5, EventKind::Killed, Some("pod-a")),
        event(3.0, EventKind::Ready, Some("pod-a")),
    ];
    let mut call_times = CallTimes::default();
    call_times.pods.insert("pod-a".into(), vec![0.5, 1.0, 3.25]);
    let expectations = DrillExpectations::default();
    let load = CALLS.load("http://gw/a");
    let result =
        DrillResult::new(Scenario::DnsOutage, "demo", events, &call_times, Vec::new(), load, &expectations);
    let page = Page::new(report::drill(&result, &about()));
    assert_eq!(page.texts("h1"), ["dns-outage on demo"]);
    assert_eq!(page.texts(".verdict p"), result.sentences);
    assert_eq!(page.texts(".part > .scroll tbody th")[..2], ["DNS answers SERVFAIL", "pod-a was killed"]);
    assert_eq!(page.texts(".timeline .pod-row"), ["pod-a\nwas killedwas ready", "pod-b"]);
    let at = |plot: &str| -> Vec<_> {
        page.all(&format!("{plot} .mark")).iter().map(|mark| mark.attr("style").unwrap().to_owned()).collect()
    };
    let plots =
        page.all(".plot:not(.timeline)").into_iter().filter(|plot| !super::text(*plot).contains("how long"));
    assert_eq!(plots.count(), 2);
    for mark in ["left:25%;--row:0", "left:37.5%;--row:0", "left:75%;--row:0"] {
        assert_eq!(at(".plot:not(.timeline)").iter().filter(|style| *style == mark).count(), 2, "{mark}");
    }
    assert_eq!(page.texts(".plot:not(.timeline) .mark b")[..3], ["1", "2", "3"]);
}

#[test]
fn notes_are_the_same_in_html_text_and_json() {
    let mut load = CALLS.load("http://gw/a");
    load.notes = vec!["5 calls were due and never made".to_owned(), "and <another>".to_owned()];
    let call_times = CallTimes::default();
    let expectations = DrillExpectations::default();
    let result =
        DrillResult::new(Scenario::Kill, "demo", Vec::new(), &call_times, Vec::new(), load, &expectations);
    let page = Page::new(report::drill(&result, &about()));
    let notes = page.texts(".part > .note");
    let terminal = anstream::adapter::strip_str(&render::drill(&result)).to_string();
    let json = serde_json::to_value(&result).unwrap();
    for (index, note) in result.load.notes.iter().enumerate() {
        assert!(notes.contains(note), "{notes:?}");
        assert!(terminal.contains(&format!("note     {note}\n")), "{terminal}");
        assert_eq!(
            (&json["notes"][index], &json["load"]["notes"][index]),
            (&note.as_str().into(), &note.as_str().into())
        );
    }
}
