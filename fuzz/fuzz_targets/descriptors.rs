//! Any descriptors give either a pool that the tool can use, or an error with a message.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use prost_types::FileDescriptorSet;

/// The modules of kubetester under test, included by path so that the rest of kubetester need not be built.
#[allow(dead_code, reason = "kubetester uses the rest")]
#[path = "../../kubetester/src/method"]
mod method {
    pub(crate) mod descriptors;
    pub(crate) mod template;
}

use method::{descriptors::Files, template::template};

/// The maximum number of messages of a pool that are checked. More messages take more time and find no other bugs.
const MAX_MESSAGES: usize = 30;

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

/// Creates a template of each message, and reads and writes it as JSON and as bytes.
fn use_pool(pool: &DescriptorPool, bytes: &[u8]) {
    for message in pool.all_messages().take(MAX_MESSAGES) {
        let json = template(&message).to_string();
        let request =
            DynamicMessage::deserialize(message.clone(), &mut serde_json::Deserializer::from_str(&json));
        if let Ok(request) = request {
            let encoded = request.encode_to_vec();
            DynamicMessage::decode(message.clone(), encoded.as_slice()).expect("an encoded message can be decoded");
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
