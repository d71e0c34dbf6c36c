//! The HTML report, parsed as in a browser.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod hostile;
mod pages;
mod shapes;

use std::time::{Duration, SystemTime};

use kubetester::{
    conditions::Conditions,
    engine::{Plan, Run},
    expect::Expectations,
    report::{self, About},
    result::LoadResult,
    tally::{Sample, Tally},
};
use scraper::{ElementRef, Html, Selector};

/// A parsed page.
struct Page {
    text: String,
    html: Html,
}

/// The calls of a simulated load.
#[derive(Clone, Copy)]
struct Calls<'a> {
    pods: &'a [&'a str],
    count: u64,
    /// The interval of failing calls: every n-th call fails, or none if 0.
    failing: u64,
    /// The time from one call to the next.
    every: Duration,
    /// The latency of the fastest call, in microseconds.
    fastest: u64,
}

const CALLS: Calls<'_> = Calls {
    pods: &["pod-a", "pod-b"],
    count: 4000,
    failing: 0,
    every: Duration::from_millis(1),
    fastest: 200,
};

// === impl Calls ===

impl Calls<'_> {
    fn load(self, target: &str) -> LoadResult {
        let mut tally = Tally::default();
        for number in 0..self.count {
            let fails = self.failing > 0 && number % self.failing == 0;
            tally.record(Sample {
                at: self.every * number as u32,
                late: Duration::ZERO,
                latency: Duration::from_micros(self.fastest + number % 100 * 10),
                pod: self.pods.get(number as usize % self.pods.len().max(1)).map(|pod| (*pod).to_owned()),
                error: fails.then(|| "it & <b>failed</b>".to_owned()),
                ..Sample::default()
            });
        }
        let run = Run { tally, elapsed: self.every * self.count as u32, ..Run::default() };
        let plan = Plan { calls: None, duration: None, rate: None, timeout: Duration::from_secs(1) };
        let expectations = Expectations { expect_pods: Some(2), ..Expectations::default() };
        LoadResult::new(&Conditions::new(target.parse().unwrap(), 16), &plan, &run, &expectations)
    }

    fn page(self) -> Page {
        Page::new(report::load(&self.load("http://gw/hello"), &about()))
    }
}

fn about() -> About {
    About { command: "kubetester load 'http://gw/hello?a=1&b=2'".to_owned(), began: SystemTime::UNIX_EPOCH }
}

// === impl Page ===

impl Page {
    /// Parses a page and checks the properties of every page.
    fn new(text: String) -> Self {
        let page = Self { html: Html::parse_document(&text), text };
        assert_eq!(page.html.errors, [""; 0], "{}", page.text);
        assert_eq!(page.all("script, link, img, iframe, object, embed, base, form, a, use, image").len(), 0);
        for element in page.all("*") {
            for (name, value) in element.value().attrs() {
                assert!(
                    !name.starts_with("on") && !["src", "href", "xlink:href"].contains(&name),
                    "{name}={value}"
                );
            }
            // Paths contain finite numbers only.
            for name in ["d", "style"] {
                let value = element.attr(name).unwrap_or_default();
                assert!(
                    !["NaN", "inf", "-"].iter().any(|wrong| value.replace("--", "").contains(wrong)),
                    "{value}"
                );
            }
        }
        let style = page.only("style").text().collect::<String>();
        assert!(!style.contains("@import") && !style.contains("url(") && !style.contains("http"), "{style}");
        for svg in page.all("svg") {
            assert!(svg.attr("role") == Some("img"));
            assert!(svg.attr("aria-label").is_some() || svg.attr("aria-labelledby").is_some());
        }
        for table in page.all("table") {
            assert!(table.select(&selector("thead th[scope=col]")).next().is_some());
        }
        let ids: Vec<_> = page.all("[id]").iter().filter_map(|element| element.attr("id")).collect();
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), ids.len(), "{ids:?}");
        page
    }

    fn all(&self, what: &str) -> Vec<ElementRef<'_>> {
        self.html.select(&selector(what)).collect()
    }

    fn only(&self, what: &str) -> ElementRef<'_> {
        let all = self.all(what);
        assert_eq!(all.len(), 1, "{what}");
        all[0]
    }

    /// Returns the texts of elements, with plain spaces.
    fn texts(&self, what: &str) -> Vec<String> {
        self.all(what).into_iter().map(text).collect()
    }
}

fn text(element: ElementRef<'_>) -> String {
    element.text().collect::<String>().replace('\u{202f}', " ").trim().to_owned()
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).unwrap()
}
