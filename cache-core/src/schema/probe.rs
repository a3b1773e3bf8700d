//! Learning a type's structure from its `Deserialize`.
//!
//! A *run* calls `T::deserialize` with a deserializer that leads along one path (this field, that variant, the element of
//! that list) to one part that is not yet known, notes what the part asks for, and ends the run with an error. Structs are fed
//! as maps of the one field in question, so no other field can get in the way; before an element of a tuple stand *dummies*, made
//! up by trial. Types are known again by name, call and fields, so shared and recursive types are explored once, and
//! the number of runs is the number of fields, variants and elements of all types involved.

mod access;
mod dummy;

use std::{
    any::type_name,
    collections::{HashMap, VecDeque},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde::de::{self, DeserializeOwned, Visitor, value::StrDeserializer};

use self::access::{Fields, Items, Pick};
use super::{Edge, Kind, Node, name};

/// Runs, at most. What is left then stays unknown.
const MAX_RUNS: usize = 20_000;
/// Calls of the user's code over all runs, at most.
const MAX_CALLS: usize = 2_000_000;
/// How deep a path may lead.
const MAX_PATH: usize = 96;
/// Tuples up to this length are explored by element; longer ones are arrays, whose first element speaks for all.
const MAX_TUPLE: usize = 64;
/// How often a run is repeated with other dummies.
const MAX_TRIALS: usize = 64;

/// Ends a run. Carries nothing: what matters has been noted by then.
#[derive(Debug)]
struct Halt;

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the probe has seen what it came for")
    }
}

impl std::error::Error for Halt {}

impl de::Error for Halt {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// The nodes of `T`, itself first.
pub(super) fn nodes<T: DeserializeOwned>() -> Vec<Node> {
    let mut atlas = Atlas::default();
    atlas.explore::<T>(None, &[]);
    for _ in 0..MAX_RUNS {
        let Some(task) = atlas.tasks.pop_front() else {
            break;
        };
        atlas.explore::<T>(Some((task.node, task.edge)), &task.path);
        if atlas.calls > MAX_CALLS {
            break;
        }
    }
    atlas.nodes
}

/// What a `Deserialize` asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Call {
    kind: Kind,
    name: &'static str,
    names: &'static [&'static str],
    len: usize,
}

impl Call {
    const fn plain(kind: Kind) -> Self {
        Self { kind, name: "", names: &[], len: 0 }
    }

    fn edges(&self) -> usize {
        match self.kind {
            Kind::Option | Kind::Newtype | Kind::NewtypeVariant | Kind::Seq => 1,
            Kind::Map => 2,
            Kind::Tuple | Kind::TupleStruct | Kind::TupleVariant if self.len > MAX_TUPLE => 1,
            Kind::Tuple | Kind::TupleStruct | Kind::TupleVariant => self.len,
            Kind::Struct | Kind::StructVariant | Kind::Enum => self.names.len(),
            _ => 0,
        }
    }
}

/// A type.
#[derive(Clone, Copy)]
struct Seen {
    name: &'static str,
    size: usize,
}

impl Seen {
    const NOTHING: Self = Self { name: "", size: 0 };

    fn of<T>() -> Self {
        Self { name: type_name::<T>(), size: size_of::<T>() }
    }
}

/// A part that is yet to be reached, and the way there.
struct Task {
    node: u32,
    edge: usize,
    path: Vec<usize>,
}

/// What is known after some runs.
#[derive(Default)]
struct Atlas {
    nodes: Vec<Node>,
    index: HashMap<(&'static str, Call), u32>,
    tasks: VecDeque<Task>,
    trials: dummy::Trials,
    calls: usize,
}

impl Atlas {
    fn explore<T: DeserializeOwned>(&mut self, from: Option<(u32, usize)>, path: &[usize]) {
        for _ in 0..MAX_TRIALS {
            self.trials.begin();
            let mut run = Run { atlas: self, path, part: Seen::NOTHING, reached: None, again: false };
            // A panic of the user's code ends the run like an error. What the run holds stays consistent: every
            // note is written at once.
            let _ = catch_unwind(AssertUnwindSafe(|| T::deserialize(Probe { run: &mut run, depth: Some(0) }).err()));
            let (reached, again, part) = (run.reached, run.again, run.part);
            if let (Some((node, edge)), Some(target)) = (from, reached) {
                self.nodes[node as usize].edges[edge] =
                    Edge { value: name::plain(part.name), size: part.size, target: Some(target) };
            }
            if reached.is_some() || !again {
                return;
            }
        }
    }

