//! Damaged and foreign bytes are errors.

use bytes::Bytes;
use cache_core::codec::{Compression, DecodeError, Meta, Values};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Any {
    Nothing,
    Number(i64),
    Wide(u128),
    Float(f64),
    Text(String),
    Maybe(Option<Box<Any>>),
    Many(Vec<Any>),
    Named { left: Box<Any>, right: Box<Any> },
    Map(BTreeMap<String, Any>),
    Pair(char, bool),
}

fn anything() -> impl Strategy<Value = Any> {
    let leaf = prop_oneof![
        Just(Any::Nothing),
        any::<i64>().prop_map(Any::Number),
        any::<u128>().prop_map(Any::Wide),
        any::<f64>().prop_map(Any::Float),
        ".{0,12}".prop_map(Any::Text),
        any::<(char, bool)>().prop_map(|(c, b)| Any::Pair(c, b)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::option::of(inner.clone().prop_map(Box::new)).prop_map(Any::Maybe),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Any::Many),
            (inner.clone(), inner.clone())
                .prop_map(|(left, right)| Any::Named { left: Box::new(left), right: Box::new(right) }),
            proptest::collection::btree_map("[a-c]{0,2}", inner, 0..4).prop_map(Any::Map),
        ]
    })
}

fn codecs() -> Vec<Values> {
    use cache_core::codec::{Auto, MessagePack, Postcard};

    let mut codecs = vec![Values::new().codec(Auto), Values::new().codec(Postcard), Values::new().codec(MessagePack)];
    #[cfg(feature = "bincode")]
    codecs.push(Values::new().codec(cache_core::codec::Bincode));
    #[cfg(feature = "json")]
    codecs.push(Values::new().codec(cache_core::codec::Json));
    codecs.push(Values::new().compress_from(1));
    #[cfg(feature = "lz4")]
    codecs.push(Values::new().compression(Compression::Lz4).compress_from(1));
    codecs.push(Values::new().compression(Compression::None));
    codecs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_goes_in_comes_out(value in anything()) {
        for values in codecs() {
            let bytes = values.encode(Some(&value), Meta::default(), 1).unwrap();
            let back = Values::new().decode::<Any>(&bytes, 1).unwrap().0.unwrap();
            prop_assert_eq!(&back, &value);
        }
    }

    #[test]
    fn one_wrong_byte_is_an_error(value in anything(), at in any::<prop::sample::Index>(), change in 1..=255_u8) {
        for values in codecs() {
            let mut bytes = values.encode(Some(&value), Meta::default(), 1).unwrap().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert!(values.decode::<Any>(&bytes.into(), 1).is_err());
        }
    }

    #[test]
    fn a_missing_end_is_an_error(value in anything(), keep in any::<prop::sample::Index>()) {
        for values in codecs() {
            let bytes = values.encode(Some(&value), Meta::default(), 1).unwrap();
            let cut = bytes.slice(..keep.index(bytes.len()));
            prop_assert!(values.decode::<Any>(&cut, 1).is_err());
            let more = [&bytes[..], &[0]].concat();
            prop_assert!(values.decode::<Any>(&more.into(), 1).is_err());
        }
    }

    #[test]
    fn random_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Values::new().decode::<Any>(&bytes.into(), 1).is_err());
    }
}

/// NaN differs from itself: `any::<f64>` leaves it out, so it has a test in `shapes`.
#[test]
fn errors_say_why() {
    let values = Values::new();
    let good = values.encode(Some(&5_u32), Meta::default(), 1).unwrap();
    let why = |bytes: Vec<u8>| values.decode::<u32>(&Bytes::from(bytes), 1).unwrap_err();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        why(bytes)
    };
    assert_eq!(why(Vec::new()), DecodeError::TooShort);
    assert_eq!(why(good[..20].to_vec()), DecodeError::TooShort);
    assert_eq!(with(0, b'{'), DecodeError::Format(b'{'));
    assert_eq!(with(2, 0x80), DecodeError::Header);
    assert_eq!(with(8, good[8] ^ 1), DecodeError::Schema);
    assert_eq!(with(28, good[28] ^ 1), DecodeError::Checksum);
    assert_eq!(values.decode::<u64>(&good, 1).unwrap_err(), DecodeError::Schema);
    assert_eq!(values.decode_limit(0).decode::<u32>(&good, 1).unwrap_err(), DecodeError::Limit);
}

#[test]
fn large_payloads_are_compressed_if_that_helps() {
    let text = "a line of text that repeats\n".repeat(1000);
    let plain = Values::new().compression(Compression::None).encode(Some(&text), Meta::default(), 1).unwrap();
    assert!(plain.len() > text.len());
    let default = Values::new().encode(Some(&text), Meta::default(), 1).unwrap();
    if cfg!(any(feature = "zstd", feature = "lz4")) {
        assert!(default.len() < text.len() / 10);
    }
    assert_eq!(Values::new().decode::<String>(&default, 1).unwrap().0, Some(text));
    let noise: Vec<u64> = (0..2000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)).collect();
    let bytes = Values::new().encode(Some(&noise), Meta::default(), 1).unwrap();
    assert_eq!(Values::new().decode::<Vec<u64>>(&bytes, 1).unwrap().0, Some(noise));
}
