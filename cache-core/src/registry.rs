//! The cached functions of the program.
//!
//! Each `#[cached]` registers its site before `main` runs. Two functions with one key prefix would share entries, so
//! [`check`] refuses that when a cache is built.

use std::{collections::HashMap, fmt, sync::OnceLock};

use crate::{call, key::Start, stats::Slot};

/// One cached function.
pub struct Site {
    key_prefix: Option<&'static str>,
    ttl: &'static str,
    tags: &'static [&'static str],
    file: &'static str,
    line: u32,
    here: fn() -> &'static str,
    /// For functions whose entries may be shared.
    terms: Option<call::Terms>,
    place: OnceLock<Place>,
}

/// What the place of a site says about it, read once.
struct Place {
    function: String,
    /// With the first segment, encoded.
    start: Start,
    generic: bool,
}

/// One function that invalidates.
pub struct Invalidator {
    aims: &'static [Aim],
    file: &'static str,
    line: u32,
    here: fn() -> &'static str,
    function: OnceLock<String>,
}

/// One target of `#[invalidates]`, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// One entry of the function at this path.
    Entry {
        /// Without types and arguments.
        path: &'static str,
        /// In full.
        text: &'static str,
    },
    /// The entries of the function at this path that begin with some arguments.
    Node {
        /// Without types and arguments.
        path: &'static str,
        /// In full.
        text: &'static str,
    },
    /// All entries with a tag.
    Tag(&'static str),
    /// All entries whose key matches.
    Glob(&'static str),
}

/// An invalidator in the program's list.
#[doc(hidden)]
#[derive(Debug)]
pub struct RegisteredInvalidator(pub &'static Invalidator);

inventory::collect!(RegisteredInvalidator);

impl Invalidator {
    #[doc(hidden)]
    pub const fn new(aims: &'static [Aim], (file, line): (&'static str, u32), here: fn() -> &'static str) -> Self {
        Self { aims, file, line, here, function: OnceLock::new() }
    }

    /// What it drops, in the order in which it is written.
    pub fn aims(&self) -> &'static [Aim] {
        self.aims
    }

    /// Module path, type and name, joined by dots.
    pub fn function(&self) -> &str {
        self.function.get_or_init(|| call::place::prefix((self.here)()))
    }

    /// The source file of the attribute.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// The line of the attribute.
    pub fn line(&self) -> u32 {
        self.line
    }
}

impl fmt::Debug for Invalidator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invalidator")
            .field("function", &self.function())
            .field("aims", &self.aims)
            .finish_non_exhaustive()
    }
}

/// A site in the program's list.
#[doc(hidden)]
#[derive(Debug)]
pub struct Registered(pub &'static Site);

inventory::collect!(Registered);

impl Site {
    /// A site; `here` names the type of a function nested in it.
    #[doc(hidden)]
    pub const fn new(
        key_prefix: Option<&'static str>,
        ttl: &'static str,
        tags: &'static [&'static str],
        (file, line): (&'static str, u32),
        here: fn() -> &'static str,
        terms: Option<call::Terms>,
    ) -> Self {
        Self { key_prefix, ttl, tags, file, line, here, terms, place: OnceLock::new() }
    }

    pub(crate) fn terms(&self) -> Option<&call::Terms> {
        self.terms.as_ref()
    }

    /// The first segment of the function's keys, as it is declared.
    pub fn prefix(&self) -> &str {
        self.key_prefix.unwrap_or_else(|| &self.place().function)
    }

    /// Where the function's keys begin. Where [`check`] was not heeded, or never asked, functions of one prefix
    /// still share nothing: a value of the one must never be served as the other's.
    #[inline]
    pub(crate) fn start(&self) -> &Start {
        &self.place().start
    }

    /// Module path, type and name, joined by dots.
    pub fn function(&self) -> &str {
        &self.place().function
    }

    /// The TTL as it is written in the attribute.
    pub fn ttl(&self) -> &'static str {
        self.ttl
    }

    /// The tags as they are written in the attribute.
    pub fn tags(&self) -> &'static [&'static str] {
        self.tags
    }

    /// The source file of the attribute.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// The line of the attribute.
    pub fn line(&self) -> u32 {
        self.line
    }

    pub(crate) fn in_generic_type(&self) -> bool {
        self.place().generic
    }

    #[inline]
    fn place(&self) -> &Place {
        self.place.get_or_init(|| self.find_place())
    }

    #[cold]
    fn find_place(&self) -> Place {
        let here = (self.here)();
        let function = call::place::prefix(here);
        let slot = Slot::next();
        let start = match self.key_prefix {
            None => Start::of_prefix(&function, slot),
            Some(shared) if is_taken(shared, &function) => Start::of_prefix(&format!("{shared}.{function}"), slot),
            Some(prefix) => Start::of_prefix(prefix, slot),
        };
        Place { function, start, generic: call::place::is_generic(here) }
    }

    /// Whether two sites with one prefix are still apart. Without `key_prefix` the methods of `Repo<User>` and of
    /// `Repo<Order>` have one prefix, and differ in the segment after it.
    fn is_apart_from(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.key_prefix.is_none() && other.key_prefix.is_none() && (self.here)() != (other.here)())
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("prefix", &self.prefix())
            .field("function", &self.function())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({}:{})", self.function().replace('.', "::"), self.file, self.line)
    }
}

/// Two cached functions with one key prefix.
#[derive(Debug, thiserror::Error)]
#[error(
    "the cached functions {first} and {second} have one key prefix, `{prefix}`: give one of them another `key_prefix`"
)]
#[non_exhaustive]
pub struct PrefixClash {
    /// The prefix.
    pub prefix: String,
    /// The function that comes first, by file and line.
    pub first: &'static Site,
    /// The other one.
    pub second: &'static Site,
}

