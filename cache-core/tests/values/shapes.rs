//! One value of each serde shape.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Debug,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use cache_core::codec::{EncodeError, Meta, Values};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

const POSTCARD: u8 = 1;
const MESSAGE_PACK: u8 = 2;

fn encode<T: Serialize + DeserializeOwned + 'static>(values: Values, value: &T) -> Result<Bytes, EncodeError> {
    values.encode(Some(value), Meta::default(), 1)
}

/// Goes there and back more often than the first fills, which alone are all checked.
#[track_caller]
#[allow(clippy::needless_pass_by_value, reason = "shorter to call")]
fn survives_as<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(value: T, format: u8) {
    for _ in 0..10 {
        let bytes = encode(Values::new(), &value).expect("encodes");
        let (back, _) = Values::new().decode::<T>(&bytes, 1).expect("decodes");
        assert_eq!(back.as_ref(), Some(&value));
        assert_eq!(bytes[1] & 15, format, "by which format {value:?} goes");
    }
}

#[track_caller]
#[allow(clippy::needless_pass_by_value, reason = "shorter to call")]
fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(value: T) {
    survives_as(value, POSTCARD);
}

#[track_caller]
#[allow(clippy::needless_pass_by_value, reason = "shorter to call")]
fn survives_by_name<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(value: T) {
    survives_as(value, MESSAGE_PACK);
}

