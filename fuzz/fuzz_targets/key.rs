//! The decoder of keys, over any text, and against the encoder.

#![no_main]

use cache_core::{
    Key,
    key::{Decoded, decode},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    if let Ok(parts) = decode(&text) {
        assert_eq!(parts.len(), text.split(':').count());
        for part in parts {
            let _ = part.to_string();
        }
    }
    // Any text is one argument, and comes back.
    let halves = text.split_at(text.floor_char_boundary(text.len() / 2));
    let key = Key::new("p").arg(&*text).arg(&halves).arg(&Some(None::<String>));
    let parts = decode(key.as_str()).expect("a key");
    assert_eq!(parts.len(), 4);
    assert!(matches!(&parts[1], Decoded::Digest(_)) || parts[1] == Decoded::Text(text.to_string()));
    let both = Decoded::Sequence(vec![Decoded::Text(halves.0.to_owned()), Decoded::Text(halves.1.to_owned())]);
    assert!(matches!(&parts[2], Decoded::Digest(_)) || parts[2] == both);
    assert_eq!(parts[3], Decoded::Some(Box::new(Decoded::None)));
});
