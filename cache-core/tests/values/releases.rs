//! Two releases of a program side by side: each reads what is its own, and nothing else.

use cache_core::codec::{DecodeError, Meta, Values};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What `From` wrote as `To` reads it.
fn read<From, To>(value: &From) -> Result<Option<To>, DecodeError>
where
    From: Serialize + DeserializeOwned + 'static,
    To: Serialize + DeserializeOwned + 'static,
{
    let bytes = Values::new().encode(Some(value), Meta::default(), 1).expect("encodes");
    Values::new().decode::<To>(&bytes, 1).map(|(value, _)| value)
}

/// Two modules with a type `T` and a `fn value() -> T` each, whose entries shall not be read by the other.
macro_rules! differ {
    ($($test:ident { $($old:tt)* } { $($new:tt)* })*) => {$(
        #[allow(dead_code, reason = "variants that no value has are part of the structure")]
        #[allow(unreachable_pub, reason = "shorter to read")]
        mod $test {
            pub(super) mod old {
                #[allow(unused_imports, reason = "not every pair needs all")]
                use super::super::{Serialize, Deserialize};
                $($old)*
            }
            pub(super) mod new {
                #[allow(unused_imports, reason = "not every pair needs all")]
                use super::super::{Serialize, Deserialize};
                $($new)*
            }
        }

        #[test]
        fn $test() {
            use $test::{new, old};
            assert!(read::<old::T, new::T>(&old::value()).is_err(), "the new release read an old entry");
            assert!(read::<new::T, old::T>(&new::value()).is_err(), "the old release read a new entry");
            assert!(read::<old::T, old::T>(&old::value()).is_ok());
            assert!(read::<new::T, new::T>(&new::value()).is_ok());
        }
    )*};
}