#[test]
fn plain_values() {
    survives(7_i64);
    survives((i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN, u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX));
    survives((true, 'ß', "text".to_owned(), ()));
    survives([0_u8; 32]);
    survives([[1_u16; 3]; 2]);
    survives((f64::INFINITY, f32::NEG_INFINITY, f64::MIN_POSITIVE));
    survives((Duration::new(3, 4), SystemTime::UNIX_EPOCH, NonZeroU32::MIN, PathBuf::from("/a")));
    survives(("127.0.0.1".parse::<IpAddr>().unwrap(), "[::1]:80".parse::<SocketAddr>().unwrap(), 5_u8));
    survives((uuid::Uuid::from_u128(7), chrono::DateTime::<chrono::Utc>::UNIX_EPOCH, 5_u8));
    survives(serde_bytes::ByteBuf::from(vec![1, 2, 255]));
    survives(Cow::<'static, str>::Owned("cow".to_owned()));
    survives((0..3, std::ops::Bound::Included(4), Ok::<i32, String>(1), Box::<str>::from("b")));
    survives(std::marker::PhantomData::<u8>);
}

#[test]
#[allow(clippy::cast_possible_truncation, reason = "any bits will do")]
fn floats_keep_their_bits() {
    for value in [f64::NAN, -0.0, f64::from_bits(0x7ff8_dead_beef_0001)] {
        let bytes = encode(Values::new(), &(value, value as f32)).unwrap();
        let back = Values::new().decode::<(f64, f32)>(&bytes, 1).unwrap().0.unwrap();
        assert_eq!(back.0.to_bits(), value.to_bits());
        assert_eq!(back.1.to_bits(), (value as f32).to_bits());
    }
}

#[test]
fn options_and_collections() {
    survives(None::<i32>);
    survives(Some(None::<i32>));
    survives(vec![Some(Some(1)), Some(None), None]);
    survives(Some(()));
    survives(vec![(); 1000]);
    survives(HashMap::from([(1_i32, "a".to_owned()), (-2, "b".to_owned())]));
    survives(BTreeMap::from([((1_u8, 'c'), vec![1_u64]), ((2, 'd'), vec![])]));
    survives(HashSet::from(["x".to_owned(), "y".to_owned(), "z".to_owned()]));
    survives(BTreeSet::from([Some(3), None]));
    survives(HashMap::from([(uuid::Uuid::nil(), HashSet::from([1_u8, 2, 3, 4, 5, 6, 7]))]));
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Clone, Default)]
struct Row {
    id: i64,
    name: String,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(Row);
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair(Row, NonZeroU32, Row);
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent {
    row: Row,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum External {
    Unit,
    Newtype(Row),
    Tuple(i32, String),
    Struct { a: u8, b: Option<Box<External>> },
}

#[test]
fn structs_and_enums() {
    let row = Row { id: 1, name: "n".into(), note: None };
    survives(Unit);
    survives(Newtype(row.clone()));
    survives(Pair(row.clone(), NonZeroU32::MAX, row.clone()));
    survives(Transparent { row: row.clone() });
    survives(Arc::<str>::from("not shared").to_string());
    survives(vec![
        External::Unit,
        External::Newtype(row),
        External::Tuple(-1, "x".into()),
        External::Struct { a: 1, b: Some(Box::new(External::Struct { a: 2, b: None })) },
    ]);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf(i32),
    Node(Box<Tree>, Vec<Tree>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct List {
    head: i32,
    tail: Option<Box<List>>,
}

#[test]
fn recursive_boxes() {
    survives(Tree::Node(Box::new(Tree::Leaf(1)), vec![Tree::Leaf(2), Tree::Node(Box::new(Tree::Leaf(3)), vec![])]));
    let list = (0..60).fold(None, |tail, head| Some(Box::new(List { head, tail })));
    survives(*list.unwrap());
}

#[test]
fn too_deep_is_an_error() {
    let list = (0..10_000).fold(None, |tail, head| Some(Box::new(List { head, tail })));
    assert_eq!(encode(Values::new(), &*list.unwrap()), Err(EncodeError::TooDeep));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Skipping {
    first: i32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    middle: Option<i32>,
    last: i32,
}

#[test]
fn skip_serializing_if() {
    survives(Skipping { first: 1, middle: Some(2), last: 3 });
    survives_by_name(Skipping { first: 1, middle: None, last: 3 });
    survives_by_name(vec![
        Skipping { first: 1, middle: Some(2), last: 3 },
        Skipping { first: 1, middle: None, last: 3 },
    ]);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: i32,
    #[serde(flatten)]
    row: Inner,
    #[serde(flatten)]
    rest: HashMap<String, serde_json::Value>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    size: u16,
    at: chrono::DateTime<chrono::Utc>,
    of: uuid::Uuid,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
    Row(Row),
    Id { uuid: uuid::Uuid, ip: IpAddr },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Internal {
    Unit,
    Row(Row),
    Struct { x: i32, u: uuid::Uuid },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Unit,
    Newtype(Row),
    Tuple(i32, i32),
    Struct { x: f64 },
}

#[test]
fn shapes_that_need_names() {
    let row = Row { id: 1, name: "n".into(), note: Some("o".into()) };
    survives_by_name(Flat {
        id: 1,
        row: Inner { size: 2, at: chrono::DateTime::<chrono::Utc>::UNIX_EPOCH, of: uuid::Uuid::from_u128(9) },
        rest: HashMap::from([("a".into(), serde_json::json!([1, null, {"b": 2.5}])), ("z".into(), 1.into())]),
    });
    survives_by_name(vec![
        Untagged::Number(-5),
        Untagged::Text("5".into()),
        Untagged::Row(row.clone()),
        Untagged::Id { uuid: uuid::Uuid::from_u128(3), ip: "::1".parse().unwrap() },
    ]);
    survives_by_name(vec![Internal::Unit, Internal::Row(row.clone()), Internal::Struct { x: 1, u: uuid::Uuid::nil() }]);
    survives_by_name(vec![
        Adjacent::Unit,
        Adjacent::Newtype(row),
        Adjacent::Tuple(1, 2),
        Adjacent::Struct { x: f64::INFINITY },
    ]);
    survives_by_name(serde_json::json!({"a": [1, -2, 3.5, "x", null, true], "b": {"c": u64::MAX}}));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase", deserialize = "snake_case"))]
struct OneWay {
    first_name: String,
    last_name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shifted {
    #[serde(skip)]
    #[allow(dead_code, reason = "shifts the others")]
    Never,
    A(i32),
    B(i32),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Aliased {
    #[serde(alias = "old")]
    a: i32,
    b: i32,
}

#[test]
fn sides_that_disagree_on_names() {
    // Only the order is the same on both sides.
    survives_as(OneWay { first_name: "a".into(), last_name: "b".into() }, POSTCARD);
    survives_by_name(vec![Shifted::A(1), Shifted::B(2)]);
    survives_by_name(Aliased { a: 1, b: 2 });
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct WriteOnly {
    a: i32,
    #[serde(skip_deserializing)]
    b: i32,
}

#[derive(Debug, PartialEq, Clone, Copy)]
struct Drifting(i32);

impl Serialize for Drifting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(self.0)
    }
}

impl<'de> Deserialize<'de> for Drifting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(i32::deserialize(deserializer)? + 1))
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::option_option, reason = "the case in question")]
struct Nested {
    #[serde(flatten)]
    rest: HashMap<String, Option<Option<i32>>>,
}

#[test]
fn what_does_not_come_back_is_not_stored() {
    let lossy = WriteOnly { a: 1, b: 2 };
    assert_eq!(encode(Values::new(), &lossy), Err(EncodeError::DoesNotRoundTrip));
    for _ in 0..20 {
        assert_eq!(encode(Values::new(), &Drifting(1)), Err(EncodeError::DoesNotRoundTrip));
    }
    // `Some(None)` is no different from `None` in formats with names, and here the flat struct wants names.
    let nested = Nested { rest: HashMap::from([("a".into(), Some(None))]) };
    assert_eq!(encode(Values::new(), &nested), Err(EncodeError::DoesNotRoundTrip));
    survives_by_name(Nested { rest: HashMap::from([("a".into(), Some(Some(1)))]) });
}

#[test]
fn the_types_own_panics_stay_inside() {
    static CALLS: AtomicU32 = AtomicU32::new(0);

    #[derive(Debug, Serialize)]
    struct Touchy(u8);

    impl<'de> Deserialize<'de> for Touchy {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            CALLS.fetch_add(1, Ordering::Relaxed);
            let byte = u8::deserialize(deserializer);
            Ok(Self(byte.expect("a byte")))
        }
    }

    #[derive(Debug, Deserialize)]
    struct Proud;

    impl Serialize for Proud {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("no")
        }
    }

    let bytes = encode(Values::new(), &Touchy(3));
    assert!(bytes.is_ok(), "{bytes:?}");
    assert!(CALLS.load(Ordering::Relaxed) > 0);
    assert_eq!(encode(Values::new(), &Proud), Err(EncodeError::Panicked));
    assert_eq!(Values::weigh(&Proud), 0);
}

#[test]
fn explicit_codecs_carry_or_refuse() {
    use cache_core::codec::{MessagePack, Postcard};

    let skipping = Skipping { first: 1, middle: None, last: 3 };
    let untagged = Untagged::Number(1);
    for values in [Values::new().codec(Postcard), Values::new().codec(MessagePack)] {
        carries(values, &Row { id: 1, name: "n".into(), note: None });
        carries(values, &External::Struct { a: 1, b: None });
    }
    refuses(Values::new().codec(Postcard), &skipping);
    refuses(Values::new().codec(Postcard), &untagged);
    refuses(Values::new().codec(MessagePack), &Some(None::<i32>));
    carries(Values::new().codec(MessagePack), &untagged);
    #[cfg(feature = "json")]
    {
        let json = Values::new().codec(cache_core::codec::Json);
        carries(json, &untagged);
        carries(json, &skipping);
        carries(json, &(u128::MAX, 0.1_f64, 1.0e-300_f64));
        refuses(json, &HashMap::from([((1, 2), 3)]));
        assert_eq!(encode(json, &f64::NAN), Err(EncodeError::DoesNotRoundTrip));
    }
    #[cfg(feature = "bincode")]
    {
        let bincode = Values::new().codec(cache_core::codec::Bincode);
        carries(bincode, &Row { id: 1, name: "n".into(), note: None });
        carries(bincode, &(u128::MAX, "text".to_owned(), vec![1_u8, 2], serde_bytes::ByteBuf::from(vec![1])));
        refuses(bincode, &skipping);
        refuses(bincode, &untagged);
    }
}

#[track_caller]
fn carries<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(values: Values, value: &T) {
    for _ in 0..10 {
        let bytes = encode(values, value).expect("encodes");
        // Any instance reads what any codec wrote.
        assert_eq!(Values::new().decode::<T>(&bytes, 1).expect("decodes").0.as_ref(), Some(value));
    }
}

#[track_caller]
fn refuses<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(values: Values, value: &T) {
    for _ in 0..10 {
        let refused = encode(values, value).expect_err("refused");
        assert!(matches!(refused, EncodeError::DoesNotRoundTrip | EncodeError::Codec(_)), "{refused}");
    }
}

#[test]
fn absence_and_meta_are_kept() {
    let meta = Meta {
        fresh_until: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123)),
        expires: None,
        load_time: Duration::from_micros(4567),
        version: 0,
        pinned: false,
    };
    let bytes = Values::new().encode::<Row>(None, meta, 1).unwrap();
    assert_eq!(bytes.len(), 32);
    assert_eq!(Values::new().decode::<Row>(&bytes, 1), Ok((None, meta)));
    let bytes = Values::new().encode(Some(&Row::default()), meta, 1).unwrap();
    assert_eq!(Values::new().decode::<Row>(&bytes, 1), Ok((Some(Row::default()), meta)));
    assert!(Values::new().decode::<Row>(&bytes, 2).is_err(), "another version");
    assert!(Values::new().decode::<Newtype>(&bytes, 1).is_err(), "another type");
}

#[test]
fn weights_follow_the_content() {
    assert_eq!(Values::weigh(&7_u64), 8);
    let rows: Vec<Row> = (0..20).map(|id| Row { id, name: "x".repeat(20), note: None }).collect();
    let weight = Values::weigh(&rows);
    assert!((1000..2000).contains(&weight), "{weight}");
    assert!(Values::weigh(&"x".repeat(5000)) >= 5000);
}
