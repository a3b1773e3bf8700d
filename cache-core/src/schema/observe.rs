//! What is learnt from a value on its way through [`walk`]: a trace, whether it fits its schema.

use serde::Serialize;

use super::{
    Kind, Schema,
    walk::{Observer, Step, Stop, walk},
};

/// A hash of everything that `value` serializes: kinds, names, variants and contents.
///
/// Maps and sequences are hashed without their order, since hashed ones have none; a format never permutes. The hash is
/// the same in every build and on every machine.
pub(crate) fn trace<T: Serialize + ?Sized>(value: &T, human_readable: bool) -> Result<u64, Stop> {
    walk(value, &mut Trace { human_readable }, ())
}

/// Whether `value` serializes exactly as `schema` says that its type deserializes, part by part. Then a format without
/// names carries it.
pub(crate) fn conforms<T: Serialize + ?Sized>(value: &T, schema: &Schema) -> Result<(), Stop> {
    walk(value, &mut Conform { schema }, 0).map(drop)
}

fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    #[allow(clippy::cast_possible_truncation, reason = "folds the two halves")]
    let folded = (product as u64) ^ ((product >> 64) as u64);
    folded.wrapping_add(a.rotate_left(23)).wrapping_add(b)
}

fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut sum = mix(seed, bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        sum = mix(sum, u64::from_le_bytes(word));
    }
    sum
}

struct Trace {
    human_readable: bool,
}

impl Observer for Trace {
    type At = ();

    fn is_human_readable(&self) -> bool {
        self.human_readable
    }

    fn scalar(&mut self, (): (), kind: Kind, bits: u64) -> Result<u64, Stop> {
        Ok(mix(kind as u64, bits))
    }

    fn bytes(&mut self, (): (), kind: Kind, bytes: &[u8]) -> Result<u64, Stop> {
        Ok(hash(kind as u64, bytes))
    }

    fn open(&mut self, (): (), kind: Kind, _: Option<usize>) -> Result<((), u64), Stop> {
        Ok(((), mix(kind as u64, 0)))
    }

    fn variant(&mut self, (): (), index: u32, name: &'static str, body: Kind, _: usize) -> Result<((), u64), Stop> {
        Ok(((), hash(mix(body as u64, u64::from(index)), name.as_bytes())))
    }

    fn step(&mut self, (): (), _: Step) -> Result<(), Stop> {
        Ok(())
    }

    fn fold(&mut self, sum: u64, kind: Kind, step: Step, part: u64) -> u64 {
        match (kind, step) {
            (Kind::Seq | Kind::Map, _) => sum.wrapping_add(mix(part, 1)),
            (_, Step::Field(_, name)) => mix(hash(sum, name.as_bytes()), part),
            _ => mix(sum, part),
        }
    }

    fn entry(&mut self, key: u64, value: u64) -> u64 {
        mix(key, value)
    }

    fn skip(&mut self, (): (), _: &'static str) -> Result<(), Stop> {
        Ok(())
    }

    fn close(&mut self, (): (), kind: Kind, sum: u64, count: usize) -> Result<u64, Stop> {
        Ok(mix(mix(sum, kind as u64), count as u64))
    }
}

struct Conform<'a> {
    schema: &'a Schema,
}

impl Conform<'_> {
    fn expect(&self, at: u32, kind: Kind) -> Result<(), Stop> {
        if self.schema.node(at).kind == kind { Ok(()) } else { Err(Stop::Misfit) }
    }

    /// Names come from literals, which the compiler mostly keeps once.
    fn is_named(&self, at: u32, index: usize, name: &'static str) -> bool {
        self.schema.node(at).names.get(index).is_some_and(|&it| std::ptr::eq(it, name) || it == name)
    }

    fn edge(&self, at: u32, index: usize) -> Result<u32, Stop> {
        let edges = &self.schema.node(at).edges;
        // A long array has one edge for all its elements.
        let edge = edges.get(index).or_else(|| edges.last()).ok_or(Stop::Misfit)?;
        edge.target.ok_or(Stop::Misfit)
    }
}

impl Observer for Conform<'_> {
    type At = u32;

    /// As the formats without names say.
    fn is_human_readable(&self) -> bool {
        false
    }

    fn scalar(&mut self, at: u32, kind: Kind, _: u64) -> Result<u64, Stop> {
        self.expect(at, kind).map(|()| 0)
    }

    fn bytes(&mut self, at: u32, kind: Kind, _: &[u8]) -> Result<u64, Stop> {
        self.expect(at, kind).map(|()| 0)
    }

    fn open(&mut self, at: u32, kind: Kind, len: Option<usize>) -> Result<(u32, u64), Stop> {
        self.expect(at, kind)?;
        match kind {
            Kind::Tuple | Kind::TupleStruct | Kind::Struct if len != Some(self.schema.node(at).len) => {
                Err(Stop::Misfit)
            }
            Kind::Seq | Kind::Map if len.is_none() => Err(Stop::Misfit),
            _ => Ok((at, 0)),
        }
    }

    fn variant(&mut self, at: u32, index: u32, name: &'static str, body: Kind, len: usize) -> Result<(u32, u64), Stop> {
        self.expect(at, Kind::Enum)?;
        let index = index as usize;
        if !self.is_named(at, index, name) {
            return Err(Stop::Misfit);
        }
        let at = self.edge(at, index)?;
        self.expect(at, body)?;
        if self.schema.node(at).len == len { Ok((at, 0)) } else { Err(Stop::Misfit) }
    }

    fn step(&mut self, at: u32, step: Step) -> Result<u32, Stop> {
        match step {
            Step::Item(index) => self.edge(at, index),
            Step::Field(index, name) if self.schema.node(at).names.get(index) == Some(&name) => self.edge(at, index),
            Step::Field(..) => Err(Stop::Misfit),
            Step::Key => self.edge(at, 0),
            Step::Value => self.edge(at, 1),
        }
    }

    fn fold(&mut self, _: u64, _: Kind, _: Step, _: u64) -> u64 {
        0
    }

    fn entry(&mut self, _: u64, _: u64) -> u64 {
        0
    }

    fn skip(&mut self, _: u32, _: &'static str) -> Result<(), Stop> {
        Err(Stop::Misfit)
    }

    fn close(&mut self, at: u32, kind: Kind, _: u64, count: usize) -> Result<u64, Stop> {
        match kind {
            Kind::Seq | Kind::Map | Kind::Option | Kind::Newtype => Ok(0),
            _ if count == self.schema.node(at).len => Ok(0),
            _ => Err(Stop::Misfit),
        }
    }
}
