//! The structure of a type as serde sees it, and its fingerprint.
//!
//! [`of`] learns a type's schema by running its `Deserialize` against a [probe](probe) that notes every call: names, fields,
//! variants, kinds, their order, nested and recursive types. No derive and no bump by hand is involved; the module that a
//! type lies in does not count, nor does anything that differs between two builds of equal source by one compiler.
//! What a `Deserialize` hides (`flatten`, untagged and internally tagged enums, anything that asks the format what comes)
//! has no place in a schema. A value that has such parts does not [conform](conforms), and is stored with a
//! [trace](trace) of its contents instead, which a reader compares with that of what it has read.
//!
//! Learning never panics, also where the user's code does, and it is bounded in runs and steps.

mod fingerprint;
mod name;
mod observe;
mod probe;
mod walk;
mod weigh;

use std::{
    any::TypeId,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwap;
use serde::de::DeserializeOwned;

pub(crate) use observe::{conforms, trace};
pub(crate) use walk::Stop;
pub(crate) use weigh::weigh;

/// What serde calls a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    Bool = 1,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Str,
    Bytes,
    Unit,
    UnitStruct,
    Option,
    Newtype,
    Seq,
    Tuple,
    TupleStruct,
    Map,
    Struct,
    Enum,
    UnitVariant,
    NewtypeVariant,
    TupleVariant,
    StructVariant,
    /// The type asks the format what comes.
    Any,
    /// The type throws away what comes.
    Ignored,
    /// The type wants a name where none is announced: `flatten`.
    Identifier,
}

/// One type, or one variant of an enum.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// The name that serde knows.
    pub(crate) name: &'static str,
    /// The type that comes of it, without module paths.
    pub(crate) value: String,
    /// How many bytes such a value has in its place. No part of the fingerprint.
    pub(crate) size: usize,
    /// Fields or variants.
    pub(crate) names: &'static [&'static str],
    /// How many parts, where that is fixed.
    pub(crate) len: usize,
    /// The parts.
    pub(crate) edges: Vec<Edge>,
}

/// Where a part of a type leads.
#[derive(Debug, Default)]
pub(crate) struct Edge {
    /// The part's own type, without module paths. It differs from the node's where the type stays unseen by serde.
    pub(crate) value: String,
    /// How many bytes the part has in its place, where that is known. No part of the fingerprint.
    pub(crate) size: usize,
    /// Its node; `None` if it could not be reached.
    pub(crate) target: Option<u32>,
}

/// A type's structure: nodes that refer to each other by index, the type itself first.
#[derive(Debug)]
pub(crate) struct Schema {
    nodes: Vec<Node>,
    fingerprint: u64,
}

impl Schema {
    /// Learns a type's structure.
    fn learn<T: DeserializeOwned>() -> Self {
        let mut nodes = probe::nodes::<T>();
        if nodes.is_empty() {
            // `deserialize` asked for nothing at all: nothing conforms.
            nodes.push(Node {
                kind: Kind::Ignored,
                name: "",
                value: String::new(),
                size: 0,
                names: &[],
                len: 0,
                edges: Vec::new(),
            });
        }
        let fingerprint = fingerprint::of(&name::plain(std::any::type_name::<T>()), &nodes);
        Self { nodes, fingerprint }
    }

    pub(crate) fn node(&self, index: u32) -> &Node {
        &self.nodes[index as usize]
    }

    /// The fingerprint of the structure and the user's own version of it.
    pub(crate) fn fingerprint(&self, version: u32) -> u64 {
        // Odd, so that no two versions of one structure meet.
        self.fingerprint.wrapping_add(u64::from(version).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

/// What is known of a type: its schema, and how far its values are trusted to survive formats without names.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) schema: Schema,
    fills: AtomicU32,
    suspect: AtomicBool,
}

impl Known {
    /// Every conforming value of a type is checked so often, then one in [`Self::SAMPLE`].
    const FIRST: u32 = 8;
    const SAMPLE: u32 = 64;

    /// Whether a conforming value's encoding shall be read back before it is stored.
    pub(crate) fn is_due(&self) -> bool {
        let fills = self.fills.fetch_add(1, Ordering::Relaxed);
        fills < Self::FIRST || fills.is_multiple_of(Self::SAMPLE) || self.suspect.load(Ordering::Relaxed)
    }

    /// A conforming value did not survive: from now on all are checked.
    pub(crate) fn distrust(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }
}

/// A `TypeId` is a hash already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

type Types = HashMap<TypeId, &'static Known, BuildHasherDefault<AsIs>>;

static TYPES: LazyLock<ArcSwap<Types>> = LazyLock::new(ArcSwap::default);

/// What is known of `T`, learnt at its first use and kept for the life of the program.
pub(crate) fn of<T: DeserializeOwned + 'static>() -> &'static Known {
    let id = TypeId::of::<T>();
    if let Some(known) = TYPES.load().get(&id) {
        return known;
    }
    // Learnt outside of any lock: the user's code runs. Whoever publishes first wins.
    let learnt = Known { schema: Schema::learn::<T>(), fills: AtomicU32::new(0), suspect: AtomicBool::new(false) };
    let learnt: &'static Known = Box::leak(Box::new(learnt));
    TYPES.rcu(|types| {
        let mut types = Types::clone(types);
        types.entry(id).or_insert(learnt);
        Arc::new(types)
    });
    TYPES.load().get(&id).copied().unwrap_or(learnt)
}
