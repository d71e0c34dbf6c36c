//! The power of the verdict: simulates how often it is wrong, for the table in `docs/verdicts.md`.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::{env, fmt::Write as _, fs};

use kubetester::balance::{Balance, Spread};

const MARK: &str = "<!-- From here on, a test makes the table. -->\n";
const RUNS: usize = 1000;
const PODS: [usize; 6] = [2, 3, 5, 10, 20, 50];
const CALLS: [usize; 7] = [10, 30, 100, 300, 1000, 3000, 10_000];

/// The numbers of runs with each verdict: even, uneven, or too few calls.
#[derive(Debug, Default, Clone, Copy)]
struct Verdicts {
    even: usize,
    uneven: usize,
    too_few: usize,
}

/// Simulates random calls to pods. The weight of the first pod is `first`, that of each other pod is 2.
fn verdicts(pods: usize, first: u32, seed: u64) -> [Verdicts; CALLS.len()] {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut all = [Verdicts::default(); CALLS.len()];
    let sides = first + 2 * (pods as u32 - 1);
    for _ in 0..RUNS {
        let mut counts = vec![0; pods];
        let mut made = 0;
        for (calls, verdicts) in CALLS.iter().zip(&mut all) {
            while made < *calls {
                // Four draws of 16 bits each. The total weight is at most 101, so the bias is below 0.2 %.
                let mut bits = random.u64(..);
                for _ in 0..4.min(calls - made) {
                    let side = ((bits & 0xffff) as u32 * sides) >> 16;
                    bits >>= 16;
                    counts[side.checked_sub(first).map_or(0, |side| side as usize / 2 + 1)] += 1;
                    made += 1;
                }
            }
            // The tool does not know of pods that were never chosen.
            let seen = counts.iter().copied().filter(|count| *count > 0);
            match Balance::of_counts(seen).spread() {
                Spread::Even | Spread::Random => verdicts.even += 1,
                Spread::Uneven => verdicts.uneven += 1,
                Spread::TooFew { .. } | Spread::OnePod => verdicts.too_few += 1,
                Spread::Unknown | Spread::Unsettled => unreachable!("pods that were seen have calls"),
            }
        }
    }
    all
}

fn percent(runs: usize) -> String {
    format!("{:.1}", runs as f64 * 100.0 / RUNS as f64)
}

fn bold(runs: usize) -> String {
    if runs == 0 { percent(runs) } else { format!("**{}**", percent(runs)) }
}

#[test]
fn verdict_is_wrong_in_at_most_1_percent_of_runs() {
    let mut table = String::from(
        "\n| pods | calls | fair choice: even | uneven | too few | one pod 1.5 times: even | uneven | too few |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for pods in PODS {
        // A weight of 2 for each pod, or of 3 for the first, which is 1.5 times as much.
        let (fair, skewed) = (verdicts(pods, 2, 42), verdicts(pods, 3, 43));
        for ((calls, fair), skewed) in CALLS.iter().zip(fair).zip(skewed) {
            writeln!(
                table,
                "| {pods} | {calls} | {} | {} | {} | {} | {} | {} |",
                percent(fair.even),
                bold(fair.uneven),
                percent(fair.too_few),
                bold(skewed.even),
                percent(skewed.uneven),
                percent(skewed.too_few),
            )
            .unwrap();
            for wrong in [fair.uneven, skewed.even] {
                assert!(wrong <= RUNS / 100, "{pods} pods, {calls} calls: {fair:?} {skewed:?}");
            }
        }
        // With ten thousand calls to up to 20 pods, the verdict is nearly always right.
        if pods <= 20 {
            let (fair, skewed) = (fair[CALLS.len() - 1], skewed[CALLS.len() - 1]);
            assert!(fair.even >= RUNS * 98 / 100 && skewed.uneven >= RUNS * 98 / 100, "{fair:?} {skewed:?}");
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verdicts.md");
    let page = fs::read_to_string(path).unwrap();
    let (before, after) = page.split_once(MARK).unwrap();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, format!("{before}{MARK}{table}")).unwrap();
    } else {
        assert_eq!(after, table, "run this test with UPDATE_DOCS=1");
    }
}
