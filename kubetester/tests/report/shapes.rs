//! The plots, also of very small and very large loads.

use std::time::Duration;

use super::{CALLS, Calls, Page};

/// Returns the number of horizontal segments of each path.
fn steps(page: &Page, what: &str) -> Vec<usize> {
    page.all(what).iter().map(|path| path.attr("d").unwrap().matches('H').count()).collect()
}

#[test]
fn paths_have_a_step_for_each_interval() {
    let load = Calls { failing: 8, ..CALLS }.load("http://gw/");
    let intervals = load.over_time.as_ref().unwrap().succeeded.len();
    assert_eq!(intervals, 128, "4 s in intervals of 1/32 s");
    let page = Calls { failing: 8, ..CALLS }.page();
    // The outline has each step twice, along the top and along the bottom.
    assert_eq!(steps(&page, "path.area.c0, path.area.c1, path.area.failed"), [intervals * 2; 3]);
    assert_eq!(steps(&page, "path.bins"), [load.histogram.unwrap().len() * 2]);
    for line in page.all("path.line") {
        assert_eq!(line.attr("d").unwrap().matches('L').count(), intervals - 1);
    }
}

#[test]
fn stack_height_is_the_sum_of_its_pods() {
    let page = CALLS.page();
    let height = |class: &str| {
        let path = page.only(&format!("path.area.{class}")).attr("d").unwrap();
        200.0 - path[path.find('V').unwrap() + 1..path.find('H').unwrap()].parse::<f64>().unwrap()
    };
    let (lower, upper) = (height("c0"), height("c1"));
    assert!(lower > 10.0 && (upper / lower - 2.0).abs() < 0.1, "{lower} {upper}");
    let ends = page.texts(".ends li");
    assert_eq!(ends[..2], ["pod-b", "pod-a"], "from the top, as the areas are");
}

#[test]
fn no_calls_have_no_plots() {
    let page = Calls { count: 0, ..CALLS }.page();
    assert_eq!((page.all("svg").len(), page.all("table").len()), (0, 0));
    assert!(page.texts(".verdict")[0].starts_with("no call was made"));
}

#[test]
fn one_call_is_drawn() {
    let page = Calls { count: 1, ..CALLS }.page();
    assert_eq!(page.all("path.area.c0").len(), 1);
    assert_eq!(page.all("path.line").len(), 3);
}

#[test]
fn one_pod_is_drawn_as_one() {
    let page = Calls { pods: &["only"], ..CALLS }.page();
    assert_eq!((page.texts(".ends .c0"), page.all("path.rest").len()), (vec!["only".to_owned()], 0));
}

#[test]
fn errors_alone_have_no_latency() {
    let page = Calls { failing: 1, ..CALLS }.page();
    assert_eq!(
        (page.all("path.failed").len(), page.all("path.line").len(), page.all("path.bins").len()),
        (1, 0, 0)
    );
    assert_eq!(
        page.texts("figcaption"),
        ["Calls a second that succeeded, by pod", "Calls a second that failed"]
    );
}

#[test]
fn unnamed_answers_are_drawn_separately() {
    let page = Calls { pods: &[], ..CALLS }.page();
    assert_eq!(page.texts(".ends .rest"), ["no pod named"]);
}

#[test]
fn thousand_pods_are_collapsed() {
    let names: Vec<String> = (0..1000).map(|number| format!("pod-{number:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let page = Calls { pods: &names, count: 20_000, ..CALLS }.page();
    assert_eq!(page.all("path.area:not(.rest)").len(), 5 + 1, "five pods and the histogram");
    assert_eq!(page.texts(".ends .rest"), ["all others"]);
    assert_eq!(page.texts("details summary")[0], "980 more pods, by their calls");
    assert_eq!(page.all("table.pods tbody tr").len(), 1000);
    assert_eq!(page.all("[id$=ranks] , svg[aria-labelledby^=load-ranks]").len(), 1);
    assert!(page.text.len() < 700_000, "{} bytes", page.text.len());
}

#[test]
fn long_run_has_a_page_of_the_same_size() {
    let page = Calls { every: Duration::from_secs(20), ..CALLS }.page();
    assert!(steps(&page, "path.area.c0")[0] <= 600);
    let hours = page.texts("#load .plot .horizontal span");
    assert!(hours.contains(&"12 h".to_owned()), "{hours:?}");
}
