//! Checks that `docs/json.md` and the JSON Schemas in its folder match the types. To update them:
//! `UPDATE_DOCS=1 cargo test -p kubetester --lib documents`.

use std::{env, fmt::Write as _, fs, path::PathBuf};

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{compare::Comparison, diff::Diff, drill::result::DrillResult, result::LoadResult};

/// The line below which a test generates the page.
const MARK: &str = "<!-- From here on, a test makes the page from the types. -->\n";

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn schema<T: JsonSchema>(name: &str) -> Value {
    let generator = SchemaGenerator::from(SchemaSettings::draft2020_12().for_serialize());
    let mut schema = Value::from(generator.into_root_schema_for::<T>());
    schema["title"] = json!(name);
    schema
}

fn same(file: &str, made: &str) {
    let path = docs().join(file);
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, made).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == made, "docs/{file} does not match the types: run this test with UPDATE_DOCS=1");
}

#[test]
fn documents_match_the_types() {
    let schemas = [
        ("kubetester.load/1", schema::<LoadResult>("kubetester.load/1")),
        ("kubetester.compare/1", schema::<Comparison>("kubetester.compare/1")),
        ("kubetester.drill/1", schema::<DrillResult>("kubetester.drill/1")),
        ("kubetester.diff/1", schema::<Diff>("kubetester.diff/1")),
    ];
    let mut page = String::new();
    let mut listed = Vec::new();
    for (name, schema) in &schemas {
        let file = format!("{}.schema.json", name.replace('/', "-"));
        same(&file, &(serde_json::to_string_pretty(schema).unwrap() + "\n"));
        writeln!(page, "\n## {name}\n\n[{file}]({file})\n\n{}", sentence(schema)).unwrap();
        fields(&mut page, schema);
        for (name, schema) in schema["$defs"].as_object().unwrap_or(&Map::new()) {
            if schema["properties"].is_object() && name != "LoadResult" && !listed.contains(name) {
                listed.push(name.clone());
                writeln!(page, "\n### {name}\n\n{}", sentence(schema)).unwrap();
                fields(&mut page, schema);
            }
        }
    }
    let there = fs::read_to_string(docs().join("json.md")).unwrap();
    let (before, _) = there.split_once(MARK).unwrap();
    same("json.md", &format!("{before}{MARK}{page}"));
}

fn fields(page: &mut String, schema: &Value) {
    writeln!(page, "\n| field | type | |\n| --- | --- | --- |").unwrap();
    for (name, field) in schema["properties"].as_object().unwrap() {
        writeln!(page, "| `{name}` | {} | {} |", kind(field), sentence(field)).unwrap();
    }
}

/// Returns the doc comment of a type or field in one line, without rustdoc links.
fn sentence(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace("[`", "`").replace("`]", "`").replace('\n', " ").replace('|', "\\|")
}

fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return match reference.rsplit('/').next().unwrap() {
            "LoadResult" => "as `kubetester.load/1`".to_owned(),
            name => name.to_owned(),
        };
    }
    let either = |list: &Vec<Value>| list.iter().map(kind).collect::<Vec<_>>().join(" or ");
    if let Some(list) = schema["anyOf"].as_array() {
        return either(list);
    }
    match &schema["type"] {
        Value::Array(types) => {
            let one = |kind_of: &Value| {
                let mut schema = schema.clone();
                schema["type"] = kind_of.clone();
                kind(&schema)
            };
            types.iter().map(one).collect::<Vec<_>>().join(" or ")
        }
        Value::String(name) if name == "array" => match &*kind(&schema["items"]) {
            several if several.contains(" or ") => format!("list of ({several})"),
            one => format!("list of {one}"),
        },
        Value::String(name) => name.clone(),
        _ => String::new(),
    }
}
