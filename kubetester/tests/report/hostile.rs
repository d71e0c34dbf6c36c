//! A pod's name is always rendered as text, even if a server sends markup or control characters.

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
fn hostile_names_are_escaped_everywhere() {
    let page = Calls { pods: &NAMES, ..CALLS }.page();
    let mut rows = page.texts("table.pods tbody th");
    let mut names = NAMES.map(str::to_owned);
    rows.sort();
    names.sort();
    assert_eq!(rows, names);
    // Each name is isolated, so that right-to-left text does not affect the text around it.
    assert_eq!(page.all("table.pods tbody th > bdi").len(), NAMES.len());
    for name in page.texts(".ends li:not(.rest):not(.p50):not(.p90):not(.p99) bdi") {
        assert!(NAMES.contains(&&*name), "{name}");
    }
    // The page has as many elements as with harmless names.
    let tame = Calls { pods: &["a", "b", "c", "d", "e", "f", "g", "h"], ..CALLS }.page();
    assert_eq!(page.all("*").len(), tame.all("*").len());
}