    /// The node of a call, and whether it is new.
    fn node(&mut self, value: Seen, call: Call) -> (u32, bool) {
        if let Some(&known) = self.index.get(&(value.name, call)) {
            return (known, false);
        }
        let node = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(Node {
            kind: call.kind,
            name: call.name,
            value: name::plain(value.name),
            size: value.size,
            names: call.names,
            len: if call.names.is_empty() { call.len } else { call.names.len() },
            edges: std::iter::repeat_with(Edge::default).take(call.edges()).collect(),
        });
        self.index.insert((value.name, call), node);
        (node, true)
    }

    fn plan(&mut self, node: u32, path: &[usize]) {
        if path.len() >= MAX_PATH {
            return;
        }
        for edge in 0..self.nodes[node as usize].edges.len() {
            let path = path.iter().copied().chain([edge]).collect();
            self.tasks.push_back(Task { node, edge, path });
        }
    }
}

/// One call of `T::deserialize`.
struct Run<'r> {
    atlas: &'r mut Atlas,
    path: &'r [usize],
    /// The type of the part that was entered last.
    part: Seen,
    /// The node at the end of the path, once the run is there.
    reached: Option<u32>,
    /// A dummy was refused, and another one is worth a trial.
    again: bool,
}

impl Run<'_> {
    /// Counts a call, and refuses it if the run is over. Code that swallows the errors of its parts goes on asking.
    fn call(&mut self) -> Result<(), Halt> {
        self.atlas.calls += 1;
        if self.reached.is_some() || self.atlas.calls > MAX_CALLS { Err(Halt) } else { Ok(()) }
    }

    /// The step to take at `depth`; `None` (the node noted) at the end of the path.
    fn step(&mut self, depth: usize, value: Seen, call: Call) -> Option<usize> {
        if let Some(&step) = self.path.get(depth) {
            return Some(step);
        }
        let (node, is_new) = self.atlas.node(value, call);
        self.reached = Some(node);
        if is_new {
            self.atlas.plan(node, self.path);
        }
        None
    }
}

/// The deserializer: on the path at a depth, or (`None`) for a dummy beside it.
struct Probe<'a, 'r> {
    run: &'a mut Run<'r>,
    depth: Option<usize>,
}

impl Probe<'_, '_> {
    fn answer<'de, V: Visitor<'de>>(self, call: Call, visitor: V) -> Result<V::Value, Halt> {
        self.run.call()?;
        let Some(depth) = self.depth else {
            return dummy::answer(self.run, call, visitor);
        };
        let step = self.run.step(depth, Seen::of::<V::Value>(), call).ok_or(Halt)?;
        let run = self.run;
        let next = depth + 1;
        match call.kind {
            Kind::Option => visitor.visit_some(Probe { run, depth: Some(next) }),
            Kind::Newtype => visitor.visit_newtype_struct(Probe { run, depth: Some(next) }),
            Kind::Seq | Kind::Tuple | Kind::TupleStruct => visitor.visit_seq(Items::to(run, step, next)),
            Kind::Map => visitor.visit_map(Fields::entry(run, step, next)),
            Kind::Struct => visitor.visit_map(Fields::field(run, call.names.get(step).ok_or(Halt)?, next)),
            Kind::Enum => visitor.visit_enum(Pick {
                run,
                value: Seen::of::<V::Value>(),
                name: call.names.get(step).ok_or(Halt)?,
                depth: Some(next),
            }),
            _ => Err(Halt),
        }
    }
}

fn named(name: &'static str) -> StrDeserializer<'static, Halt> {
    StrDeserializer::new(name)
}

macro_rules! plain {
    ($($method:ident $kind:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Halt> {
            self.answer(Call::plain(Kind::$kind), visitor)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Probe<'_, '_> {
    type Error = Halt;

    plain! {
        deserialize_any Any deserialize_bool Bool deserialize_i8 I8 deserialize_i16 I16 deserialize_i32 I32
        deserialize_i64 I64 deserialize_i128 I128 deserialize_u8 U8 deserialize_u16 U16 deserialize_u32 U32
        deserialize_u64 U64 deserialize_u128 U128 deserialize_f32 F32 deserialize_f64 F64 deserialize_char Char
        deserialize_str Str deserialize_string Str deserialize_bytes Bytes deserialize_byte_buf Bytes
        deserialize_option Option deserialize_unit Unit deserialize_seq Seq deserialize_map Map
        deserialize_identifier Identifier deserialize_ignored_any Ignored
    }

    /// As the formats without names say.
    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Halt> {
        self.answer(Call { name, ..Call::plain(Kind::UnitStruct) }, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Halt> {
        self.answer(Call { name, ..Call::plain(Kind::Newtype) }, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Halt> {
        self.answer(Call { len, ..Call::plain(Kind::Tuple) }, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Halt> {
        self.answer(Call { name, len, ..Call::plain(Kind::TupleStruct) }, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Halt> {
        self.answer(Call { kind: Kind::Struct, name, names, len: names.len() }, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Halt> {
        self.answer(Call { kind: Kind::Enum, name, names, len: names.len() }, visitor)
    }
}
