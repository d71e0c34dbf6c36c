//! Any descriptors are a pool that can be used in every way in which the tool uses one, or an error in words.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use prost_types::FileDescriptorSet;

/// The tool's own sources, so that the rest of the tool need not be built.
#[allow(dead_code, reason = "the tool uses what is not used here")]
#[path = "../../kubetester/src/method"]
mod method {
    pub(crate) mod descriptors;
    pub(crate) mod template;
}

use method::{descriptors::Files, template::template};

/// The most messages of one pool whose templates and JSON are made: a larger pool shows nothing more, slower.
const MOST_MESSAGES: usize = 30;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(described) = FileDescriptorSet::decode(bytes) else { return Corpus::Reject };
    let mut files = Files::default();
    described.file.into_iter().for_each(|file| files.add(file));
    files.missing_files();
    files.missing_types();
    match files.into_pool() {
        Ok(pool) => use_pool(&pool, bytes),
        Err(error) => assert!(!error.is_empty()),
    }
    Corpus::Keep
});

/// Makes a template of each message, and reads and writes it as JSON and as bytes.
fn use_pool(pool: &DescriptorPool, bytes: &[u8]) {
    for message in pool.all_messages().take(MOST_MESSAGES) {
        let json = template(&message).to_string();
        let request =
            DynamicMessage::deserialize(message.clone(), &mut serde_json::Deserializer::from_str(&json));
        if let Ok(request) = request {
            let encoded = request.encode_to_vec();
            DynamicMessage::decode(message.clone(), encoded.as_slice()).expect("what it wrote, it reads");
        }
        if let Ok(response) = DynamicMessage::decode(message, bytes) {
            let options = SerializeOptions::new().skip_default_fields(false);
            let _ = response.serialize_with_options(&mut serde_json::Serializer::new(Vec::new()), &options);
        }
    }
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        assert!(pool.get_message_by_name(method.input().full_name()).is_some());
        assert!(pool.get_message_by_name(method.output().full_name()).is_some());
    }
}
