//! The query of a request: which name is to be greeted, and over which route.
//!
//! It is read as `application/x-www-form-urlencoded` (WHATWG URL), but strictly: what a lenient reader would
//! replace or guess (half an escape, bytes that are not UTF-8, the same key twice) is refused, because the
//! backend would greet somebody else than the caller meant. Other keys are left alone.

use std::borrow::Cow;

/// The longest name that is passed on, in bytes, after decoding.
pub(crate) const MAX_NAME: usize = 1024;

/// What the caller asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Greeting<'a> {
    /// The caller's name; empty when the query has none. Borrowed as long as nothing had to be decoded.
    pub(crate) name: Cow<'a, str>,
    /// The route to take, if the caller names one.
    pub(crate) via: Option<Cow<'a, str>>,
}

/// Why a query is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    #[error(
        "the query has a `%` that two hexadecimal digits do not follow; write a percent sign itself as %25"
    )]
    Escape,
    #[error("the query is not UTF-8 once its %-escapes are decoded; encode names as UTF-8")]
    NotUtf8,
    #[error("the query has `{0}` more than once; give it once")]
    Twice(&'static str),
    #[error("the name is {0} bytes long; at most {MAX_NAME} are passed on")]
    NameTooLong(usize),
}

// === impl Greeting ===

impl<'a> Greeting<'a> {
    /// Reads the part of a URI after its `?`.
    ///
    /// # Errors
    ///
    /// Everything in [`QueryError`].
    pub(crate) fn from_query(query: &'a str) -> Result<Self, QueryError> {
        let (mut name, mut via) = (None, None);
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decode(key)?, decode(value)?);
            let (key, place) = match &*key {
                "name" => ("name", &mut name),
                "via" => ("via", &mut via),
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(QueryError::Twice(key));
            }
        }
        let name = name.unwrap_or_default();
        if name.len() > MAX_NAME {
            return Err(QueryError::NameTooLong(name.len()));
        }
        Ok(Self { name, via })
    }
}

/// Undoes `+` for a space and `%XX` for a byte.
fn decode(text: &str) -> Result<Cow<'_, str>, QueryError> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
                    return Err(QueryError::Escape);
                };
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| QueryError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(query: &str) -> Result<String, QueryError> {
        Greeting::from_query(query).map(|greeting| greeting.name.into_owned())
    }

    #[test]
    fn a_name_is_found_and_decoded() {
        for (query, expected) in [
            ("", ""),
            ("name", ""),
            ("name=", ""),
            ("name=Ann", "Ann"),
            ("x=1&name=Ann&name2=Bob", "Ann"),
            ("&&name=Ann&", "Ann"),
            ("n%61me=Ann", "Ann"),
            ("name=a+b%20c%2Bd", "a b c+d"),
            ("name=a=b?c/d", "a=b?c/d"),
            ("name=100%25%26%3d", "100%&="),
            ("name=%C5%81ukasz", "Łukasz"),
            ("name=Łukasz", "Łukasz"),
            ("name=%00%0a%F0%9F%91%8B", "\0\n👋"),
        ] {
            assert_eq!(name(query).as_deref(), Ok(expected), "{query}");
        }
    }

    #[test]
    fn a_route_is_found_and_decoded() {
        for (query, expected) in [
            ("name=Ann", None),
            ("vi=a&Via=b", None),
            ("via", Some("")),
            ("via=&name=Ann", Some("")),
            ("via=pick_first", Some("pick_first")),
            ("name=Ann&v%69a=a+b", Some("a b")),
        ] {
            let greeting = Greeting::from_query(query).unwrap();
            assert_eq!(greeting.via.as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn what_needs_no_decoding_is_not_copied() {
        let greeting = Greeting::from_query("name=Ann&via=a").unwrap();
        assert!(matches!((greeting.name, greeting.via), (Cow::Borrowed("Ann"), Some(Cow::Borrowed("a")))));
    }

    #[test]
    fn doubtful_queries_are_refused() {
        for (query, expected) in [
            ("name=%", QueryError::Escape),
            ("name=%4", QueryError::Escape),
            ("name=%zz", QueryError::Escape),
            ("name=%+1", QueryError::Escape),
            ("x=%&name=Ann", QueryError::Escape),
            ("name=%FF", QueryError::NotUtf8),
            ("name=%C5", QueryError::NotUtf8),
            ("name=%ED%A0%80", QueryError::NotUtf8),
            ("name=a&name=b", QueryError::Twice("name")),
            ("name=&name=", QueryError::Twice("name")),
            ("via=a&via=a", QueryError::Twice("via")),
            ("name=a&n%61me=b", QueryError::Twice("name")),
        ] {
            assert_eq!(name(query), Err(expected), "{query}");
        }
    }

    #[test]
    fn the_limit_counts_decoded_bytes() {
        assert_eq!(name(&format!("name={}", "%41".repeat(MAX_NAME))), Ok("A".repeat(MAX_NAME)));
        let long = format!("name={}", "Ł".repeat(MAX_NAME / 2 + 1));
        assert_eq!(name(&long), Err(QueryError::NameTooLong(MAX_NAME + 2)));
    }

    proptest! {
        #[test]
        fn any_name_comes_through(given in "\\PC{0,100}|.{0,100}") {
            let mut url = url::Url::parse("http://gw/").unwrap();
            url.query_pairs_mut().append_pair("a", "1").append_pair("name", &given);
            prop_assert_eq!(name(url.query().unwrap()), Ok(given));
        }

        #[test]
        fn any_query_is_read_or_refused(query in "[%+&=a-fA-F0-9n]{0,60}") {
            if let Ok(name) = name(&query) {
                prop_assert!(name.len() <= query.len());
            }
        }
    }
}
