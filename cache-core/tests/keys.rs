//! Keys never meet by accident.

use std::fmt::Debug;

use cache_core::{
    Key, KeyPart,
    key::{Decoded, MAX_SEGMENT, Segment, decode},
};
use proptest::{collection::vec, option, prelude::*};

/// An enum as the derive would write it.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Plain,
    Other,
    Named(String),
    Pair(i64, Option<Box<Shape>>),
}

impl KeyPart for Shape {
    fn encode(&self, segment: &mut Segment<'_>) {
        match self {
            Self::Plain => segment.unit_variant("Plain"),
            Self::Other => segment.unit_variant("Other"),
            Self::Named(name) => segment.variant("Named", |fields| {
                fields.item(name);
            }),
            Self::Pair(a, b) => segment.variant("Pair", |fields| {
                fields.item(a).item(b);
            }),
        }
    }
}

/// Short texts of the characters that have a meaning somewhere, so that near misses are frequent.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a7:~'()%,!.*?\\[\\\\ \u{80}é-]{0,4}",
        1 => Just("Plain".to_owned()),
        1 => Just("%3A".to_owned()),
        1 => ".{0,6}",
        1 => "[a:]{120,140}",
    ]
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -3..80_i64, 1 => any::<i64>()]
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![Just(Shape::Plain), Just(Shape::Other), text().prop_map(Shape::Named)];
    leaf.prop_recursive(3, 8, 1, |inner| {
        (number(), option::of(inner.prop_map(Box::new))).prop_map(|(a, b)| Shape::Pair(a, b))
    })
}

type Arguments = (i64, String, Option<Option<String>>, Vec<Option<i64>>, (String, Vec<String>), Shape);

fn arguments() -> impl Strategy<Value = Arguments> {
    (
        0..3_i64,
        text(),
        option::of(option::of(text())),
        vec(option::of(number()), 0..3),
        (text(), vec(text(), 0..3)),
        shape(),
    )
}

/// The arguments as the segments of a key, from the most to the least.
fn key((number, text, option, list, tuple, shape): &Arguments) -> Key {
    Key::new("page").arg(number).arg(text).arg(option).arg(list).arg(tuple).arg(shape)
}

fn same_start(a: &Arguments, b: &Arguments, count: usize) -> bool {
    [a.0 == b.0, a.1 == b.1, a.2 == b.2, a.3 == b.3, a.4 == b.4, a.5 == b.5][..count].iter().all(|same| *same)
}

fn is_apart<A: KeyPart + PartialEq + Debug>(a: &A, b: &A) -> Result<(), TestCaseError> {
    let (one, other) = (Key::new("p").arg(a), Key::new("p").arg(b));
    prop_assert_eq!(one == other, a == b, "{} and {} of {:?} and {:?}", one, other, a, b);
    prop_assert_eq!(glob(one.as_str(), other.as_str()), a == b);
    Ok(())
}

