//! Made-up values, for the elements of a tuple that come before the one in question.
//!
//! A type may refuse what it is offered (a `NonZero` the 0, a date the empty text). Then the next offer is noted for that type,
//! and the run is worth repeating.

use std::{any::type_name, collections::HashMap};

use serde::de::{Visitor, value::MapDeserializer};

use super::{
    Call, Halt, Kind, Probe, Run, Seen,
    access::{Items, Pick},
};

const TEXTS: [&str; 16] = [
    "",
    "0",
    "a",
    "2001-02-03T04:05:06Z",
    "2001-02-03",
    "2001-02-03T04:05:06",
    "04:05:06",
    "00000000-0000-0000-0000-000000000001",
    "127.0.0.1",
    "::1",
    "127.0.0.1:80",
    "http://a.b/",
    "a@b.c",
    "1.0.0",
    "UTC",
    "1s",
];
const BLOBS: [&[u8]; 6] = [b"", &[1; 16], &[1; 4], &[1; 8], &[1; 12], &[1; 32]];
/// How deep dummies may lie in each other; deeper, a type recurses through the variant on offer.
const MAX_NESTING: usize = 32;

/// What the dummies of one type have come to.
#[derive(Default)]
pub(super) struct Trials {
    /// The offer to make to each type. Those before it were refused.
    next: HashMap<(&'static str, Call), usize>,
    nesting: usize,
}

impl Trials {
    /// A new run: a panic may have left the last one in the middle.
    pub(super) fn begin(&mut self) {
        self.nesting = 0;
    }
}

/// All the fields of a struct, by position. (By name, aliases would be given twice.)
pub(super) fn fields<'a, 'r>(run: &'a mut Run<'r>, names: &[&str]) -> Items<'a, 'r> {
    Items::dummies(run, names.len())
}

/// Offers a dummy for `call`.
pub(super) fn answer<'de, V: Visitor<'de>>(run: &mut Run<'_>, call: Call, visitor: V) -> Result<V::Value, Halt> {
    let id = (type_name::<V::Value>(), call);
    let trial = run.atlas.trials.next.get(&id).copied().unwrap_or(0);
    if run.atlas.trials.nesting >= MAX_NESTING {
        return Err(Halt);
    }
    run.atlas.trials.nesting += 1;
    let result = offer(run, call, trial, visitor);
    run.atlas.trials.nesting -= 1;
    // The innermost refusal is the cause: it alone moves on.
    if result.is_err() && !run.again && trial + 1 < offers(call) {
        run.atlas.trials.next.insert(id, trial + 1);
        run.again = true;
    }
    result
}

/// How many different dummies there are.
fn offers(call: Call) -> usize {
    match call.kind {
        Kind::Str | Kind::Identifier => TEXTS.len(),
        Kind::Bytes => BLOBS.len(),
        Kind::Enum => call.names.len(),
        Kind::Bool
        | Kind::I8
        | Kind::I16
        | Kind::I32
        | Kind::I64
        | Kind::I128
        | Kind::U8
        | Kind::U16
        | Kind::U32
        | Kind::U64
        | Kind::U128 => 2,
        Kind::Any => 3,
        _ => 1,
    }
}

fn offer<'de, V: Visitor<'de>>(run: &mut Run<'_>, call: Call, trial: usize, visitor: V) -> Result<V::Value, Halt> {
    // 0, then 1, which also fits where 0 does not.
    let number = u8::from(trial > 0);
    match call.kind {
        Kind::Bool => visitor.visit_bool(trial > 0),
        Kind::I8 => visitor.visit_i8(i8::from(trial > 0)),
        Kind::I16 => visitor.visit_i16(number.into()),
        Kind::I32 => visitor.visit_i32(number.into()),
        Kind::I64 => visitor.visit_i64(number.into()),
        Kind::I128 => visitor.visit_i128(number.into()),
        Kind::U8 => visitor.visit_u8(number),
        Kind::U16 => visitor.visit_u16(number.into()),
        Kind::U32 => visitor.visit_u32(number.into()),
        Kind::U64 => visitor.visit_u64(number.into()),
        Kind::U128 => visitor.visit_u128(number.into()),
        Kind::F32 => visitor.visit_f32(0.0),
        Kind::F64 => visitor.visit_f64(0.0),
        Kind::Char => visitor.visit_char('a'),
        Kind::Str | Kind::Identifier => visitor.visit_str(TEXTS[trial]),
        Kind::Bytes => visitor.visit_bytes(BLOBS[trial]),
        Kind::Option => visitor.visit_none(),
        Kind::Newtype => visitor.visit_newtype_struct(Probe { run, depth: None }),
        Kind::Seq => visitor.visit_seq(Items::dummies(run, 0)),
        Kind::Map => visitor.visit_map(MapDeserializer::new(std::iter::empty::<((), ())>())),
        Kind::Tuple | Kind::TupleStruct | Kind::Struct => visitor.visit_seq(Items::dummies(run, call.len)),
        Kind::Enum => {
            let name = call.names.get(trial).ok_or(Halt)?;
            visitor.visit_enum(Pick { run, value: Seen::NOTHING, name, depth: None })
        }
        Kind::Any if trial == 1 => visitor.visit_str(""),
        Kind::Any if trial == 2 => visitor.visit_u64(0),
        _ => visitor.visit_unit(),
    }
}
