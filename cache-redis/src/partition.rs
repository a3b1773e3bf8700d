//! Partitions: how the keys of a namespace are spread over a cluster.
//!
//! A cluster deals its slots to its primaries, and executes a script only over keys of one slot. So the keys of a
//! namespace stand in 256 partitions: the names of a partition's keys have its hash tag in braces, which is what the slot
//! follows from, so a partition is in one slot and has one owner at a time. Partition *i* is in one of the 64 slots from
//! 64·*i* on; thereby every primary gets its share, whatever the number of primaries.
//!
//! What is in which partition is part of the format that instances of all releases share. The partition of a text is its
//! own slot (CRC-16/XMODEM modulo 16,384, as in Redis) divided by 64; the tag of a partition is the first of `000`, `001`…
//! that is in it.

use std::sync::LazyLock;

use crc::{CRC_16_XMODEM, Crc};

/// How many there are.
pub(crate) const COUNT: usize = 256;

/// How long a tag is.
pub(crate) const TAG: usize = 3;

const SLOTS: u16 = 16_384;
const SLOTS_EACH: u16 = SLOTS / 256;

static CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

static TAGS: LazyLock<[String; COUNT]> = LazyLock::new(|| {
    let mut tags = [const { String::new() }; COUNT];
    for number in 0..1_000 {
        let text = format!("{number:03}");
        let tag = &mut tags[Partition::of(&text).index()];
        if tag.is_empty() {
            *tag = text;
        }
    }
    tags
});

/// One of the parts that a namespace is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Partition(u8);

impl Partition {
    /// The only one, where there is one server.
    pub(crate) const WHOLE: Self = Self(0);

    /// The partition that this text is in.
    pub(crate) fn of(text: &str) -> Self {
        Self((slot(text.as_bytes()) / SLOTS_EACH).to_le_bytes()[0])
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// What stands in braces in the names of its keys.
    pub(crate) fn tag(self) -> &'static str {
        &TAGS[self.index()]
    }

    /// The partition with this tag.
    pub(crate) fn tagged(tag: &[u8]) -> Option<Self> {
        let partition = Self::of(std::str::from_utf8(tag).ok()?);
        (partition.tag().as_bytes() == tag).then_some(partition)
    }

    /// The slot of its keys.
    pub(crate) fn slot(self) -> u16 {
        slot(self.tag().as_bytes())
    }
}

fn slot(text: &[u8]) -> u16 {
    CRC.checksum(text) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // CLUSTER KEYSLOT 123456789
        assert_eq!(slot(b"123456789"), 12_739);
    }

    #[test]
    fn every_partition_has_a_tag_of_its_own_in_its_own_slots() {
        for (index, partition) in Partition::all().enumerate() {
            assert_eq!(partition.tag().len(), TAG);
            assert_eq!(usize::from(partition.slot()) / 64, index);
            assert_eq!(Partition::of(partition.tag()), partition);
            assert_eq!(Partition::tagged(partition.tag().as_bytes()), Some(partition));
        }
        assert_eq!(Partition::tagged(b"xyz"), None);
        assert_eq!(Partition::tagged(b""), None);
    }

    /// Other releases, and other languages, have to find the same.
    #[test]
    fn the_format_does_not_change() {
        assert_eq!([0, 1, 127, 255].map(|index| Partition(index).tag()), ["021", "108", "307", "071"]);
        assert_eq!(["", "page", "page:7", "owner:7"].map(|text| Partition::of(text).0), [0, 2, 138, 117]);
    }

    #[test]
    fn what_is_numbered_is_spread_evenly() {
        for name in ["page:", "contract_employees:", "page:17:"] {
            let mut sizes = [0; COUNT];
            for number in 0..25_600 {
                sizes[Partition::of(&format!("{name}{number}")).index()] += 1;
            }
            assert!(sizes.iter().all(|&size| (50..=200).contains(&size)), "{name}: {sizes:?}");
        }
    }
}
