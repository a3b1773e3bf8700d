//! About how many bytes a value takes in memory.
//!
//! `Serialize` shows what a value holds, and a schema how large the places are that hold it: an absent `Option` and a small
//! variant take as much room as large ones. So each element of a list counts with the size of its type, and what is behind
//! pointers with its contents. Where the schema does not know a part, its size is guessed from its contents.
//!
//! Spare capacity and what serde skips are not seen.

use serde::Serialize;

use super::{
    Kind, Schema,
    walk::{Observer, Step, Stop, walk},
};

/// A pointer, a length and a capacity.
const OWNER: u64 = 24;

/// What the allocator keeps beside each block, and what it rounds up to.
const BLOCK: u64 = 16;

/// How many bytes `value`, of a type with this schema, holds behind pointers.
pub(crate) fn weigh<T: Serialize + ?Sized>(value: &T, schema: &Schema) -> Result<usize, Stop> {
    match walk(value, &mut Weigh { schema, places: Vec::new() }, Some(0)) {
        // Nobody can tell how much there is below: no store takes it.
        Err(Stop::Depth) => Ok(usize::MAX),
        weight => Ok(usize::try_from(weight?).unwrap_or(usize::MAX)),
    }
}

struct Weigh<'a> {
    schema: &'a Schema,
    /// What the places of the parts that are being looked at add, the innermost last.
    places: Vec<u64>,
}

impl Weigh<'_> {
    /// Where a part leads, and how large its place is, if that is known.
    fn part(&self, at: u32, step: Step) -> (Option<u32>, u64) {
        let node = self.schema.node(at);
        let index = match step {
            Step::Item(index) => index.min(node.edges.len().saturating_sub(1)),
            Step::Field(index, name) if node.names.get(index) == Some(&name) => index,
            // Fields before it were skipped.
            Step::Field(_, name) => node.names.iter().position(|known| *known == name).unwrap_or(usize::MAX),
            Step::Key => 0,
            Step::Value => 1,
        };
        node.edges.get(index).map_or((None, 0), |edge| (edge.target, edge.size as u64))
    }

    /// What a part adds beside what is behind its own pointers: its place, unless that is inside of the container's own, and
    /// the value itself where the place has but a pointer to it.
    fn added(&self, at: u32, to: Option<u32>, place: u64) -> u64 {
        let Some(to) = to else { return 0 };
        let (container, size) = (self.schema.node(at), self.schema.node(to).size as u64);
        let (own, room) = match container.kind {
            Kind::Seq => (place, place),
            // A hash table is never full.
            Kind::Map => (place + place / 2 + 4, place),
            Kind::Option | Kind::Newtype => (0, container.size as u64),
            _ => (0, place),
        };
        own + if room > 0 && size > room { size + BLOCK } else { 0 }
    }
}

