//! Globs over encoded keys, with the meaning that they have in Redis.
//!
//! `*` stands for any bytes, `?` for one byte, `[a-z]` and `[^x]` for one byte in or outside a class, and `\` takes the
//! meaning from the byte after it. A pattern is compiled once and matched in at most *pattern × text* steps: a hostile one
//! such as `a*a*a*a*b` has no exponential case.
//!
//! The corners are those of Redis: matching is by bytes, so `?` is not a whole letter outside ASCII; `[]` matches nothing
//! and `[^]` any byte; an unclosed class ends with the pattern; a range may be given backwards; in a range `]` is an end
//! like any other byte; a `\` at the very end is itself.

/// A compiled pattern.
///
/// ```
/// use cache_core::glob::Glob;
///
/// let glob = Glob::new("contract_page:7:*");
/// assert!(glob.matches("contract_page:7:1"));
/// assert!(!glob.matches("contract_page:70:1"));
/// ```
#[derive(Clone, Debug)]
pub struct Glob {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Byte(u8),
    Any,
    Class(Class),
    Star,
}

/// A set of bytes, one bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Class([u64; 4]);

impl Class {
    fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    fn inverted(self) -> Self {
        Self(self.0.map(|bits| !bits))
    }
}

impl Glob {
    /// Compiles a pattern. Every text is one.
    pub fn new(pattern: impl AsRef<[u8]>) -> Self {
        let mut rest = pattern.as_ref();
        let mut steps = Vec::with_capacity(rest.len());
        while let Some((step, after)) = next_step(rest) {
            if step != Step::Star || steps.last() != Some(&Step::Star) {
                steps.push(step);
            }
            rest = after;
        }
        Self { steps }
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: impl AsRef<[u8]>) -> bool {
        let text = text.as_ref();
        let (mut step, mut at) = (0, 0);
        // Where to go on after a mismatch: behind the last star, which then takes one byte more. Earlier stars need no
        // second try, because what they could still take, the last one can take as well.
        let mut retry = None;
        loop {
            match (self.steps.get(step), text.get(at)) {
                (None, None) => return true,
                (Some(Step::Star), _) => {
                    retry = Some((step + 1, at));
                    step += 1;
                }
                (Some(one), Some(&byte)) if one.takes(byte) => {
                    step += 1;
                    at += 1;
                }
                _ => match retry {
                    Some((behind, from)) if from < text.len() => {
                        retry = Some((behind, from + 1));
                        (step, at) = (behind, from + 1);
                    }
                    _ => return false,
                },
            }
        }
    }

    /// The one text that matches, if the pattern has no wildcard.
    pub(crate) fn literal(&self) -> Option<Vec<u8>> {
        self.steps.iter().map(|step| if let Step::Byte(byte) = step { Some(*byte) } else { None }).collect()
    }
}

impl Step {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(this) => *this == byte,
            Self::Any => true,
            Self::Class(class) => class.contains(byte),
            Self::Star => false,
        }
    }
}

fn next_step(pattern: &[u8]) -> Option<(Step, &[u8])> {
    Some(match pattern {
        [] => return None,
        [b'*', rest @ ..] => (Step::Star, rest),
        [b'?', rest @ ..] => (Step::Any, rest),
        [b'[', rest @ ..] => {
            let (class, rest) = class(rest);
            (Step::Class(class), rest)
        }
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => (Step::Byte(*byte), rest),
    })
}

/// The class whose inside begins `pattern`, and what follows it.
fn class(pattern: &[u8]) -> (Class, &[u8]) {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut class = Class::default();
    loop {
        rest = match rest {
            [] => break,
            [b'\\', byte, rest @ ..] => {
                class.insert(*byte);
                rest
            }
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [start, b'-', end, rest @ ..] => {
                (*start.min(end)..=*start.max(end)).for_each(|byte| class.insert(byte));
                rest
            }
            [byte, rest @ ..] => {
                class.insert(*byte);
                rest
            }
        };
    }
    (if negated { class.inverted() } else { class }, rest)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn matches_as_redis_does() {
        for (pattern, text, matches) in [
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "hllo", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            (r"h\?llo", "h?llo", true),
            (r"h\?llo", "hallo", false),
            (r"[\]]", "]", true),
            (r"[\^a]", "^", true),
            ("[]", "a", false),
            ("[]a]", "a", false),
            ("[^]", "a", true),
            ("[ab", "b", true),
            ("[ab", "c", false),
            ("[", "[", false),
            (r"a\", r"a\", true),
            ("[+-]]", "5", true),
            ("[a-]", "-", false),
            ("[a-]", "]", true),
            ("a*", "a", true),
            ("a**b*", "axxb", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("contract_page:7:*", "contract_page:70:1", false),
            ("contract_page:a:*", "contract_page:a%3Ab:1", false),
            ("ä?", "äx", true),
            ("?", "ä", false),
            ("??", "ä", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), matches, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn a_pattern_without_wildcards_is_a_literal() {
        assert_eq!(Glob::new(r"a\*b").literal().as_deref(), Some(&b"a*b"[..]));
        assert_eq!(Glob::new("a*b").literal(), None);
        assert_eq!(Glob::new("a[b]").literal(), None);
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let glob = Glob::new("a*".repeat(2_000) + "b");
        let text = "a".repeat(5_000);
        let start = Instant::now();
        assert!(!glob.matches(&text));
        assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
    }

    /// The definition, by plain recursion over the pattern's text.
    fn defined(pattern: &[u8], text: &[u8]) -> bool {
        match next_step(pattern) {
            None => text.is_empty(),
            Some((Step::Star, rest)) => (0..=text.len()).any(|taken| defined(rest, &text[taken..])),
            Some((one, rest)) => text.split_first().is_some_and(|(byte, text)| one.takes(*byte) && defined(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn matches_what_the_definition_matches(pattern in r"[ab*?\[\]\^\\-]{0,9}", text in r"[ab\-\]]{0,8}") {
            prop_assert_eq!(Glob::new(&pattern).matches(&text), defined(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn a_text_with_everything_escaped_matches_itself_only(
            text in prop::collection::vec(any::<u8>(), 0..12),
            other in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let pattern: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
            let glob = Glob::new(pattern);
            prop_assert!(glob.matches(&text));
            prop_assert_eq!(glob.matches(&other), other == text);
        }

        #[test]
        fn any_bytes_make_a_pattern(pattern in prop::collection::vec(any::<u8>(), 0..64), text in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Glob::new(pattern).matches(text);
        }
    }
}
