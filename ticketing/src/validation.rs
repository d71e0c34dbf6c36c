//! The limits of a request's fields. A refusal is INVALID_ARGUMENT with a `google.rpc.BadRequest` that names each field.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// The maximum number of characters in a name.
const MAX_NAME: usize = 200;

/// The page size when the request has none.
const DEFAULT_PAGE: u32 = 100;

/// The most customers on a page. The limit of a message makes it shorter when names are long.
const MAX_PAGE: u32 = 1000;

/// Checks both names of a customer.
///
/// # Errors
///
/// INVALID_ARGUMENT with a violation for each name.
pub(crate) fn names(first_name: &str, last_name: &str) -> Result<(), Status> {
    let violation = |field: &str, name: &str| Some(FieldViolation::new(field, name_problem(name)?));
    let violations: Vec<_> = [violation("first_name", first_name), violation("last_name", last_name)]
        .into_iter()
        .flatten()
        .collect();
    if violations.is_empty() { Ok(()) } else { Err(invalid_argument(violations)) }
}

/// Returns the number of customers on a page.
///
/// # Errors
///
/// INVALID_ARGUMENT when it is negative.
pub(crate) fn page_size(requested: i32) -> Result<u32, Status> {
    match u32::try_from(requested) {
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) => Ok(size.min(MAX_PAGE)),
        Err(_) => Err(invalid_argument(vec![FieldViolation::new(
            "page_size",
            format!("is {requested}: it must not be negative"),
        )])),
    }
}

/// Returns the token of the page after the customer `number`.
pub(crate) fn page_token(number: i64) -> String {
    format!("{number:016x}")
}

/// Returns the number of the last customer before the page, which is 0 for the first page.
///
/// # Errors
///
/// INVALID_ARGUMENT when it is no token of this service.
pub(crate) fn after(page_token: &str) -> Result<i64, Status> {
    if page_token.is_empty() {
        return Ok(0);
    }
    let number = i64::from_str_radix(page_token, 16).ok();
    // `from_str_radix` accepts a sign, which `page_token` never writes.
    number.filter(|number| *number > 0 && self::page_token(*number) == page_token).ok_or_else(|| {
        let problem = "is not a next_page_token of this service: leave it empty for the first page";
        invalid_argument(vec![FieldViolation::new("page_token", problem)])
    })
}

/// Returns INVALID_ARGUMENT with these violations.
pub(crate) fn invalid_argument(violations: Vec<FieldViolation>) -> Status {
    let sentences: Vec<_> =
        violations.iter().map(|violation| format!("{} {}", violation.field, violation.description)).collect();
    let details = ErrorDetails::with_bad_request(violations);
    Status::with_error_details(Code::InvalidArgument, sentences.join("; "), details)
}

fn name_problem(name: &str) -> Option<String> {
    let length = name.chars().count();
    if name.trim().is_empty() {
        Some("is empty".to_owned())
    } else if length > MAX_NAME {
        Some(format!("has {length} characters, at most {MAX_NAME} are allowed"))
    } else {
        name.chars()
            .find(|char| char.is_control())
            .map(|char| format!("contains the control character {}", char.escape_unicode()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bad_name_is_a_violation_with_a_sentence() {
        let long = "é".repeat(201);
        let control = "contains the control character";
        for (name, problem) in [
            ("", "is empty".to_owned()),
            (" \t", "is empty".to_owned()),
            (&long, "has 201 characters, at most 200 are allowed".to_owned()),
            ("Ann\n", format!("{control} \\u{{a}}")),
            ("A\0nn", format!("{control} \\u{{0}}")),
            ("A\u{85}nn", format!("{control} \\u{{85}}")),
            ("\u{7f}Ann", format!("{control} \\u{{7f}}")),
        ] {
            let status = names(name, "Lee").unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{name:?}");
            assert_eq!(status.message(), format!("first_name {problem}"));
            let violations = status.get_details_bad_request().unwrap().field_violations;
            let violations: Vec<_> =
                violations.iter().map(|it| (it.field.as_str(), &it.description)).collect();
            assert_eq!(violations, [("first_name", &problem)]);
        }
        let violations = names("", "\0").unwrap_err().get_details_bad_request().unwrap().field_violations;
        assert_eq!(
            violations.iter().map(|it| it.field.as_str()).collect::<Vec<_>>(),
            ["first_name", "last_name"]
        );
    }

    #[test]
    fn names_of_any_script_up_to_the_limit_are_valid() {
        for name in ["A", "Jürgen", "李", "O'Neil-Ng", "🦀", "Ann Lee", &"é".repeat(200)] {
            assert!(names(name, name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_page_size_has_a_default_and_a_maximum() {
        for (requested, size) in [(0, 100), (1, 1), (1000, 1000), (1001, 1000), (i32::MAX, 1000)] {
            assert_eq!(page_size(requested).unwrap(), size);
        }
        assert_eq!(page_size(-1).unwrap_err().code(), Code::InvalidArgument);
    }

    #[test]
    fn a_token_that_was_not_issued_is_an_invalid_argument() {
        for number in [1, 42, i64::MAX] {
            assert_eq!(after(&page_token(number)).unwrap(), number);
        }
        for bad in
            ["1", "x", "0000000000000000", "+00000000000002a", "-00000000000002a", "8000000000000000", " "]
        {
            let status = after(bad).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{bad}");
            assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "page_token");
        }
    }
}
