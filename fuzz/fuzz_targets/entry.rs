//! Header and payload of hostile entries, over several types and all codecs.
//!
//! Any bytes may come from the store. They decode to a value or an error, within the decode limit; what decodes can be
//! encoded and read again. Half of the inputs get a fingerprint and a checksum that fit, as somebody would who writes to the
//! store on purpose: otherwise none would come past the header.

#![no_main]

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use cache_core::codec::{EncodeError, Meta, Values};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[derive(Serialize, Deserialize)]
enum Tree {
    Leaf,
    Link(Box<Tree>),
    Row { id: i128, name: String, parts: Vec<Tree>, next: Option<Box<Tree>> },
    Map(BTreeMap<String, Option<Tree>>),
    Nothing(Vec<()>),
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct OnlyOptions(Option<Box<OnlyOptions>>);

#[derive(Serialize, Deserialize)]
struct Flat {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    id: Option<u8>,
    #[serde(flatten)]
    rest: HashMap<String, serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(f64),
    Text(String),
    List(Vec<Untagged>),
    Row { a: Box<Untagged>, b: serde_bytes::ByteBuf },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Unit,
    Row { of: Vec<Tagged> },
}

/// Each element is a byte in the entry and 4 KiB in memory.
#[derive(Serialize, Deserialize)]
struct Wide(Vec<Option<[[u64; 16]; 32]>>);

const LIMIT: usize = 1 << 20;
const HEADER: usize = 28;

fn decode<T: Serialize + DeserializeOwned + 'static>(input: &[u8]) {
    let values = Values::new().decode_limit(LIMIT);
    let _ = values.decode::<T>(&Bytes::copy_from_slice(input), 1);
    let Some((header, payload)) = input.split_at_checked(HEADER) else { return };
    let honest = values.encode::<T>(None, Meta::default(), 1).expect("absence has nothing to encode");
    let mut entry = header.to_vec();
    // Format, fingerprint, checksum and the length as they have to be; a bit chooses a length that lies.
    entry[0] = honest[0];
    entry[8..16].copy_from_slice(&honest[8..16]);
    if entry[3] & 1 == 0 {
        let trace = if entry[2] & 2 == 0 { 0 } else { 8 };
        let len = u32::try_from(payload.len().saturating_sub(trace)).expect("inputs are small");
        entry[4..8].copy_from_slice(&len.to_le_bytes());
    }
    entry[3] = 0;
    entry.extend_from_slice(payload);
    entry.extend_from_slice(&crc32fast::hash(&entry).to_le_bytes());
    let Ok((Some(value), meta)) = values.decode::<T>(&entry.into(), 1) else { return };
    match values.encode(Some(&value), meta, 1) {
        Ok(again) => {
            let (back, meta_back) = values.decode::<T>(&again, 1).expect("what was encoded is decoded");
            assert!(back.is_some() && meta_back == meta);
        }
        // Among what a format can say are values that no format can carry.
        Err(
            EncodeError::DoesNotRoundTrip | EncodeError::TooDeep | EncodeError::TooLarge(_) | EncodeError::Codec(_),
        ) => {}
        Err(other) => panic!("{other}"),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((which, input)) = input.split_first() else { return };
    match which % 9 {
        0 => decode::<Tree>(input),
        1 => decode::<OnlyOptions>(input),
        2 => decode::<Flat>(input),
        3 => decode::<Untagged>(input),
        4 => decode::<Tagged>(input),
        5 => decode::<Wide>(input),
        6 => decode::<serde_json::Value>(input),
        7 => decode::<(Vec<()>, String, Option<char>, f32, serde_bytes::ByteBuf)>(input),
        _ => decode::<HashMap<u64, Vec<Tree>>>(input),
    }
});
