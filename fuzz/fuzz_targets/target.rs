//! Any text gives either a target that parses to the same target again, or an error that quotes the text.

#![no_main]

use balanced_channel::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| match text.parse::<Target>() {
    Ok(target) => {
        assert_eq!(target.as_str(), text);
        assert_eq!(target.to_string().parse().as_ref(), Ok(&target));
        assert!(target.authority().port_u16().is_some_and(|port| port > 0), "{target:?}");
        assert!(!target.authority().host().is_empty());
    }
    Err(error) => assert!(error.to_string().starts_with(&format!("target \"{text}\" "))),
});
