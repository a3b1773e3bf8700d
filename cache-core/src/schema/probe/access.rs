//! What leads a run from a container into the part in question.

use serde::de::{self, DeserializeSeed, Visitor};

use super::{Call, Halt, Kind, Probe, Run, Seen, dummy, named};

/// The elements of a sequence or tuple: dummies, then the one on the path.
pub(super) struct Items<'a, 'r> {
    run: &'a mut Run<'r>,
    /// How many dummies come first.
    before: usize,
    /// Where the path goes on; `None`: nowhere, all are dummies.
    depth: Option<usize>,
}

impl<'a, 'r> Items<'a, 'r> {
    pub(super) fn to(run: &'a mut Run<'r>, index: usize, depth: usize) -> Self {
        Self { run, before: index, depth: Some(depth) }
    }

    pub(super) fn dummies(run: &'a mut Run<'r>, count: usize) -> Self {
        Self { run, before: count, depth: None }
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_> {
    type Error = Halt;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Halt> {
        self.run.call()?;
        if self.before > 0 {
            self.before -= 1;
            return seed.deserialize(Probe { run: &mut *self.run, depth: None }).map(Some);
        }
        if self.depth.is_none() {
            return Ok(None);
        }
        self.run.part = Seen::of::<S::Value>();
        let _ = seed.deserialize(Probe { run: &mut *self.run, depth: self.depth });
        Err(Halt)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.before + usize::from(self.depth.is_some()))
    }
}

/// The one entry of a map or field of a struct that is on the path.
pub(super) struct Fields<'a, 'r> {
    run: &'a mut Run<'r>,
    /// The field; `None`: a map.
    name: Option<&'static str>,
    /// Whether the path leads into the key.
    into_key: bool,
    depth: usize,
}

impl<'a, 'r> Fields<'a, 'r> {
    pub(super) fn field(run: &'a mut Run<'r>, name: &'static str, depth: usize) -> Self {
        Self { run, name: Some(name), into_key: false, depth }
    }

    pub(super) fn entry(run: &'a mut Run<'r>, step: usize, depth: usize) -> Self {
        Self { run, name: None, into_key: step == 0, depth }
    }
}

impl<'de> de::MapAccess<'de> for Fields<'_, '_> {
    type Error = Halt;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Halt> {
        self.run.call()?;
        if let Some(name) = self.name {
            return seed.deserialize(named(name)).map(Some);
        }
        if !self.into_key {
            return seed.deserialize(Probe { run: &mut *self.run, depth: None }).map(Some);
        }
        self.run.part = Seen::of::<S::Value>();
        let _ = seed.deserialize(Probe { run: &mut *self.run, depth: Some(self.depth) });
        Err(Halt)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Halt> {
        self.run.call()?;
        self.run.part = Seen::of::<S::Value>();
        let _ = seed.deserialize(Probe { run: &mut *self.run, depth: Some(self.depth) });
        Err(Halt)
    }
}

/// The variant that is on the path, or a dummy.
pub(super) struct Pick<'a, 'r> {
    pub(super) run: &'a mut Run<'r>,
    /// The enum's type.
    pub(super) value: Seen,
    /// The variant.
    pub(super) name: &'static str,
    /// Where the path goes on; `None`: a dummy.
    pub(super) depth: Option<usize>,
}

impl<'a, 'r> Pick<'a, 'r> {
    /// The step into the variant's content, and the depth behind it. `Err` at the end of the path.
    fn step(&mut self, kind: Kind, names: &'static [&'static str], len: usize) -> Result<Option<(usize, usize)>, Halt> {
        self.run.call()?;
        let Some(depth) = self.depth else {
            return Ok(None);
        };
        let call = Call { kind, name: self.name, names, len };
        let step = self.run.step(depth, self.value, call).ok_or(Halt)?;
        Ok(Some((step, depth + 1)))
    }

    fn items(self, step: Option<(usize, usize)>, len: usize) -> Items<'a, 'r> {
        match step {
            Some((step, depth)) => Items::to(self.run, step, depth),
            None => Items::dummies(self.run, len),
        }
    }
}

impl<'de> de::EnumAccess<'de> for Pick<'_, '_> {
    type Error = Halt;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Halt> {
        self.run.call()?;
        Ok((seed.deserialize(named(self.name))?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Pick<'_, '_> {
    type Error = Halt;

    fn unit_variant(mut self) -> Result<(), Halt> {
        self.step(Kind::UnitVariant, &[], 0).map(drop)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<S::Value, Halt> {
        let step = self.step(Kind::NewtypeVariant, &[], 1)?;
        if step.is_some() {
            self.run.part = Seen::of::<S::Value>();
        }
        seed.deserialize(Probe { run: self.run, depth: step.map(|(_, depth)| depth) })
    }

    fn tuple_variant<V: Visitor<'de>>(mut self, len: usize, visitor: V) -> Result<V::Value, Halt> {
        let step = self.step(Kind::TupleVariant, &[], len)?;
        visitor.visit_seq(self.items(step, len))
    }

    fn struct_variant<V: Visitor<'de>>(mut self, names: &'static [&'static str], visitor: V) -> Result<V::Value, Halt> {
        match self.step(Kind::StructVariant, names, names.len())? {
            Some((step, depth)) => visitor.visit_map(Fields::field(self.run, names.get(step).ok_or(Halt)?, depth)),
            None => visitor.visit_seq(dummy::fields(self.run, names)),
        }
    }
}
