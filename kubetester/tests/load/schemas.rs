//! What `--json` prints is what the published schemas allow.

use serde_json::Value;

use super::{compare, load, servers::Draws};

fn check(schema: &str, document: &str) {
    let path = format!("{}/../docs/{schema}.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let wrong: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:?} in {document:#}");
    // The check can fail.
    let mut other = document;
    other["schema"] = "kubetester.other/1".into();
    assert!(!validator.is_valid(&other));
    other.as_object_mut().unwrap().remove("schema");
    assert!(!validator.is_valid(&other));
}

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
