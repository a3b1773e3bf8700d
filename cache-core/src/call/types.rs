//! Where the keys of a generic function begin: after its prefix comes a segment that tells its types apart.
//!
//! The segment is made once for each instance of the function and kept for good; there are no more of them than the program has.

use std::{
    collections::HashMap,
    fmt::{Display, Write as _},
    sync::{LazyLock, Mutex, PoisonError},
};

use arc_swap::ArcSwap;

use super::place;
use crate::{key::Start, registry::Site};

type Known = HashMap<Instance, &'static Start>;

/// An instance of a function, as far as its types are told by name.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Instance {
    site: usize,
    /// What its owner is called: the very text, which the program holds once or a few times for each type.
    owner: (usize, usize),
    /// Its own parameters.
    parameters: String,
}

/// Read without a lock: a call of a generic function is a call like any.
static KNOWN: LazyLock<ArcSwap<Known>> = LazyLock::new(ArcSwap::default);

/// One at a time adds to it.
static ADDING: Mutex<()> = Mutex::new(());

/// The start for the types in `closure`, which is the name of a closure made in the function, and `parameters`.
pub(super) fn start(site: &'static Site, closure: &'static str, parameters: &[&dyn Display]) -> &'static Start {
    let owner = if site.in_generic_type() { closure } else { "" };
    let mut written = String::new();
    for parameter in parameters {
        write!(written, ", {parameter}").expect("writing to a String succeeds");
    }
    let instance = Instance {
        site: std::ptr::from_ref(site) as usize,
        owner: (owner.as_ptr() as usize, owner.len()),
        parameters: written,
    };
    if let Some(start) = KNOWN.load().get(&instance) {
        return start;
    }
    let owner = place::owner(owner);
    if owner.is_empty() && instance.parameters.is_empty() {
        return site.start();
    }
    let segment = place::segment(&format!("{owner}{}", instance.parameters));
    let _adding = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut known = Known::clone(&KNOWN.load());
    let start = *known.entry(instance).or_insert_with(|| Box::leak(Box::new(site.start().with_segment(&segment))));
    KNOWN.store(known.into());
    start
}
