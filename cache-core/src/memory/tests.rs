//! What only the inside can show: steps that are interrupted at their weakest point.

use std::sync::{OnceLock, mpsc};

use bytes::Bytes;

use super::*;
use crate::codec::Meta;

const TERM: Duration = Duration::from_secs(60);
const LOAD: Purpose = Purpose::Load { unreadable: None };

fn granted(store: &MemoryStore, key: &Key, purpose: Purpose) -> Lease {
    match store.grant(key, purpose, TERM) {
        Acquired::Lease(lease) => lease,
        other => panic!("expected a lease, got {other:?}"),
    }
}

fn put(store: &MemoryStore, key: &Key, payload: Payload) -> LeaseId {
    let lease = granted(store, key, LOAD);
    assert_eq!(store.fill_now(key, &lease, payload, TERM), Filled::Stored);
    lease.id
}

fn bytes() -> Payload {
    Payload::Bytes(Bytes::from_static(b"value"))
}

#[test]
fn a_removal_between_the_look_at_a_lease_and_the_fill_refuses_the_fill() {
    let store = MemoryStore::new(1 << 20);
    let key = Key::new("f").arg(&1).arg(&2);
    for target in [
        key.clone().into_entry(),
        key.clone().into_node(),
        Target::Glob("f:*".into()),
        Key::new("f").into_node(),
        Target::All,
    ] {
        let lease = granted(&store, &key, LOAD);
        store.step(&key, &lease, |entry| {
            store.invalidate_now(std::slice::from_ref(&target));
            let stored = Stored { id: lease.id, payload: bytes() };
            entry.with(State::Valid { stored, expires: store.after(TERM), refresh: None, pin: None })
        });
        assert!(matches!(store.get(&key), Read::Miss { loading: None }), "{target}");
    }
}

#[test]
fn a_removal_while_a_refresh_begins_leaves_nothing() {
    let store = MemoryStore::new(1 << 20);
    let key = Key::new("f");
    let id = put(&store, &key, bytes());
    let lease = granted(&store, &key, Purpose::Refresh(id));
    let renewed = store.step(&key, &lease, |entry| {
        store.invalidate_now(&[key.clone().into_entry()]);
        entry.with_refresh(Some(Grant { id: lease.id, lapses: store.after(TERM) }))
    });
    assert!(!renewed);
    assert!(matches!(store.get(&key), Read::Miss { loading: None }));
}

/// A value that uses the store when it goes.
struct Caller(Arc<OnceLock<Arc<MemoryStore>>>, Key);

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some(store) = self.0.get() {
            store.get(&self.1);
            store.invalidate_now(&[self.1.clone().into_entry()]);
            if let Acquired::Lease(lease) = store.grant(&self.1, LOAD, TERM) {
                store.release_now(&self.1, &lease);
            }
        }
    }
}

#[test]
fn a_value_may_use_the_store_when_it_goes() {
    let own = Arc::new(OnceLock::new());
    let store = Arc::new(MemoryStore::new(1 << 16));
    assert!(own.set(store.clone()).is_ok());
    let key = Key::new("f").arg(&1);
    let value = || Payload::Object {
        value: Arc::new(Caller(own.clone(), Key::new("f").arg(&1))),
        meta: Meta::default(),
        weight: 1 << 12,
    };
    let id = put(&store, &key, value());
    let refresh = granted(&store, &key, Purpose::Refresh(id));
    assert_eq!(store.fill_now(&key, &refresh, value(), TERM), Filled::Stored, "replaced");
    assert_eq!(store.fill_now(&key, &refresh, value(), TERM), Filled::Refused);
    for target in [key.clone().into_entry(), Key::new("f").into_node(), Target::Glob("f*".into()), Target::All] {
        store.invalidate_now(&[key.clone().into_entry()]);
        put(&store, &key, value());
        store.invalidate_now(&[target]);
        assert!(matches!(store.get(&key), Read::Miss { .. }));
    }
    for other in 0..64 {
        put(&store, &Key::new("g").arg(&other), value());
    }
    assert!(store.evictions() > 10, "values were evicted");
    let large = granted(&store, &Key::new("h"), LOAD);
    let payload = Payload::Object { value: Arc::new(Caller(own.clone(), key)), meta: Meta::default(), weight: 1 << 20 };
    assert_eq!(store.fill_now(&Key::new("h"), &large, payload, TERM), Filled::Refused);
}

