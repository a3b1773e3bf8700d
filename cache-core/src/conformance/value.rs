//! What is stored comes back as it was, where it was stored, for as long as it was to live.

use std::sync::Arc;

use super::trial::{LONG, SHORT, Trial};
use crate::{
    Key,
    codec::Meta,
    store::{Acquired, Filled, LeaseId, Payload, Purpose, Read, Stored},
};

pub(super) async fn payloads_come_back_as_they_were(t: &Trial<'_>) {
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..1u32 << 18).flat_map(u32::to_le_bytes).collect();
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("zero", vec![0]),
        ("line", b"\r\n$-1\r\n".to_vec()),
        ("lease", b"L".to_vec()),
        ("all", all),
        ("large", large),
    ] {
        let key = t.key(name);
        t.put(&key, &bytes).await;
        t.expect_hit(&key, &bytes, &format!("the {name} payload comes back as it was")).await;
    }
}

pub(super) async fn objects_come_back_as_the_same_object(t: &Trial<'_>) {
    if !t.store.holds_objects() {
        return;
    }
    let key = t.key("a");
    let object: Arc<dyn std::any::Any + Send + Sync> = Arc::new(vec![1, 2, 3]);
    let lease = t.lease(&key, LONG).await;
    let payload = Payload::Object { value: object.clone(), meta: Meta::default(), weight: 64 };
    let filled = t.store.fill(&key, &lease, payload, LONG).await.expect("a fill is answered");
    t.check(filled == Filled::Stored, "an object is stored");
    match t.read(&key).await {
        Read::Hit(Stored { payload: Payload::Object { value, .. }, .. }) => {
            t.check(Arc::ptr_eq(&value, &object), "the very object comes back");
        }
        other => panic!("expected the object, read {other:?}"),
    }
}

pub(super) async fn an_expired_value_is_a_miss(t: &Trial<'_>) {
    let (brief, lasting) = (t.key("brief"), t.key("lasting"));
    let lease = t.lease(&brief, LONG).await;
    t.check(t.fill(&brief, &lease, "value", SHORT).await == Filled::Stored, "a value of a short life is stored");
    t.put(&lasting, "value").await;
    t.pass(SHORT).await;
    t.expect_miss(&brief, None, "a value at the end of its life").await;
    t.expect_hit(&lasting, "value", "a value of a long life").await;
    t.put(&brief, "next").await;
    t.expect_hit(&brief, "next", "an expired value makes room").await;
}

pub(super) async fn an_unreadable_value_gives_way(t: &Trial<'_>) {
    let key = t.key("a");
    let id = t.put(&key, "garbage").await;
    let lease = disregard(t, &key, id).await;
    t.expect_wait(&key, Purpose::Load { unreadable: Some(id) }, lease.id, "who found the same garbage").await;
    t.check(t.fill(&key, &lease, "good", LONG).await == Filled::Stored, "the garbage is replaced");
    t.expect_hit(&key, "good", "the garbage is replaced").await;
}

pub(super) async fn an_unreadable_value_gives_way_only_if_it_is_the_one(t: &Trial<'_>) {
    let key = t.key("a");
    let id = t.put(&key, "garbage").await;
    let lease = disregard(t, &key, id).await;
    t.check(t.fill(&key, &lease, "good", LONG).await == Filled::Stored, "the garbage is replaced");
    match t.acquire(&key, Purpose::Load { unreadable: Some(id) }, LONG).await {
        Acquired::Value(stored) => t.check(stored.id == lease.id, "who comes late gets what replaced the garbage"),
        other => panic!("expected what replaced the garbage, got {other:?}"),
    }
    t.expect_hit(&key, "good", "what replaced the garbage stays").await;
}

async fn disregard(t: &Trial<'_>, key: &Key, id: LeaseId) -> crate::store::Lease {
    match t.acquire(key, Purpose::Load { unreadable: Some(id) }, LONG).await {
        Acquired::Lease(lease) => lease,
        other => panic!("expected a lease in the place of an unreadable value, got {other:?}"),
    }
}

pub(super) async fn similar_keys_have_values_of_their_own(t: &Trial<'_>) {
    let root = t.root();
    let keys = [
        root.clone(),
        root.clone().arg(&7),
        root.clone().arg(&70),
        root.clone().arg(&7).arg(&0),
        root.clone().arg(&7).arg(&0).arg(""),
        root.clone().arg("a:b").arg("c"),
        root.clone().arg("a").arg("b:c"),
        root.clone().arg("a").arg("b").arg("c"),
        root.clone().arg("A").arg("b").arg("c"),
        root.clone().arg("*"),
        root.clone().arg("ä"),
        root.clone().arg(&None::<u8>),
    ];
    for key in &keys {
        t.put(key, key.as_str()).await;
    }
    for key in &keys {
        t.expect_hit(key, key.as_str(), "a key has the value that was stored under it").await;
    }
}

pub(super) async fn a_value_is_served_under_its_own_tags_only(t: &Trial<'_>) {
    let plain = t.key("a");
    let (one, other) = (plain.clone().tag(t.tag("1")), plain.clone().tag(t.tag("2")));
    t.put(&one, "value").await;
    let why = "a value without this tag would outlive the tag's invalidation";
    for reader in [&other, &one.clone().tag(t.tag("2"))] {
        t.expect_miss(reader, None, why).await;
    }
    t.put(&other, "others").await;
    t.expect_hit(&other, "others", "a load under other tags takes the place").await;
    t.invalidate(&[crate::Target::Tag(t.tag("2"))]).await;
    t.expect_miss(&other, None, "the tag that it was stored under").await;
}
