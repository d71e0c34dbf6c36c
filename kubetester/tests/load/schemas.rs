//! The `--json` output conforms to the published schemas.

use super::{compare, load, schema::check, servers::Draws};

#[tokio::test]
async fn documents_are_valid() {
    let mixed = Draws::new(&[("pod-a", 60), ("pod-b", 40)], 20).url().await;
    let alone = Draws::new(&[("pod-a", 100)], 0).url().await;
    let failing = Draws::new(&[("pod-a", 100)], 100).url().await;
    let open_loop = ["-n", "50", "--rate", "5000", "--json"];
    for (target, arguments) in [
        (&mixed, &["-n", "200", "--json", "--details", "--max-errors", "99%", "--expect-pods", "2"][..]),
        (&alone, &open_loop),
        (&failing, &["-n", "20", "--json", "--details"]),
        (&mixed, &["-n", "20", "--json", "--pod-from", "header:absent"]),
    ] {
        check("kubetester.load-1", &load(target, arguments).await.stdout);
    }
    let exit = compare(&[&mixed, &alone, &failing, "-n", "50", "--json", "--max-errors", "0"]).await;
    check("kubetester.compare-1", &exit.stdout);
    let exit = compare(&[&mixed, &alone, "-n", "50", "--json", "--details"]).await;
    check("kubetester.compare-1", &exit.stdout);
}