differ! {
    a_field_more {
        #[derive(Serialize, Deserialize)] pub struct T { a: i32, b: i32 }
        pub fn value() -> T { T { a: 1, b: 2 } }
    } {
        #[derive(Serialize, Deserialize)] pub struct T { a: i32, b: i32, #[serde(default)] c: i32 }
        pub fn value() -> T { T { a: 1, b: 2, c: 3 } }
    }

    a_field_renamed {
        #[derive(Serialize, Deserialize)] pub struct T { a: i32, b: i32 }
        pub fn value() -> T { T { a: 1, b: 2 } }
    } {
        #[derive(Serialize, Deserialize)] pub struct T { a: i32, c: i32 }
        pub fn value() -> T { T { a: 1, c: 2 } }
    }

    a_field_renamed_for_serde_only {
        #[derive(Serialize, Deserialize)] pub struct T { a: i32 }
        pub fn value() -> T { T { a: 1 } }
    } {
        #[derive(Serialize, Deserialize)] pub struct T { #[serde(rename = "b")] a: i32 }
        pub fn value() -> T { T { a: 1 } }
    }

    a_field_of_another_width {
        #[derive(Serialize, Deserialize)] pub struct T { a: i32 }
        pub fn value() -> T { T { a: 1 } }
    } {
        #[derive(Serialize, Deserialize)] pub struct T { a: i64 }
        pub fn value() -> T { T { a: 1 } }
    }

    a_field_made_optional {
        #[derive(Serialize, Deserialize)] pub struct T { a: i32 }
        pub fn value() -> T { T { a: 1 } }
    } {
        #[derive(Serialize, Deserialize)] pub struct T { a: Option<i32> }
        pub fn value() -> T { T { a: None } }
    }

    two_fields_of_one_type_swapped {
        #[derive(Serialize, Deserialize)] pub struct T { net: i64, gross: i64 }
        pub fn value() -> T { T { net: 1, gross: 2 } }
    } {
        #[derive(Serialize, Deserialize)] pub struct T { gross: i64, net: i64 }
        pub fn value() -> T { T { net: 1, gross: 2 } }
    }

    a_field_wrapped_in_a_transparent_type {
        #[derive(Serialize, Deserialize)] pub struct T { at: i64 }
        pub fn value() -> T { T { at: 1 } }
    } {
        #[derive(Serialize, Deserialize)] #[serde(transparent)] pub struct Millis(i64);
        #[derive(Serialize, Deserialize)] pub struct T { at: Millis }
        pub fn value() -> T { T { at: Millis(1) } }
    }

    a_field_wrapped_in_a_newtype {
        #[derive(Serialize, Deserialize)] pub struct T { at: i64 }
        pub fn value() -> T { T { at: 1 } }
    } {
        #[derive(Serialize, Deserialize)] pub struct Millis(i64);
        #[derive(Serialize, Deserialize)] pub struct T { at: Millis }
        pub fn value() -> T { T { at: Millis(1) } }
    }

    a_text_that_becomes_a_date {
        #[derive(Serialize, Deserialize)] pub struct T { at: String }
        pub fn value() -> T { T { at: "2001-02-03T04:05:06Z".into() } }
    } {
        #[derive(Serialize, Deserialize)] pub struct T { at: chrono::DateTime<chrono::Utc> }
        pub fn value() -> T { T { at: chrono::DateTime::UNIX_EPOCH } }
    }

    a_newtype_around_another_type {
        #[derive(Serialize, Deserialize)] pub struct Id(u32);
        pub type T = Vec<Id>;
        pub fn value() -> T { vec![Id(1)] }
    } {
        #[derive(Serialize, Deserialize)] pub struct Id(u64);
        pub type T = Vec<Id>;
        pub fn value() -> T { vec![Id(1)] }
    }

    an_empty_list_of_another_type {
        pub type T = Vec<i32>;
        pub fn value() -> T { vec![] }
    } {
        pub type T = Vec<i64>;
        pub fn value() -> T { vec![] }
    }

    a_nested_field_more {
        #[derive(Serialize, Deserialize)] pub struct Inner { a: i32 }
        #[derive(Serialize, Deserialize)] pub struct T { rows: Vec<Option<(u8, Inner)>> }
        pub fn value() -> T { T { rows: vec![Some((1, Inner { a: 1 }))] } }
    } {
        #[derive(Serialize, Deserialize)] pub struct Inner { a: i32, b: () }
        #[derive(Serialize, Deserialize)] pub struct T { rows: Vec<Option<(u8, Inner)>> }
        pub fn value() -> T { T { rows: vec![Some((1, Inner { a: 1, b: () }))] } }
    }

    a_nested_field_behind_a_date_and_an_id {
        #[derive(Serialize, Deserialize)] pub struct Inner { net: i32, gross: i32 }
        pub type T = (chrono::DateTime<chrono::Utc>, uuid::Uuid, std::num::NonZeroU8, Inner);
        pub fn value() -> T {
            (chrono::DateTime::UNIX_EPOCH, uuid::Uuid::nil(), std::num::NonZeroU8::MIN, Inner { net: 1, gross: 2 })
        }
    } {
        #[derive(Serialize, Deserialize)] pub struct Inner { gross: i32, net: i32 }
        pub type T = (chrono::DateTime<chrono::Utc>, uuid::Uuid, std::num::NonZeroU8, Inner);
        pub fn value() -> T {
            (chrono::DateTime::UNIX_EPOCH, uuid::Uuid::nil(), std::num::NonZeroU8::MIN, Inner { net: 1, gross: 2 })
        }
    }

    a_field_in_a_recursive_type {
        #[derive(Serialize, Deserialize)] pub struct T { a: i32, next: Option<Box<T>> }
        pub fn value() -> T { T { a: 1, next: None } }
    } {
        #[derive(Serialize, Deserialize)] pub struct T { a: u32, next: Option<Box<T>> }
        pub fn value() -> T { T { a: 1, next: None } }
    }

    a_map_with_other_keys {
        pub type T = std::collections::BTreeMap<u32, bool>;
        pub fn value() -> T { T::from([(1, true)]) }
    } {
        pub type T = std::collections::BTreeMap<u64, bool>;
        pub fn value() -> T { T::from([(1, true)]) }
    }

    a_variant_more {
        #[derive(Serialize, Deserialize)] pub enum T { A, B }
        pub fn value() -> T { T::B }
    } {
        #[derive(Serialize, Deserialize)] pub enum T { A, B, C }
        pub fn value() -> T { T::B }
    }

    a_variant_renamed {
        #[derive(Serialize, Deserialize)] pub enum T { A, B }
        pub fn value() -> T { T::A }
    } {
        #[derive(Serialize, Deserialize)] pub enum T { A, C }
        pub fn value() -> T { T::A }
    }

    variants_reordered {
        #[derive(Serialize, Deserialize)] pub enum T { A, B }
        pub fn value() -> T { T::B }
    } {
        #[derive(Serialize, Deserialize)] pub enum T { B, A }
        pub fn value() -> T { T::B }
    }

    a_variant_with_another_payload {
        #[derive(Serialize, Deserialize)] pub enum T { A(i32), B }
        pub fn value() -> T { T::B }
    } {
        #[derive(Serialize, Deserialize)] pub enum T { A(i64), B }
        pub fn value() -> T { T::B }
    }

    a_variant_of_another_form {
        #[derive(Serialize, Deserialize)] pub enum T { A(i32, i32), B }
        pub fn value() -> T { T::A(1, 2) }
    } {
        #[derive(Serialize, Deserialize)] pub enum T { A { x: i32, y: i32 }, B }
        pub fn value() -> T { T::A { x: 1, y: 2 } }
    }

    fields_of_a_variant_swapped {
        #[derive(Serialize, Deserialize)] pub enum T { A { x: i32, y: i32 } }
        pub fn value() -> T { T::A { x: 1, y: 2 } }
    } {
        #[derive(Serialize, Deserialize)] pub enum T { A { y: i32, x: i32 } }
        pub fn value() -> T { T::A { x: 1, y: 2 } }
    }

    a_tuple_of_another_length {
        #[derive(Serialize, Deserialize)] pub struct T(i32, i32);
        pub fn value() -> T { T(1, 2) }
    } {
        #[derive(Serialize, Deserialize)] pub struct T(i32, i32, i32);
        pub fn value() -> T { T(1, 2, 3) }
    }

    an_array_of_another_length {
        pub type T = Vec<[u8; 4]>;
        pub fn value() -> T { vec![[1; 4]; 2] }
    } {
        pub type T = Vec<[u8; 8]>;
        pub fn value() -> T { vec![[1; 8]] }
    }

    a_flattened_field_more {
        #[derive(Serialize, Deserialize)] pub struct Inner { a: i32 }
        #[derive(Serialize, Deserialize)] pub struct T { id: i32, #[serde(flatten)] inner: Inner }
        pub fn value() -> T { T { id: 1, inner: Inner { a: 1 } } }
    } {
        #[derive(Serialize, Deserialize)] pub struct Inner { a: i32, #[serde(default)] b: i32 }
        #[derive(Serialize, Deserialize)] pub struct T { id: i32, #[serde(flatten)] inner: Inner }
        pub fn value() -> T { T { id: 1, inner: Inner { a: 1, b: 0 } } }
    }

    a_flattened_field_of_another_type {
        #[derive(Serialize, Deserialize)] pub struct Inner { a: i32 }
        #[derive(Serialize, Deserialize)] pub struct T { id: i32, #[serde(flatten)] inner: Inner }
        pub fn value() -> T { T { id: 1, inner: Inner { a: 1 } } }
    } {
        #[derive(Serialize, Deserialize)] pub struct Inner { a: u64 }
        #[derive(Serialize, Deserialize)] pub struct T { id: i32, #[serde(flatten)] inner: Inner }
        pub fn value() -> T { T { id: 1, inner: Inner { a: 1 } } }
    }

    an_untagged_variant_of_another_type {
        #[derive(Serialize, Deserialize)] #[serde(untagged)] pub enum T { A(i32), B(String) }
        pub fn value() -> T { T::A(1) }
    } {
        #[derive(Serialize, Deserialize)] #[serde(untagged)] pub enum T { A(u64), B(String) }
        pub fn value() -> T { T::A(1) }
    }

    untagged_variants_that_shadow_each_other {
        #[derive(Serialize, Deserialize)] #[serde(untagged)] pub enum T { A { x: i32 }, B { x: i32, y: i32 } }
        pub fn value() -> T { T::A { x: 1 } }
    } {
        #[derive(Serialize, Deserialize)] #[serde(untagged)] pub enum T { A { x: i32, #[serde(default)] z: i32 }, B { y: i32 } }
        pub fn value() -> T { T::A { x: 1, z: 2 } }
    }

    another_tag {
        #[derive(Serialize, Deserialize)] #[serde(tag = "type")] pub enum T { A { x: i32 } }
        pub fn value() -> T { T::A { x: 1 } }
    } {
        #[derive(Serialize, Deserialize)] #[serde(tag = "kind")] pub enum T { A { x: i32 } }
        pub fn value() -> T { T::A { x: 1 } }
    }

    a_field_of_an_internally_tagged_variant_more {
        #[derive(Serialize, Deserialize)] #[serde(tag = "type")] pub enum T { A { x: i32 } }
        pub fn value() -> T { T::A { x: 1 } }
    } {
        #[derive(Serialize, Deserialize)] #[serde(tag = "type")] pub enum T { A { x: i32, y: Option<i32> } }
        pub fn value() -> T { T::A { x: 1, y: None } }
    }

    an_adjacently_tagged_payload_of_another_type {
        #[derive(Serialize, Deserialize)] #[serde(tag = "t", content = "c")] pub enum T { A(i32) }
        pub fn value() -> T { T::A(1) }
    } {
        #[derive(Serialize, Deserialize)] #[serde(tag = "t", content = "c")] pub enum T { A(i64) }
        pub fn value() -> T { T::A(1) }
    }

    a_tagged_enum_made_external {
        #[derive(Serialize, Deserialize)] #[serde(tag = "type")] pub enum T { A { x: i32 } }
        pub fn value() -> T { T::A { x: 1 } }
    } {
        #[derive(Serialize, Deserialize)] pub enum T { A { x: i32 } }
        pub fn value() -> T { T::A { x: 1 } }
    }

    a_free_value_made_typed {
        #[derive(Serialize, Deserialize)] pub struct T { extra: Option<serde_json::Value> }
        pub fn value() -> T { T { extra: None } }
    } {
        #[derive(Serialize, Deserialize)] pub struct T { extra: Option<String> }
        pub fn value() -> T { T { extra: None } }
    }
}