/// Redis globs, as far as users type them here: `*`, `?`, `[…]` of single characters, `\`.
fn glob(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    let Some(first) = rest.next() else {
        return text.is_empty();
    };
    let mut after = text.chars();
    let next = after.next();
    match first {
        '*' => {
            let pattern = rest.as_str();
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| glob(pattern, &text[at..]))
        }
        '?' => next.is_some() && glob(rest.as_str(), after.as_str()),
        '[' => {
            let (set, rest) = rest.as_str().split_once(']').unwrap_or((rest.as_str(), ""));
            next.is_some_and(|c| set.contains(c)) && glob(rest, after.as_str())
        }
        '\\' => rest.next() == next && glob(rest.as_str(), after.as_str()),
        literal => Some(literal) == next && glob(rest.as_str(), after.as_str()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn unequal_arguments_have_unequal_keys(
        numbers in (number(), number()),
        texts in (text(), text()),
        options in (option::of(option::of(text())), option::of(option::of(text()))),
        nested in (option::of(option::of(option::of(0..2_u8))), option::of(option::of(option::of(0..2_u8)))),
        lists in (vec(option::of(text()), 0..3), vec(option::of(text()), 0..3)),
        tuples in ((text(), text()), (text(), text())),
        shapes in (shape(), shape()),
    ) {
        is_apart(&numbers.0, &numbers.1)?;
        is_apart(&texts.0, &texts.1)?;
        is_apart(&options.0, &options.1)?;
        is_apart(&nested.0, &nested.1)?;
        is_apart(&lists.0, &lists.1)?;
        is_apart(&tuples.0, &tuples.1)?;
        is_apart(&shapes.0, &shapes.1)?;
    }

    #[test]
    fn a_node_covers_what_is_below_it(a in arguments(), b in arguments(), shared in 0..=6_usize) {
        // Otherwise few would have a node in common.
        let mut b = b;
        if shared > 0 { b.0 = a.0; }
        if shared > 1 { b.1.clone_from(&a.1); }
        if shared > 2 { b.2.clone_from(&a.2); }
        if shared > 3 { b.3.clone_from(&a.3); }
        if shared > 4 { b.4.clone_from(&a.4); }
        if shared > 5 { b.5.clone_from(&a.5); }
        let (above, below) = (key(&a), key(&b));
        prop_assert_eq!(above == below, same_start(&a, &b, 6));
        for (count, node) in above.nodes().enumerate() {
            let covers = below.as_str().strip_prefix(node).is_some_and(|rest| rest.starts_with(':'));
            prop_assert_eq!(covers, same_start(&a, &b, count), "{} over {}", node, below);
            prop_assert_eq!(below.nodes().any(|of_below| of_below == node), same_start(&a, &b, count));
            // The same by a glob that a user types.
            prop_assert_eq!(glob(&format!("{node}:*"), below.as_str()), covers);
        }
    }

    #[test]
    fn a_separator_in_an_argument_separates_nothing(before in "[a-z]{0,3}", after in "[a-z]{0,3}", next in text()) {
        let whole = Key::new("page").arg(&format!("{before}:{after}")).arg(&next);
        let before = Key::new("page").arg(&before);
        let pattern = format!("{before}:*");
        prop_assert!(!glob(&pattern, whole.as_str()), "{} matches {}", pattern, whole);
        prop_assert_eq!(whole.as_str().split(':').count(), 3);
    }

    #[test]
    fn long_segments_are_digests(text in "[ -~é]{0,300}") {
        let key = Key::new("p").arg(&text);
        let segment = &key.as_str()[2..];
        prop_assert!(segment.len() <= MAX_SEGMENT);
        prop_assert_eq!(segment.starts_with('!'), matches!(decode(key.as_str()).unwrap()[1], Decoded::Digest(_)));
        if text.len() > MAX_SEGMENT {
            prop_assert_eq!(segment.len(), 65);
        }
    }

    #[test]
    fn decoding_is_the_inverse(arguments in arguments()) {
        let key = key(&arguments);
        let decoded = decode(key.as_str()).unwrap();
        let expected = [
            number_of(arguments.0),
            text_of(&arguments.1),
            option_of(arguments.2.as_ref(), |inner| option_of(inner.as_ref(), |text| text_of(text))),
            Decoded::Sequence(arguments.3.iter().map(|it| option_of(it.as_ref(), |n| number_of(*n))).collect()),
            Decoded::Sequence(vec![
                text_of(&arguments.4.0),
                Decoded::Sequence(arguments.4.1.iter().map(|text| text_of(text)).collect()),
            ]),
            shape_of(&arguments.5),
        ];
        prop_assert_eq!(&decoded[0], &text_of("page"));
        prop_assert_eq!(decoded.len(), 7);
        for (decoded, expected) in decoded[1..].iter().zip(expected) {
            prop_assert!(matches!(decoded, Decoded::Digest(_)) || *decoded == expected, "{} for {}", decoded, expected);
        }
    }

    #[test]
    fn decoding_never_panics(path in "[a7:~'()%,!AF3é*\u{80}]{0,40}") {
        // What it accepts, it accepts to the last byte.
        if let Ok(parts) = decode(&path) {
            prop_assert_eq!(parts.len(), path.split(':').count());
        }
    }
}

fn text_of(text: &str) -> Decoded {
    Decoded::Text(text.to_owned())
}

fn number_of(number: i64) -> Decoded {
    Decoded::Text(number.to_string())
}

fn option_of<T>(option: Option<&T>, content: impl FnOnce(&T) -> Decoded) -> Decoded {
    match option.map(content) {
        None => Decoded::None,
        Some(content @ (Decoded::None | Decoded::Some(_))) => Decoded::Some(Box::new(content)),
        Some(content) => content,
    }
}

fn shape_of(shape: &Shape) -> Decoded {
    match shape {
        Shape::Plain => text_of("Plain"),
        Shape::Other => text_of("Other"),
        Shape::Named(name) => Decoded::Variant("Named".to_owned(), vec![text_of(name)]),
        Shape::Pair(a, b) => {
            Decoded::Variant("Pair".to_owned(), vec![number_of(*a), option_of(b.as_deref(), shape_of)])
        }
    }
}

#[test]
fn what_others_confuse() {
    let key = |a: &str, b: &str| Key::new("p").arg(a).arg(b);
    assert_ne!(key("a:b", "c"), key("a", "b:c"));
    assert_ne!(Key::new("p").arg(&None::<String>), Key::new("p").arg(&Some("None".to_owned())));
    assert_ne!(Key::new("p").arg(&None::<String>), Key::new("p").arg(&Some("~".to_owned())));
    assert_ne!(Key::new("p").arg(&None::<String>), Key::new("p").arg(&Some(String::new())));
    assert_ne!(Key::new("p").arg(&Vec::<String>::new()), Key::new("p").arg(&vec![String::new()]));
    assert_ne!(Key::new("a:b"), Key::new("a").arg(&"b"));
}

#[test]
fn malformed_paths_say_where() {
    for (path, segment, at) in
        [("a:", 1, 0), ("a:(b", 1, 2), ("a:b:%3a", 2, 0), ("a:b)", 1, 1), ("*", 0, 0), ("a:~b", 1, 1), ("a:!12", 1, 0)]
    {
        let error = decode(path).unwrap_err();
        assert_eq!((error.segment, error.at), (segment, at), "{path}: {error}");
    }
    assert!(decode(&"(".repeat(1_000_000)).is_err());
}
