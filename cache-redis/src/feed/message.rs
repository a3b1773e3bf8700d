//! What is published: announcements and acknowledgements.
//!
//! An announcement is three words, each with a space behind it (its number, who invalidates, and the number that it has
//! there), and then the targets: a letter for the kind, the length of the text, `:` and the text. A kind that is not known
//! means everything. An acknowledgement is three words: who acknowledges, and both numbers of the announcement.

use std::fmt::Write as _;

use cache_core::{Tag, Target};

/// More targets than this are announced as everything.
const MOST: usize = 1_000;

/// And so are longer announcements.
const LONGEST: usize = 64 << 10;

/// An announcement that came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told<'a> {
    pub(super) number: u64,
    pub(super) from: &'a str,
    pub(super) own_number: u64,
    pub(super) targets: Vec<Target>,
}

/// An acknowledgement that came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Acknowledged<'a> {
    pub(super) member: &'a str,
    pub(super) own_number: u64,
    pub(super) number: u64,
}

/// The targets as they stand in an announcement.
pub(super) fn encode<'a>(targets: impl ExactSizeIterator<Item = &'a Target>) -> String {
    let mut message = String::new();
    let are_too_many = targets.len() > MOST;
    for target in targets {
        write(&mut message, target);
        if are_too_many || message.len() > LONGEST {
            message.clear();
            write(&mut message, &Target::All);
            break;
        }
    }
    message
}

/// All of an announcement but its number, which the script puts in front.
pub(super) fn announcement(from: &str, own_number: u64, targets: &str) -> String {
    format!("{from} {own_number} {targets}")
}

fn write(message: &mut String, target: &Target) {
    let (kind, text) = match target {
        Target::Entry(path) => ('e', path.as_str()),
        Target::Node(path) => ('n', path.as_str()),
        Target::Tag(tag) => ('t', tag.as_str()),
        Target::Glob(glob) => ('g', glob.as_str()),
        // A target of a kind that is newer than this store: everything is the safe reading.
        Target::All | _ => ('a', ""),
    };
    write!(message, "{kind}{}:{text}", text.len()).expect("writing to a String succeeds");
}

pub(super) fn read(message: &[u8]) -> Option<Told<'_>> {
    let message = std::str::from_utf8(message).ok()?;
    let mut words = message.splitn(4, ' ');
    let (number, from, own_number, mut rest) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let mut targets = Vec::new();
    while !rest.is_empty() {
        let (target, after) = read_target(rest).unwrap_or((Target::All, ""));
        targets.push(target);
        rest = after;
    }
    Some(Told { number: number.parse().ok()?, from, own_number: own_number.parse().ok()?, targets })
}

fn read_target(text: &str) -> Option<(Target, &str)> {
    let (head, rest) = text.split_once(':')?;
    let (kind, length) = head.split_at_checked(1)?;
    let (text, rest) = rest.split_at_checked(length.parse().ok()?)?;
    let text = text.to_owned();
    let target = match kind {
        "e" => Target::Entry(text),
        "n" => Target::Node(text),
        "t" => Target::Tag(Tag::from_encoded(text)),
        "g" => Target::Glob(text),
        _ => Target::All,
    };
    Some((target, rest))
}

pub(super) fn ack(member: &str, own_number: u64, number: u64) -> String {
    format!("{member} {own_number} {number}")
}

pub(super) fn read_ack(message: &[u8]) -> Option<Acknowledged<'_>> {
    let mut words = std::str::from_utf8(message).ok()?.split(' ');
    let (member, own_number, number) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Acknowledged { member, own_number, number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(targets: &[Target]) -> Vec<Target> {
        let message = format!("7 {}", announcement("me", 3, &encode(targets.iter())));
        let told = read(message.as_bytes()).expect("an announcement");
        assert_eq!((told.number, told.from, told.own_number), (7, "me", 3));
        told.targets
    }

    #[test]
    fn targets_come_through_whatever_is_in_them() {
        let targets = [
            Target::Entry("page:7:ä".to_owned()),
            Target::Node("page".to_owned()),
            Target::Tag(Tag::new("owner:7")),
            Target::Glob("a b\r\n:*e3:x".to_owned()),
            Target::Glob(String::new()),
            Target::All,
        ];
        assert_eq!(through(&targets), targets);
        assert_eq!(through(&[]), []);
    }

    #[test]
    fn too_much_is_everything() {
        let entries = |count: usize, length: usize| -> Vec<_> {
            (0..count).map(|n| Target::Entry(format!("{n:0length$}"))).collect()
        };
        assert_eq!(through(&entries(1_000, 4)).len(), 1_000);
        assert_eq!(through(&entries(1_001, 4)), [Target::All]);
        assert_eq!(through(&entries(65, 1_024)), [Target::All]);
    }

    #[test]
    fn what_is_not_known_is_everything() {
        let told = |text: &str| read(text.as_bytes()).map(|told| told.targets);
        assert_eq!(told("7 me 3 e1:ax1:b"), Some(vec![Target::Entry("a".to_owned()), Target::All]));
        assert_eq!(told("7 me 3 e9:a"), Some(vec![Target::All]));
        assert_eq!(told("7 me 3 €"), Some(vec![Target::All]));
        assert_eq!(told("7 me"), None);
        assert_eq!(told("x me 3 e1:a"), None);
    }

    #[test]
    fn acknowledgements_come_through() {
        let text = ack("me", 3, 1_700_000_000_000_000);
        let expected = Acknowledged { member: "me", own_number: 3, number: 1_700_000_000_000_000 };
        assert_eq!(read_ack(text.as_bytes()), Some(expected));
        assert_eq!(read_ack(b"me 3"), None);
    }
}
