//! Which functions a target may hit.

use crate::registry::Site;

/// The functions that a path names in a writer: `Self::page`, `ObjectService::accessible`.
///
/// A path is what the source says; where it was imported from is not known. So of several functions of the name those count that
/// are nearest to the writer. A type that goes by another name, or is a parameter, is not found: then all methods of the name count.
pub(super) fn called(path: &str, writer: &str, sites: &[&'static Site]) -> Vec<&'static Site> {
    let owner: Vec<&str> = writer.split('.').collect();
    let owner = &owner[..owner.len().saturating_sub(1)];
    let mut names: Vec<&str> = path.split("::").collect();
    if names.first() == Some(&"Self") {
        let own: Vec<&str> = owner.iter().copied().chain(names.drain(..).skip(1)).collect();
        let of_type: Vec<_> =
            sites.iter().copied().filter(|site| site.function().split('.').eq(own.iter().copied())).collect();
        if !of_type.is_empty() {
            return of_type;
        }
        names = own.into_iter().rev().take(1).collect();
    }
    names.retain(|name| !matches!(*name, "crate" | "self" | "super" | ""));
    let ends = |site: &&'static Site| {
        let function: Vec<&str> = site.function().split('.').collect();
        function.ends_with(&names)
    };
    let near =
        |site: &&'static Site| site.function().split('.').zip(owner).take_while(|(one, other)| one == *other).count();
    let mut all: Vec<_> = sites.iter().copied().filter(ends).collect();
    if all.is_empty()
        && let Some(name) = names.last()
    {
        all = sites.iter().copied().filter(|site| site.function().rsplit('.').next() == Some(name)).collect();
    }
    let nearest = all.iter().map(near).max();
    all.into_iter().filter(|site| Some(near(site)) == nearest).collect()
}

/// The functions one of whose tags may be this one.
pub(super) fn tagged(tag: &str, sites: &[&'static Site]) -> Vec<&'static Site> {
    let tag = template(tag);
    sites.iter().copied().filter(|site| site.tags().iter().any(|own| meet(&template(own), &tag))).collect()
}

/// The functions one of whose keys may match.
pub(super) fn matching(glob: &str, sites: &[&'static Site]) -> Vec<&'static Site> {
    let glob = pattern(glob);
    let keys = |site: &Site| {
        let alone: Vec<_> = site.prefix().chars().map(Piece::Char).collect();
        let below = [&alone[..], &[Piece::Char(':'), Piece::Any]].concat();
        [alone, below]
    };
    sites.iter().copied().filter(|site| keys(site).iter().any(|keys| meet(keys, &glob))).collect()
}

/// A part of a text that is known in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Char(char),
    One,
    Any,
}

/// A tag as it is written: what is in braces may be anything.
fn template(text: &str) -> Vec<Piece> {
    let (mut pieces, mut chars) = (Vec::new(), text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.peek() == Some(&c) => {
                chars.next();
                pieces.push(Piece::Char(c));
            }
            '{' => {
                let _inside = chars.by_ref().take_while(|&c| c != '}').count();
                pieces.push(Piece::Any);
            }
            c => pieces.push(Piece::Char(c)),
        }
    }
    pieces
}

fn pattern(glob: &str) -> Vec<Piece> {
    let (mut pieces, mut chars) = (Vec::new(), glob.chars());
    while let Some(c) = chars.next() {
        pieces.push(match c {
            '*' => Piece::Any,
            '?' => Piece::One,
            '[' => {
                let _inside = chars.by_ref().take_while(|&c| c != ']').count();
                Piece::One
            }
            '\\' => Piece::Char(chars.next().unwrap_or('\\')),
            c => Piece::Char(c),
        });
    }
    pieces
}

/// Whether there is a text that is like both.
fn meet(one: &[Piece], other: &[Piece]) -> bool {
    // `reached[at]`: what is before this place in `one` and what is before `at` in `other` can be one text.
    let mut reached: Vec<bool> = vec![false; other.len() + 1];
    reached[0] = true;
    spread(&mut reached, other);
    for piece in one {
        let mut next = vec![false; other.len() + 1];
        for at in 0..=other.len() {
            if !reached[at] {
                continue;
            }
            match (piece, other.get(at)) {
                (Piece::Any, _) => next[at..].fill(true),
                // The other one's `Any` takes this piece, and may go on.
                (_, Some(Piece::Any)) => next[at] = true,
                (Piece::Char(c), Some(Piece::Char(d))) if c != d => {}
                (_, Some(_)) => next[at + 1] = true,
                (_, None) => {}
            }
        }
        spread(&mut next, other);
        reached = next;
    }
    reached[other.len()]
}

/// An `Any` may be nothing.
fn spread(reached: &mut [bool], other: &[Piece]) {
    for (at, piece) in other.iter().enumerate() {
        if *piece == Piece::Any && reached[at] {
            reached[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_meet_where_a_value_could_make_them_equal() {
        let meets = |one: &str, other: &str| {
            let (one, other) = (template(one), template(other));
            assert_eq!(meet(&one, &other), meet(&other, &one));
            meet(&one, &other)
        };
        for (one, other) in [
            ("owner:{owner_id}", "owner:{new.owner_id}"),
            ("owner:{}", "owner:7"),
            ("all", "all"),
            ("{kind}:{id}", "owner:7"),
            ("a:{x}:c", "a:b:{y}"),
            ("a{{b}}", "a{{b}}"),
        ] {
            assert!(meets(one, other), "{one} {other}");
        }
        for (one, other) in [("owner:{id}", "object:{id}"), ("owner:{id}", "owner"), ("a", "ab"), ("a{{b}}", "a{b}c")] {
            assert!(!meets(one, other), "{one} {other}");
        }
    }

    #[test]
    fn globs_meet_the_keys_that_they_could_match() {
        let meets = |glob: &str, key: &[Piece]| meet(&pattern(glob), key);
        let keys = [&"contract_page:".chars().map(Piece::Char).collect::<Vec<_>>()[..], &[Piece::Any]].concat();
        for glob in ["contract_*", "*", "contract_page:7*", "contract[_-]page:?", "*page:*:*", "contract\\_page:7"] {
            assert!(meets(glob, &keys), "{glob}");
        }
        for glob in ["contract_pages*", "contract", "object_*", "contract_page"] {
            assert!(!meets(glob, &keys), "{glob}");
        }
    }
}