/// Whether another function has this prefix. Reads names only: the places of sites may be in the making.
fn is_taken(prefix: &str, function: &str) -> bool {
    inventory::iter::<Registered>
        .into_iter()
        .any(|Registered(other)| other.key_prefix == Some(prefix) && call::place::prefix((other.here)()) != function)
}

/// Whether the entries of the function whose keys begin with this encoded segment have tags. `None`: the program has no such function.
pub(crate) fn has_tags(prefix: &str) -> Option<bool> {
    let mut sites =
        inventory::iter::<Registered>.into_iter().filter(|Registered(site)| site.start().prefix() == prefix);
    let first = !sites.next()?.0.tags.is_empty();
    Some(first || sites.any(|Registered(site)| !site.tags.is_empty()))
}

/// How many cached functions the program has.
pub(crate) fn count() -> usize {
    inventory::iter::<Registered>.into_iter().count()
}

/// All cached functions of the program, by file and line.
pub fn sites() -> Vec<&'static Site> {
    let mut sites: Vec<_> = inventory::iter::<Registered>.into_iter().map(|registered| registered.0).collect();
    sites.sort_by_key(|site| (site.file, site.line));
    sites
}

/// All functions with `#[invalidates]` of the program, by file and line.
pub fn writers() -> Vec<&'static Invalidator> {
    let mut writers: Vec<_> =
        inventory::iter::<RegisteredInvalidator>.into_iter().map(|registered| registered.0).collect();
    writers.sort_by_key(|writer| (writer.file, writer.line));
    writers
}

/// Makes sure that no two cached functions have one key prefix.
///
/// # Errors
///
/// [`PrefixClash`] names the first two that have.
pub fn check() -> Result<(), PrefixClash> {
    clash(&sites()).map_or(Ok(()), Err)
}

fn clash(sites: &[&'static Site]) -> Option<PrefixClash> {
    let mut seen: HashMap<&str, Vec<&'static Site>> = HashMap::new();
    for &second in sites {
        let same = seen.entry(second.prefix()).or_default();
        if let Some(first) = same.iter().find(|first| !first.is_apart_from(second)) {
            return Some(PrefixClash { prefix: second.prefix().to_owned(), first, second });
        }
        same.push(second);
    }
    None
}

/// Declares the function around it as one that invalidates.
#[doc(hidden)]
#[macro_export]
macro_rules! __invalidator {
    (@aim Entry $path:literal $text:literal) => { $crate::registry::Aim::Entry { path: $path, text: $text } };
    (@aim Node $path:literal $text:literal) => { $crate::registry::Aim::Node { path: $path, text: $text } };
    (@aim Tag $text:literal) => { $crate::registry::Aim::Tag($text) };
    (@aim Glob $text:literal) => { $crate::registry::Aim::Glob($text) };
    ($($kind:ident $($text:literal)+;)*) => {
        {
            fn here() {}
            static INVALIDATOR: $crate::call::Invalidator = $crate::call::Invalidator::new(
                &[$($crate::__invalidator!(@aim $kind $($text)+)),*],
                (::core::file!(), ::core::line!()),
                || ::core::any::type_name_of_val(&here),
            );
            $crate::call::inventory::submit! { $crate::call::RegisteredInvalidator(&INVALIDATOR) }
        }
    };
}

/// Declares the function around it as a cached one and answers its address, [`Function`](call::Function).
#[doc(hidden)]
#[macro_export]
macro_rules! __site {
    (@prefix _) => { ::core::option::Option::None };
    (@prefix $prefix:literal) => { ::core::option::Option::Some($prefix) };
    (@declare $prefix:tt, $ttl:literal, $tags:expr, $terms:expr) => {
        fn here() {}
        static SITE: $crate::call::Site = $crate::call::Site::new(
            $crate::__site!(@prefix $prefix),
            $ttl,
            &$tags,
            (::core::file!(), ::core::line!()),
            || ::core::any::type_name_of_val(&here),
            $terms,
        );
    };
    (register $prefix:tt, $ttl:literal, $tags:expr, $($types:tt)*) => {{
        $crate::__site!(@declare $prefix, $ttl, $tags, ::core::option::Option::None);
        $crate::call::inventory::submit! { $crate::call::Registered(&SITE) }
        $crate::__site!(@address $($types)*)
    }};
    // As `register`, for a function whose entries may be shared: how they live, and how their tags are made from the key.
    (share $prefix:tt, $ttl:literal, $tags:expr, (
        $policy:ident $arguments:tt $(. $setting:ident $value:tt)*; $templates:expr
    ), $($types:tt)*) => {{
        $crate::__site!(
            @declare $prefix, $ttl, $tags,
            ::core::option::Option::Some($crate::call::Terms::new(
                $crate::call::$policy $arguments $(. $setting $value)*, &$templates
            ))
        );
        $crate::call::inventory::submit! { $crate::call::Registered(&SITE) }
        $crate::__site!(@address $($types)*)
    }};
    (address $prefix:tt, $ttl:literal, $tags:expr, $($types:tt)*) => {{
        $crate::__site!(@declare $prefix, $ttl, $tags, ::core::option::Option::None);
        $crate::__site!(@address $($types)*)
    }};
    (@address Self $($types:tt)*) => {
        $crate::call::Function::new(&SITE, ::core::any::type_name_of_val(&|| ()), &[$($types)*])
    };
    (@address $($types:tt)*) => {
        $crate::call::Function::new(&SITE, "", &[$($types)*])
    };
}