impl Observer for Weigh<'_> {
    /// The node, where it is known.
    type At = Option<u32>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn scalar(&mut self, at: Option<u32>, kind: Kind, _: u64) -> Result<u64, Stop> {
        Ok(match kind {
            _ if at.is_some() => 0,
            Kind::Bool | Kind::I8 | Kind::U8 => 1,
            Kind::I16 | Kind::U16 => 2,
            Kind::I32 | Kind::U32 | Kind::F32 | Kind::Char => 4,
            Kind::Unit | Kind::UnitStruct => 0,
            _ => 8,
        })
    }

    fn bytes(&mut self, at: Option<u32>, kind: Kind, bytes: &[u8]) -> Result<u64, Stop> {
        let behind = if bytes.is_empty() { 0 } else { bytes.len() as u64 + BLOCK };
        Ok(match (kind, at) {
            (Kind::I128 | Kind::U128, Some(_)) => 0,
            (Kind::I128 | Kind::U128, None) => 16,
            (_, Some(_)) => behind,
            (_, None) => OWNER + behind,
        })
    }

    fn open(&mut self, at: Option<u32>, kind: Kind, len: Option<usize>) -> Result<(Option<u32>, u64), Stop> {
        let is_list = matches!(kind, Kind::Seq | Kind::Map);
        let block = if is_list && len != Some(0) { BLOCK } else { 0 };
        let own = if is_list && at.is_none() { OWNER } else { 0 };
        Ok((at.filter(|&at| self.schema.node(at).kind == kind), own + block))
    }

    fn variant(
        &mut self,
        at: Option<u32>,
        index: u32,
        name: &'static str,
        body: Kind,
        _: usize,
    ) -> Result<(Option<u32>, u64), Stop> {
        let own = if at.is_none() { 8 } else { 0 };
        let known = at.and_then(|at| {
            let node = self.schema.node(at);
            let index = usize::try_from(index).ok().filter(|&index| node.names.get(index) == Some(&name))?;
            node.edges.get(index)?.target
        });
        Ok((known.filter(|&at| self.schema.node(at).kind == body), own))
    }

    fn step(&mut self, at: Option<u32>, step: Step) -> Result<Option<u32>, Stop> {
        let (to, place) = at.map_or((None, 0), |at| self.part(at, step));
        self.places.push(at.map_or(0, |at| self.added(at, to, place)));
        Ok(to)
    }

    fn fold(&mut self, sum: u64, kind: Kind, _: Step, part: u64) -> u64 {
        // A map's key and value are one part.
        let parts = if kind == Kind::Map { 2 } else { 1 };
        let places = (0..parts).filter_map(|_| self.places.pop());
        places.fold(sum.saturating_add(part), u64::saturating_add)
    }

    fn entry(&mut self, key: u64, value: u64) -> u64 {
        key.saturating_add(value)
    }

    fn skip(&mut self, _: Option<u32>, _: &'static str) -> Result<(), Stop> {
        Ok(())
    }

    fn close(&mut self, _: Option<u32>, _: Kind, sum: u64, _: usize) -> Result<u64, Stop> {
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, de::DeserializeOwned};

    use super::*;

    #[derive(Clone, Default, Serialize, Deserialize)]
    struct Row {
        id: u64,
        note: Option<String>,
        phone: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        fax: Option<String>,
        next: Option<Box<Row>>,
    }

    #[derive(Clone, Serialize, Deserialize)]
    enum Shape {
        Nothing,
        Wide([u64; 16]),
        Boxed(Box<[u64; 16]>),
    }

    fn weight<T: Serialize + DeserializeOwned + 'static>(value: &T) -> usize {
        weigh(value, &crate::schema::of::<T>().schema).unwrap()
    }

    fn is_about(weight: usize, bytes: usize) {
        assert!((bytes..=bytes * 5 / 4 + 64).contains(&weight), "{weight} for {bytes}");
    }

    #[test]
    fn what_is_absent_takes_its_place() {
        is_about(weight(&vec![Row::default(); 100]), 100 * size_of::<Row>());
        is_about(weight(&vec![None::<[u64; 16]>; 100]), 100 * size_of::<Option<[u64; 16]>>());
        is_about(weight(&vec![Shape::Nothing; 100]), 100 * size_of::<Shape>());
        is_about(weight(&vec![(1_u8, None::<u64>); 100]), 100 * 24);
    }

    #[test]
    fn what_is_behind_pointers_counts() {
        let text = "x".repeat(1_000);
        is_about(weight(&text), 1_000);
        is_about(weight(&vec![text.clone(); 10]), 10 * (1_000 + 24));
        let row = Row { note: Some(text.clone()), next: Some(Box::new(Row::default())), ..Row::default() };
        is_about(weight(&row), 1_000 + size_of::<Row>());
        is_about(weight(&Shape::Boxed(Box::new([1; 16]))), 128);
        assert_eq!(weight(&Shape::Wide([1; 16])), 0);
        let map: BTreeMap<u64, String> = (0..100).map(|id| (id, text.clone())).collect();
        is_about(weight(&map), 100 * (8 + 24 + 1_000));
        assert_eq!(weight(&(7_u64, Some(true), [1_u16; 4])), 0, "all of it is in its own place");
    }

    #[test]
    fn what_the_schema_does_not_know_is_guessed() {
        #[derive(Serialize, Deserialize)]
        struct Loose {
            #[serde(flatten)]
            more: BTreeMap<String, Vec<u64>>,
        }
        let more = (0..10).map(|id| (id.to_string(), vec![id; 100])).collect();
        let guess = weight(&Loose { more });
        assert!((8_000..12_000).contains(&guess), "{guess}");
    }
}
