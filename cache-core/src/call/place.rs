//! Where a function stands, read from the names that the compiler gives to what is declared in it.
//!
//! A closure's type name carries the path of the function around it with the actual types of a generic `Self`
//! (`app::Repo<app::User>::find::{{closure}}`), and a nested function's the path alone (`app::Repo<_>::find::here`).
//! That holds for free functions, inherent methods and trait methods alike, so a macro that cannot see the impl block
//! around a function still knows whose it is.
//!
//! Two different types never share a segment unless the compiler gives them one name, module path included.

use std::fmt::Write as _;

const COMPANION: &str = "__cached_";

/// The readable part of a segment is cut to this; the digest after it tells types apart.
const READABLE: usize = 64;

/// The default prefix of the function in which `here` is declared: `app.Repo.find` of `app::Repo<_>::find::here`.
pub(crate) fn prefix(here: &str) -> String {
    let (owner, name) = split(here.rsplit_once("::").map_or(here, |(function, _)| function));
    let name = name.strip_prefix(COMPANION).unwrap_or(name);
    let mut prefix = String::with_capacity(here.len());
    push_plain_path(&mut prefix, owner);
    if !prefix.is_empty() {
        prefix.push('.');
    }
    prefix.push_str(name);
    prefix
}

/// Whether the function in which `here` is declared belongs to a generic type.
pub(crate) fn is_generic(here: &str) -> bool {
    here.contains('<')
}

/// The type or module that the function around a closure belongs to, from the closure's type name.
pub(crate) fn owner(closure: &str) -> &str {
    let owner = split(closure).0;
    owner.strip_prefix('<').and_then(|qualified| qualified.split_once(" as ")).map_or(owner, |(owner, _)| owner)
}

/// A segment that stands for the types in `name`: readable, then 64 bits of digest over the full names.
pub(crate) fn segment(name: &str) -> String {
    let mut segment = readable(name);
    write!(segment, "-{:016x}", fnv1a(name.as_bytes())).expect("writing to a String succeeds");
    segment
}

/// Splits a path into what a function belongs to and the function's own name, without closures and generics.
fn split(path: &str) -> (&str, &str) {
    let mut path = path;
    while let Some(outer) = path.strip_suffix("::{{closure}}") {
        path = outer;
    }
    let function = &path[..generics_at_end(path)];
    function.rsplit_once("::").unwrap_or(("", function))
}

/// Where the generic arguments at the end of a path begin; its length if there are none.
fn generics_at_end(path: &str) -> usize {
    if !path.ends_with('>') {
        return path.len();
    }
    let bytes = path.as_bytes();
    let mut depth = 0_usize;
    for at in (0..bytes.len()).rev() {
        match bytes[at] {
            b'>' if at > 0 && bytes[at - 1] == b'-' => {}
            b'>' => depth += 1,
            b'<' if depth == 1 => return at,
            b'<' => depth -= 1,
            _ => {}
        }
    }
    path.len()
}

/// Appends a path with `.` between its parts, without generics, the type's own path for `<T as Trait>` and `<impl T>`.
fn push_plain_path(out: &mut String, path: &str) {
    if let Some((_, own)) = path.split_once("<impl ") {
        return push_plain_path(out, own.rsplit_once('>').map_or(own, |(own, _)| own));
    }
    if let Some(qualified) = path.strip_prefix('<') {
        return push_plain_path(out, qualified.split_once(" as ").map_or(qualified, |(own, _)| own));
    }
    let mut depth = 0_usize;
    let mut previous = ' ';
    for c in path.chars() {
        match c {
            '<' => depth += 1,
            '>' if previous != '-' => depth = depth.saturating_sub(1),
            ':' if depth == 0 && previous == ':' => out.push('.'),
            ':' => {}
            _ if depth == 0 => out.push(c),
            _ => {}
        }
        previous = c;
    }
}

/// `Repo.User` of `app::Repo<app::model::User>`.
fn readable(name: &str) -> String {
    let mut out = String::new();
    for word in name.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        let last = word.rsplit("::").next().unwrap_or(word);
        if last.is_empty() {
            continue;
        }
        if out.len() + last.len() > READABLE {
            break;
        }
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(last);
    }
    out
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
#[allow(clippy::unused_async, clippy::extra_unused_type_parameters, reason = "only the names matter")]
mod tests {
    use std::any::type_name_of_val;

    use super::*;

    struct Repo<T>(T);

    impl<T> Repo<T> {
        async fn asynchronous<X>() -> (&'static str, &'static str) {
            fn here() {}
            (type_name_of_val(&here), type_name_of_val(&|| ()))
        }

        fn __cached_asynchronous() -> (&'static str, &'static str) {
            fn here() {}
            (type_name_of_val(&here), type_name_of_val(&|| ()))
        }
    }

    mod elsewhere {
        impl super::Repo<u16> {
            pub(super) fn other_module() -> (&'static str, &'static str) {
                fn here() {}
                (std::any::type_name_of_val(&here), std::any::type_name_of_val(&|| ()))
            }
        }
    }

    trait Find {
        fn find() -> (&'static str, &'static str);
    }

    impl<T> Find for Repo<T> {
        fn find() -> (&'static str, &'static str) {
            fn here() {}
            (type_name_of_val(&here), type_name_of_val(&|| ()))
        }
    }

    async fn free<T>() -> (&'static str, &'static str) {
        fn here() {}
        (type_name_of_val(&here), type_name_of_val(&|| ()))
    }

    const HERE: &str = "cache_core.call.place.tests";

    #[tokio::test]
    async fn a_function_and_its_companion_agree() {
        let (here, closure) = Repo::<fn(u8) -> u8>::asynchronous::<Option<u8>>().await;
        let (companion_here, companion_closure) = Repo::<fn(u8) -> u8>::__cached_asynchronous();
        assert_eq!(prefix(here), format!("{HERE}.Repo.asynchronous"));
        assert_eq!(prefix(companion_here), prefix(here));
        assert_eq!(owner(closure), "cache_core::call::place::tests::Repo<fn(u8) -> u8>");
        assert_eq!(owner(companion_closure), owner(closure));
        assert!(is_generic(here) && is_generic(companion_here));
    }

    #[tokio::test]
    async fn a_free_function_belongs_to_its_module() {
        let (here, closure) = free::<Vec<u8>>().await;
        assert_eq!(prefix(here), format!("{HERE}.free"));
        assert_eq!(owner(closure), "cache_core::call::place::tests");
        assert!(!is_generic(here));
    }

    #[test]
    fn a_trait_method_belongs_to_its_type() {
        let (here, closure) = Repo::<u8>::find();
        assert_eq!(prefix(here), format!("{HERE}.Repo.find"));
        assert_eq!(owner(closure), "cache_core::call::place::tests::Repo<u8>");
    }

    #[test]
    fn an_impl_in_another_module_belongs_to_its_type() {
        let (here, closure) = Repo::<u16>::other_module();
        assert_eq!(prefix(here), format!("{HERE}.Repo.other_module"));
        assert!(owner(closure).contains("Repo<u16>"), "{closure}");
    }

    #[test]
    fn types_of_one_name_in_two_modules_differ() {
        let one = segment("app::Repo<app::a::User>");
        let other = segment("app::Repo<app::b::User>");
        assert!(one.starts_with("Repo.User-") && other.starts_with("Repo.User-"));
        assert_ne!(one, other);
    }
}
