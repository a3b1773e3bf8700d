//! A value of each serde shape goes through Redis to another instance, comes back equal, and is a hit.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    convert::Infallible,
    fmt::Debug,
    net::IpAddr,
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use staleproof::{Cache, Key, Policy};
use test_support::{shared_url, unique};

async fn survives<T>(name: &str, value: T)
where
    T: Serialize + DeserializeOwned + Clone + Debug + PartialEq + Send + Sync + 'static,
{
    survives_as(name, value, |a, b| a == b).await;
}

async fn survives_as<T>(name: &str, value: T, equal: fn(&T, &T) -> bool)
where
    T: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let namespace = unique("shapes");
    let connect = || async {
        Cache::builder()
            .namespace(&namespace)
            .redis(shared_url())
            .call_timeout(Duration::from_secs(5))
            .connect()
            .await
            .expect("Redis is there")
    };
    let (one, two) = (connect().await, connect().await);
    let (key, policy) = (Key::new("shape").arg(name), Policy::new(Duration::from_secs(60)));
    let stored = value.clone();
    one.get_or_load(&key, &policy, async || Ok::<_, Infallible>(stored)).await.unwrap_or_else(|never| match never {});
    let stats = one.stats().total;
    assert_eq!((stats.fills, stats.unencodable), (1, 0), "{name}: not stored: {stats:?}");

    let original = value.clone();
    let came_back = two
        .get_or_load(&key, &policy, async || Ok::<_, Infallible>(value))
        .await
        .unwrap_or_else(|never| match never {});
    let stats = two.stats().total;
    assert_eq!((stats.hits, stats.unreadable), (1, 0), "{name}: not a hit: {stats:?}");
    assert!(equal(&original, &came_back), "{name}: {original:?} came back as {came_back:?}");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SkipsInTheMiddle {
    first: u8,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    second: Option<u8>,
    third: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Address {
    city: String,
    floor: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flattened {
    id: u64,
    #[serde(flatten)]
    address: Address,
    #[serde(flatten)]
    rest: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
    Pair { a: u8, b: f64 },
    List(Vec<Untagged>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Internal {
    Unit,
    Circle { radius: f64 },
    Address(Address),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value")]
enum Adjacent {
    Unit,
    One(u32),
    Two(u32, String),
    Named { x: i8 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum External {
    Unit,
    New(Box<External>),
    Tuple(u8, char),
    Struct { deep: Option<Box<External>> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct List {
    value: u32,
    next: Option<Box<List>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Renamed {
    #[serde(rename(serialize = "outside", deserialize = "outside"))]
    inside: u8,
    #[serde(default)]
    defaulted: Vec<u8>,
    #[serde(skip)]
    skipped: u8,
}

#[tokio::test]
async fn structs() {
    survives("skip, absent", SkipsInTheMiddle { first: 1, second: None, third: 3 }).await;
    survives("skip, present", SkipsInTheMiddle { first: 1, second: Some(2), third: 3 }).await;
    let address = Address { city: "Ulm".into(), floor: Some(-1) };
    let rest = BTreeMap::from([("extra".to_owned(), "yes".to_owned())]);
    survives("flatten", Flattened { id: 7, address, rest }).await;
    survives("unit", Unit).await;
    survives("newtype", Newtype("x".into())).await;
    survives("tuple", (1_u8, "a".to_owned(), Some('c'), ())).await;
    survives("renamed", Renamed { inside: 1, defaulted: vec![1, 2], skipped: 0 }).await;
}

#[tokio::test]
async fn enums() {
    for (index, value) in [
        Untagged::Number(-5),
        Untagged::Text("5".into()),
        Untagged::Pair { a: 1, b: 0.5 },
        Untagged::List(vec![Untagged::Number(1), Untagged::Text(String::new())]),
    ]
    .into_iter()
    .enumerate()
    {
        survives(&format!("untagged {index}"), value).await;
    }
    let address = Address { city: "Ulm".into(), floor: None };
    for value in [Internal::Unit, Internal::Circle { radius: 1.5 }, Internal::Address(address)] {
        survives(&format!("internal {value:?}"), value).await;
    }
    for value in [Adjacent::Unit, Adjacent::One(1), Adjacent::Two(2, "two".into()), Adjacent::Named { x: -1 }] {
        survives(&format!("adjacent {value:?}"), value).await;
    }
    let deep = External::Struct { deep: Some(Box::new(External::New(Box::new(External::Tuple(1, 'ß'))))) };
    survives("external", vec![External::Unit, deep]).await;
    survives("result", vec![Ok::<u8, String>(1), Err("no".to_owned())]).await;
}

#[tokio::test]
async fn recursion() {
    let list = (0..30).fold(None, |next, value| Some(Box::new(List { value, next })));
    survives("recursive", *list.expect("thirty")).await;
}

#[tokio::test]
async fn dynamic_values() {
    survives("json", serde_json::json!({"a": [1, -2.5, null, "x", {"b": true}], "big": u64::MAX})).await;
    survives("json null", serde_json::Value::Null).await;
}

#[tokio::test]
async fn maps_and_sets() {
    survives("integer keys", HashMap::from([(1_i64, "one".to_owned()), (-2, "two".to_owned())])).await;
    survives("tuple keys", BTreeMap::from([((1_u8, true), 'a'), ((2, false), 'b')])).await;
    survives("set", (0..100_u32).collect::<HashSet<_>>()).await;
    survives("nested", HashMap::from([("a".to_owned(), vec![Some(1_u8), None])])).await;
    survives("empty", (Vec::<u8>::new(), BTreeMap::<u8, u8>::new(), String::new())).await;
}

#[tokio::test]
async fn numbers() {
    survives("128 bits", vec![(u128::MAX, i128::MIN), (0, 0)]).await;
    survives("64 bits", (u64::MAX, i64::MIN)).await;
    survives("floats", vec![0.1_f64, f64::MIN_POSITIVE, f64::INFINITY, -0.0]).await;
    survives("small floats", vec![0.1_f32, f32::MAX]).await;
    let bits = |a: &f64, b: &f64| a.to_bits() == b.to_bits();
    survives_as("nan", f64::NAN, bits).await;
    survives_as("minus zero", -0.0_f64, bits).await;
    survives("nested options", vec![None, Some(None), Some(Some(1_u8))]).await;
}

#[tokio::test]
async fn types_that_look_at_the_format() {
    survives("address", vec!["127.0.0.1".parse::<IpAddr>().expect("v4"), "::1".parse().expect("v6")]).await;
    survives("duration", Duration::new(3, 141_592_653)).await;
    survives("large", vec!["x".repeat(1000); 1000]).await;
}
