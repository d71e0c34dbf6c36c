//! A peer that lies about its name writes text, and nothing else.

use super::{CALLS, Calls};

const NAMES: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><svg onload=alert(1)>",
    "</title></style></svg><img src=x onerror=alert(1)>",
    "' style='background:red",
    "&lt;b&gt; &amp; &#60;",
    "{{ about.command }}{% include \"/etc/passwd\" %}",
    "--></details>]]><!--",
    "\u{202e}dop-live",
];

#[test]
fn names_are_text_wherever_they_stand() {
    let page = Calls { pods: &NAMES, ..CALLS }.page();
    let mut rows = page.texts("table.pods tbody th");
    let mut names = NAMES.map(str::to_owned);
    rows.sort();
    names.sort();
    assert_eq!(rows, names);
    // Each stands by itself, so that one that is written from right to left turns nothing else around.
    assert_eq!(page.all("table.pods tbody th > bdi").len(), NAMES.len());
    for name in page.texts(".ends li:not(.rest):not(.p50):not(.p90):not(.p99) bdi") {
        assert!(NAMES.contains(&&*name), "{name}");
    }
    // As many elements as with tame names.
    let tame = Calls { pods: &["a", "b", "c", "d", "e", "f", "g", "h"], ..CALLS }.page();
    assert_eq!(page.all("*").len(), tame.all("*").len());
}