#[test]
fn a_walk_of_an_older_epoch_spares_what_is_newer() {
    let store = MemoryStore::new(1 << 20);
    let mut older = store.invalidate_but_sweep(&[Target::All]);
    let newer = store.invalidate_but_sweep(&[Target::All]);
    put(&store, &Key::new("f"), bytes());
    for sweep in &mut older {
        while sweep.step() {}
    }
    drop(newer);
    assert!(matches!(store.get(&Key::new("f")), Read::Hit(_)));
}

#[test]
fn everything_is_invalid_before_the_walk_that_removes_it() {
    let store = MemoryStore::new(1 << 20);
    let (value, loading) = (Key::new("f"), Key::new("g"));
    let id = put(&store, &value, bytes());
    let lease = granted(&store, &loading, LOAD);
    let walks = store.invalidate_but_sweep(&[Target::All]);
    assert!(matches!(store.grant(&value, Purpose::Refresh(id), TERM), Acquired::Gone));
    assert_eq!(store.fill_now(&loading, &lease, bytes(), TERM), Filled::Refused);
    for key in [&value, &loading] {
        assert!(matches!(store.get(key), Read::Miss { loading: None }));
        put(&store, key, bytes());
    }
    drop(walks);
}

#[test]
fn a_glob_that_saw_a_lease_removes_the_value_that_has_replaced_it() {
    let store = MemoryStore::new(1 << 20);
    let key = Key::new("f").arg(&1);
    let lease = granted(&store, &key, LOAD);
    let seen = store.entries.peek(&key).expect("the lease");
    assert_eq!(store.fill_now(&key, &lease, bytes(), TERM), Filled::Stored);
    store.sweep(Doomed::Matching(Glob::new("f:*"))).visit(&seen);
    assert!(matches!(store.get(&key), Read::Miss { loading: None }));
}

#[test]
fn who_puts_something_at_a_key_waits_for_its_lock_and_who_removes_does_not() {
    let store = MemoryStore::new(1 << 20);
    let key = Key::new("f").arg(&1);
    let lease = granted(&store, &key, LOAD);
    let acts: [&(dyn Fn() + Sync); 4] = [
        &|| drop(store.grant(&key, LOAD, TERM)),
        &|| assert!(!store.renew_now(&key, &lease, TERM)),
        &|| assert_eq!(store.fill_now(&key, &lease, bytes(), TERM), Filled::Refused),
        &|| store.release_now(&key, &Lease { replaces: Some(lease.id), ..lease.clone() }),
    ];
    for act in acts {
        std::thread::scope(|scope| {
            let lock = store.entries.lock(&key);
            let (done, waits) = mpsc::channel();
            scope.spawn(move || {
                act();
                done.send(()).expect("somebody listens");
            });
            // Too short a time could only hide a fault, not show one that is not there.
            assert!(waits.recv_timeout(Duration::from_millis(20)).is_err(), "it did not wait for the lock");
            store.get(&key);
            store.invalidate_now(&[key.clone().into_entry(), Key::new("f").into_node(), Target::Glob("f*".into())]);
            drop(lock);
            waits.recv().expect("it goes on");
        });
    }
}

#[test]
fn a_quarantine_between_the_first_look_and_the_lease_is_seen() {
    let store = MemoryStore::new(1 << 20);
    let key = Key::new("f").arg(&1).tag(crate::Tag::new("t"));
    for target in [key.clone().into_entry(), Key::new("f").into_node(), Target::Tag(crate::Tag::new("t"))] {
        let (held, holder) = ([target], HolderId::new());
        std::thread::scope(|scope| {
            let lock = store.entries.lock(&key);
            let acquiring = scope.spawn(|| store.grant_unless_held(&key, LOAD, TERM));
            // Until it waits for the lock, having seen no quarantine. Too short a time could only hide a fault.
            std::thread::sleep(Duration::from_millis(20));
            store.hold_now(&held, holder, TERM);
            drop(lock);
            let acquired = acquiring.join().expect("no panic");
            assert!(matches!(acquired, Acquired::Held), "{acquired:?}");
        });
        assert!(matches!(store.get(&key), Read::Held));
        store.holds.remove(&held, holder);
        assert!(matches!(store.get(&key), Read::Miss { loading: None }), "the lease was taken back");
    }
}
