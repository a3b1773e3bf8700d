use std::{convert::Infallible, time::Duration};

use super::*;
use crate::{Cache, Policy, store::HolderId};

async fn load(cache: &Cache, key: Key) {
    let policy = Policy::new(Duration::from_secs(600));
    let loaded: Result<u32, Infallible> = cache.get_or_load(&key, &policy, || async { Ok(7) }).await;
    loaded.expect("it does not fail");
}

async fn all(cache: &Cache, glob: &str) -> Vec<String> {
    let (mut found, mut at) = (Vec::new(), None);
    loop {
        let page = cache.inspect().list(glob, at.as_ref(), 3).await.expect("memory answers");
        assert!(page.items.len() <= 3);
        found.extend(page.items.into_iter().map(|item| item.path));
        at = page.next;
        if at.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn memory_shows_what_is_valid_page_by_page() {
    let cache = Cache::memory();
    for owner in 1..=3 {
        for page in 0..4 {
            load(&cache, Key::new("page").arg(&owner).arg(&page).tag(Tag::new("p:").arg(&page))).await;
        }
    }
    assert_eq!(all(&cache, "*").await.len(), 12);
    assert_eq!(all(&cache, "page:2:*").await, ["page:2:0", "page:2:1", "page:2:2", "page:2:3"]);
    cache.invalidate([Target::Node("page:2".into()), Target::Tag(Tag::new("p:").arg(&1))]).await;
    assert_eq!(all(&cache, "*").await, ["page:1:0", "page:1:2", "page:1:3", "page:3:0", "page:3:2", "page:3:3"]);
    let preview = cache.inspect().preview(&Target::Node("page:1".into()), 100).await.unwrap();
    assert_eq!((preview.count, preview.is_at_least, preview.some[0].as_str()), (3, false, "page:1:0"));
    let tag = |page: i32| Target::Tag(Tag::new("p:").arg(&page));
    assert_eq!(cache.inspect().preview(&tag(2), 100).await.unwrap().tag_in_use, Some(true));
    assert_eq!(cache.inspect().preview(&tag(9), 100).await.unwrap().tag_in_use, Some(false));
    assert!(cache.inspect().servers().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_object_has_a_size_and_no_bytes() {
    let cache = Cache::memory();
    let key = Key::new("page").arg(&1);
    load(&cache, key.clone()).await;
    let seen = cache.inspect().look(&key).await.unwrap().expect("it is there");
    assert_eq!((seen.item.kind, seen.item.validity, seen.item.codec), (Kind::Value, Some(Validity::Valid), None));
    assert!(seen.item.bytes > 0 && seen.item.load_time.is_some() && seen.bytes.is_none());
    assert!(seen.item.ttl > Some(Duration::from_secs(500)));
    assert!(cache.inspect().look(&Key::new("page").arg(&2)).await.unwrap().is_none());
    let held = Key::new("held");
    cache.store().hold(&[held.clone().into_entry()], HolderId::new(), Duration::from_secs(9)).await.unwrap();
    assert_eq!(cache.inspect().look(&held).await.unwrap().expect("it is there").item.kind, Kind::Held);
}

#[test]
fn what_is_no_key_is_no_target() {
    assert!(Naming::Entry.target("a b").is_err());
    assert!(Naming::Node.target("a:%4").is_err());
    assert!(Naming::Tag.target("#").is_err());
    assert_eq!(Naming::Glob.target("a b*").unwrap(), Target::Glob("a b*".into()));
    assert_eq!(Naming::Tag.target("p:1").unwrap(), Target::Tag(Tag::new("p:").arg(&1)));
    assert_eq!(Key::of_encoded("page:1").unwrap(), Key::new("page").arg(&1));
    assert_eq!(Key::of_encoded("page:1").unwrap().path().hash(), Key::new("page").arg(&1).path().hash());
}

#[cfg(all(feature = "json", feature = "message-pack"))]
#[test]
fn a_codec_that_describes_itself_is_read_without_the_type() {
    use std::collections::BTreeMap;

    use crate::codec::{Json, MessagePack, Meta, Postcard, Values, readable};

    let value = BTreeMap::from([("<b>".to_owned(), vec![1, 2, 3])]);
    let json = serde_json::json!({ "<b>": [1, 2, 3] });
    for values in
        [Values::new().codec(Json), Values::new().codec(MessagePack), Values::new().codec(Json).compress_from(1)]
    {
        let bytes = values.encode(Some(&value), Meta::default(), 3).unwrap();
        assert_eq!(readable(&bytes, LARGEST), Some(json.clone()));
        assert_eq!(readable(&bytes[..bytes.len() - 1], LARGEST), None, "cut off");
        assert_eq!(readable(&bytes, 3), None, "over the limit");
    }
    let bytes = Values::new().codec(Postcard).encode(Some(&value), Meta::default(), 3).unwrap();
    assert_eq!(readable(&bytes, LARGEST), None);
    let none = Values::new().codec(Json).encode(None::<&u8>, Meta::default(), 3).unwrap();
    assert_eq!(readable(&none, LARGEST), None);
}
