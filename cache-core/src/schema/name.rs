//! Type names without module paths.

/// `alloc::vec::Vec<app::v2::Row>` becomes `Vec<Row>`: where a type lies is no part of its structure.
pub(super) fn plain(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        if word == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else if rest[word..].starts_with("::") && rest[word + 2..].starts_with(is_path) {
            rest = &rest[word + 2..];
        } else {
            out.push_str(&rest[..word]);
            rest = &rest[word..];
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What may follow `::` in a path: a name, or `{closure}` and the like.
fn is_path(c: char) -> bool {
    is_word(c) || c == '{'
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn modules_do_not_count() {
        assert_eq!(plain("alloc::vec::Vec<app::v2::Row>"), "Vec<Row>");
        assert_eq!(plain("(i32, [core::option::Option<a::B>; 3])"), "(i32, [Option<B>; 3])");
        assert_eq!(plain("&'static str"), "&'static str");
        assert_eq!(plain("dyn a::b::T<Out = c::D>"), "dyn T<Out = D>");
        assert_eq!(plain("a::f::{{closure}}::T"), "{{closure}}::T");
        assert_eq!(plain("<a::B as c::D>::E"), "<B as D>::E");
    }
}
