//! Names on one server and in a cluster.

use super::*;

fn hits(names: &Names, target: &Target) -> Hits {
    let mut hits = Hits::default();
    names.of_target(target, &mut hits);
    hits
}

fn keys(names: &Names, target: &Target) -> Vec<String> {
    hits(names, target).keys.into_iter().map(|(_, name)| name).collect()
}

fn written(write: impl FnOnce(&mut Cmd)) -> Vec<String> {
    let mut command = Cmd::new();
    write(&mut command);
    let text = |arg| match arg {
        redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => unreachable!("no cursor was written"),
    };
    command.args_iter().map(text).collect()
}

#[test]
fn a_node_takes_its_token_and_the_entry_at_its_path() {
    let target = Key::new("page").arg(&7).into_node();
    assert_eq!(keys(&Names::new("shop"), &target), ["shop:page:7#g", "shop:page:7", "shop:page:7#r"]);
}

#[test]
fn a_tag_never_meets_a_node_of_the_same_text() {
    let names = Names::new("shop");
    let node = Key::new("#tag").arg(&"a").into_node();
    let tag = Target::Tag(Tag::new("a"));
    assert_eq!(keys(&names, &tag), ["shop:#tag:a#g"]);
    assert!(!keys(&names, &node).contains(&"shop:#tag:a#g".to_owned()));
}

#[test]
fn a_namespace_is_escaped_so_that_none_covers_another() {
    assert_eq!(keys(&Names::new("a:*"), &Target::All), ["a%3A%2A:#root"]);
    assert_eq!(hits(&Names::new("a"), &Target::Glob("x:*".to_owned())).globs, ["a:x:*"]);
    assert_eq!(keys(&Names::new(""), &Target::All), ["'':#root"]);
}

#[test]
fn a_read_asks_for_the_entry_then_the_tokens_in_stamp_order() {
    let key = Key::new("page").arg(&7).arg(&1).tag(Tag::new("owner:7"));
    let names = Names::new("shop");
    let home = names.home(&key);
    let written = written(|command| {
        names.write_entry(command, home, &key);
        names.write_tokens(command, home, &key);
    });
    let wanted = names.of_read(home, &key, Part::Whole);
    assert!(wanted.iter().eq(written.iter().map(String::as_bytes)), "{wanted:?}");
    let expected = ["shop:page:7:1", "shop:#root", "shop:page#g", "shop:page:7#g", "shop:#tag:owner:7#g"];
    assert_eq!(written, expected);
    assert_eq!(names.token_count(home, &key), expected.len() - 1);
    assert_eq!(names.elsewhere(home, &key), []);
}

#[test]
fn in_a_cluster_every_name_is_in_the_slot_of_its_partition() {
    // A brace before those of the tag would be taken for it.
    let names = Names::partitioned("shop{a}");
    let slot_of = |name: &str| {
        let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).expect("a tag").0;
        Partition::tagged(tag.as_bytes()).expect("a partition's")
    };
    let targets = [
        Key::new("page").arg(&"{b}").into_entry(),
        Key::new("page").arg(&7).into_node(),
        Key::new("page").into_node(),
        Target::Tag(Tag::new("{owner}:7")),
        Target::All,
    ];
    for target in &targets {
        for (at, name) in hits(&names, target).keys {
            assert!(name.starts_with("shop%7Ba%7D:{"), "{name}");
            assert_eq!(slot_of(&name), at, "{name}");
            assert_eq!(names.partition_of(name.as_bytes()), Some(at));
        }
    }
    for foreign in ["shop%7Ba%7D:page", "shop%7Ba%7D:{xyz}page", "shop:{021}page", "shop%7Ba%7D:{02"] {
        assert_eq!(names.partition_of(foreign.as_bytes()), None, "{foreign}");
    }
}

#[test]
fn in_a_cluster_a_function_and_the_root_are_in_every_partition_and_all_else_in_one() {
    let names = Names::partitioned("shop");
    let count = |target| keys(&names, &target).len();
    assert_eq!(count(Target::All), 256);
    assert_eq!(count(Key::new("page").into_node()), 256 + 2);
    assert_eq!(count(Key::new("page").arg(&7).into_node()), 3);
    assert_eq!(count(Key::new("page").into_entry()), 2);
    assert_eq!(count(Target::Tag(Tag::new("a"))), 1);
    let mut held = Vec::new();
    assert!(names.of_hold(&Key::new("page").into_node(), &mut held));
    assert_eq!(held.len(), 256 + 1);
    let everywhere: std::collections::BTreeSet<_> = held.iter().map(|(at, _)| *at).collect();
    assert_eq!(everywhere.len(), 256);
}

#[test]
fn in_a_cluster_the_tokens_of_an_entry_are_apart_by_partitions() {
    let names = Names::partitioned("shop");
    let key = Key::new("page").arg(&7).arg(&1).tag(Tag::new("owner:7")).tag(Tag::new("owner:7"));
    let home = names.home(&key);
    assert_eq!(home, Partition::of("page:7:1"));
    let at_home = written(|command| names.write_tokens(command, home, &key));
    let tag = home.tag();
    assert_eq!(at_home, [format!("shop:{{{tag}}}#root"), format!("shop:{{{tag}}}page#g")]);
    assert_eq!(names.token_count(home, &key), 2);
    let owner = Tag::new("owner:7");
    let elsewhere = [
        Elsewhere { at: Partition::of("page:7"), tokens: vec![Token::Node("page:7")] },
        Elsewhere { at: Partition::of("owner:7"), tokens: vec![Token::Tag(&owner), Token::Tag(&owner)] },
    ];
    assert_eq!(names.elsewhere(home, &key), elsewhere);
    // One argument and no tag: all is in one place.
    let key = Key::new("page").arg(&7);
    assert_eq!(names.elsewhere(names.home(&key), &key), []);
}

#[test]
fn in_a_cluster_a_glob_is_over_the_paths_of_all_partitions() {
    let globs = hits(&Names::partitioned("a"), &Target::Glob("x:*".to_owned())).globs;
    assert_eq!(globs, ["a:{???}x:*"]);
}
