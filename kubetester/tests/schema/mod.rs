//! Checks documents against their published schemas.

use serde_json::Value;

pub(crate) fn check(schema: &str, document: &str) {
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
