//! Bytes that somebody wrote on purpose, with a header and a checksum that fit.

use bytes::Bytes;
use cache_core::codec::{DecodeError, EncodeError, Meta, Values};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const LIMIT: usize = 4 << 20;
const POSTCARD: u8 = 1;
const MESSAGE_PACK: u8 = 2;

/// The header of an honest entry of `T`, another payload, and a checksum for it.
fn forge<T: Serialize + DeserializeOwned + 'static>(codec: u8, payload: &[u8]) -> Bytes {
    let mut entry = Values::new().encode::<T>(None, Meta::default(), 1).unwrap()[..28].to_vec();
    entry[1] = codec;
    entry[2] = 0;
    entry[4..8].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    entry.extend_from_slice(payload);
    entry.extend_from_slice(&crc32fast::hash(&entry).to_le_bytes());
    entry.into()
}

#[track_caller]
fn refused<T: Serialize + DeserializeOwned + 'static>(codec: u8, payload: &[u8]) -> DecodeError {
    let entry = forge::<T>(codec, payload);
    // A limit that a build without optimisation comes to soon.
    match Values::new().decode_limit(LIMIT).decode::<T>(&entry, 1) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    tail: Option<Box<List>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct OnlyOptions(Option<Box<OnlyOptions>>);

#[derive(Debug, Serialize, Deserialize)]
struct Nested(Vec<Nested>);

#[derive(Debug, Serialize, Deserialize)]
enum Chain {
    End,
    Link(Box<Chain>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    End,
    Link(Box<(Untagged,)>),
}

#[test]
fn endless_nesting_does_not_reach_the_end_of_the_stack() {
    // The stack of a worker thread, in a build without optimisation.
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
        let ones = vec![1; LIMIT];
        assert_eq!(refused::<List>(POSTCARD, &ones), DecodeError::Limit);
        assert_eq!(refused::<OnlyOptions>(POSTCARD, &ones), DecodeError::Limit);
        assert_eq!(refused::<Nested>(POSTCARD, &ones), DecodeError::Limit);
        assert_eq!(refused::<Chain>(POSTCARD, &ones), DecodeError::Limit);
        assert_eq!(refused::<Nested>(MESSAGE_PACK, &vec![0x91; LIMIT]), DecodeError::Limit);
        assert_eq!(refused::<Untagged>(MESSAGE_PACK, &vec![0x91; LIMIT]), DecodeError::Limit);
        assert_eq!(refused::<serde_json::Value>(MESSAGE_PACK, &vec![0x91; LIMIT]), DecodeError::Limit);
        #[cfg(feature = "bincode")]
        assert_eq!(refused::<List>(4, &ones), DecodeError::Limit);
        #[cfg(feature = "json")]
        refused::<serde_json::Value>(3, &vec![b'['; LIMIT]);
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn elements_without_size_come_to_an_end() {
    let count = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(refused::<Vec<()>>(POSTCARD, &count), DecodeError::Limit);
    assert!(matches!(refused::<Vec<u64>>(POSTCARD, &count), DecodeError::Codec(_)));
    assert!(matches!(refused::<String>(POSTCARD, &count), DecodeError::Codec(_)));
    #[cfg(feature = "bincode")]
    {
        let count = [253, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0];
        assert_eq!(refused::<Vec<()>>(4, &count), DecodeError::Limit);
        refused::<String>(4, &count);
        refused::<serde_bytes::ByteBuf>(4, &count);
    }
}

#[test]
fn small_input_does_not_become_large_values() {
    #[derive(Serialize, Deserialize)]
    struct Page(Vec<Option<[[u64; 16]; 32]>>);

    // Each element is a byte here and 4 KiB in memory.
    let mut payload = vec![0x80, 0x80, 0x40];
    payload.resize(3 + (1 << 20), 0);
    assert_eq!(refused::<Page>(POSTCARD, &payload), DecodeError::Limit);
}

#[test]
fn lengths_and_codecs_that_lie() {
    assert_eq!(refused::<u8>(POSTCARD, &[1, 2]), DecodeError::Length);
    assert_eq!(refused::<u8>(MESSAGE_PACK, &[1, 2]), DecodeError::Length);
    assert_eq!(refused::<u8>(9, &[1]), DecodeError::UnknownCodec(9));
    assert_eq!(refused::<u8>(POSTCARD | 0x70, &[]), DecodeError::Length);
    let mut bomb = forge::<String>(POSTCARD | 0x10, &[1; 10]).to_vec();
    bomb.truncate(38);
    bomb[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    bomb.extend_from_slice(&crc32fast::hash(&bomb).to_le_bytes());
    assert_eq!(Values::new().decode::<String>(&bomb.into(), 1), Err(DecodeError::Limit));
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let values = Values::new().decode_limit(1000);
    let text = "x".repeat(2000);
    assert_eq!(values.encode(Some(&text), Meta::default(), 1), Err(EncodeError::TooLarge(2002)));
    // Small as bytes, over the limit in memory.
    let zeros = vec![0_u64; 900];
    assert!(matches!(values.encode(Some(&zeros), Meta::default(), 1), Err(EncodeError::TooLarge(_))));
}

/// A type whose `Deserialize` never tires of asking.
#[derive(Debug, PartialEq)]
struct Insatiable(u8);

impl Serialize for Insatiable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.0; 4].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Insatiable {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Errors of the parts are swallowed.
        struct Parts;
        impl<'de> serde::de::Visitor<'de> for Parts {
            type Value = u8;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("anything")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut access: A) -> Result<u8, A::Error> {
                let mut last = 0;
                for _ in 0..100_000 {
                    last = access.next_element().ok().flatten().unwrap_or(last);
                }
                Ok(last)
            }
        }
        deserializer.deserialize_tuple(4, Parts).map(Insatiable)
    }
}

#[test]
fn learning_a_type_is_bounded() {
    // 33 million elements (of no size), if each were looked at.
    type Line<T> = [T; 32];
    type Cube = (u8, Line<Line<Line<Line<Line<()>>>>>, u8);
    let started = std::time::Instant::now();
    let _ = Values::new().encode::<Cube>(None, Meta::default(), 1).unwrap();
    let bytes = Values::new().encode(Some(&Insatiable(3)), Meta::default(), 1).unwrap();
    assert_eq!(Values::new().decode::<Insatiable>(&bytes, 1).unwrap().0, Some(Insatiable(3)));
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}