mod here {
    use super::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Row {
        pub(super) id: i64,
        pub(super) kind: Kind,
        pub(super) next: Option<Box<Row>>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) enum Kind {
        Plain,
        Other { of: Vec<Kind> },
    }
}

mod there {
    pub(super) mod deeper {
        use super::super::{Deserialize, Serialize};

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub(in super::super) struct Row {
            pub(in super::super) id: i64,
            pub(in super::super) kind: Kind,
            pub(in super::super) next: Option<Box<Row>>,
        }

        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub(in super::super) enum Kind {
            Plain,
            Other { of: Vec<Kind> },
        }
    }
}

#[test]
fn where_a_type_lies_does_not_count() {
    use there::deeper::{Kind, Row};

    let row = |id, next| here::Row { id, kind: here::Kind::Other { of: vec![here::Kind::Plain] }, next };
    let back = read::<here::Row, Row>(&row(1, Some(Box::new(row(2, None)))));
    let row = |id, next| Row { id, kind: Kind::Other { of: vec![Kind::Plain] }, next };
    assert_eq!(back, Ok(Some(row(1, Some(Box::new(row(2, None)))))));
}

#[test]
fn absence_is_only_known_of_one_structure() {
    let bytes = Values::new().encode::<here::Row>(None, Meta::default(), 1).unwrap();
    assert_eq!(Values::new().decode::<there::deeper::Row>(&bytes, 1).unwrap().0, None);
    assert_eq!(Values::new().decode::<here::Kind>(&bytes, 1), Err(DecodeError::Schema));
}

/// What was written once stays readable: a change here makes every deployed entry a miss, and belongs in the changelog.
#[test]
fn the_fingerprint_of_a_type_is_the_same_in_every_build() {
    let bytes = Values::new().encode::<here::Row>(None, Meta::default(), 1).unwrap();
    assert_eq!(u64::from_le_bytes(bytes[8..16].try_into().unwrap()), 18_077_235_415_381_199_147);
}
