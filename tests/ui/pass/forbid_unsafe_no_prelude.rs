//! Generated code survives strict lints and hidden names.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications)]
#![allow(dead_code, non_camel_case_types)]

use staleproof::{KeyPart, cached, invalidates};

struct Option;
struct Some;
struct None;
struct Vec;
struct Result;
struct String;
mod std {}
mod core {}

#[derive(KeyPart)]
struct Empty;

#[derive(KeyPart)]
struct Id<T>(T);

#[derive(KeyPart)]
struct Borrowed<'a, T: ?Sized, const N: usize> {
    text: &'a T,
    list: [u8; N],
}

#[derive(KeyPart)]
enum Never {}

#[cached(ttl = "1m")]
async fn find(id: Id<u8>, empty: Empty, borrowed: &Borrowed<'_, str, 2>) -> u8 {
    let _ = (empty, borrowed);
    id.0
}

#[invalidates(find(Id(7), ..), tag("all"), "x*", cache = staleproof::Cache::global())]
async fn touch() {}

fn main() {}
