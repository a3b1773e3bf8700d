//! The options of `#[cached]`, as they are written.

use proc_macro2::TokenStream;
use syn::{Expr, ExprCall, ExprLit, ExprPath, Ident, Lit, LitStr, Path};

use crate::{
    args::{self, Setting, Value, set_once},
    duration::Span as Lifetime,
    errors::Errors,
    nearest::nearest,
    template::Template,
};

const NAMES: &[&str] = &[
    "ttl",
    "batch",
    "key_prefix",
    "key",
    "skip",
    "tags",
    "cache",
    "cache_if",
    "negative_ttl",
    "jitter",
    "refresh_ahead",
    "stale_if_error",
    "l1",
    "pin",
    "version",
    "verify",
    "crate",
];

/// Whose entries a batch has.
pub(super) enum Entries {
    Own,
    /// Those of this function.
    Of(ExprPath),
}

/// What is done with copies in the memory of the process.
pub(super) enum L1 {
    Off,
    Validated,
    Leased,
    For(Lifetime),
}

/// What is set, each at most once.
#[derive(Default)]
pub(super) struct Options {
    pub(super) krate: Option<Path>,
    pub(super) ttl: Option<Lifetime>,
    pub(super) batch: Option<Entries>,
    /// Where what makes an entry is written, all but `key` and `skip`.
    pub(super) of_entries: Vec<Ident>,
    /// The TTL as it is written, for the registry.
    pub(super) ttl_text: String,
    pub(super) key_prefix: Option<LitStr>,
    pub(super) key: Option<Vec<Expr>>,
    pub(super) skip: Option<Vec<Expr>>,
    pub(super) tags: Option<Vec<Template>>,
    pub(super) cache: Option<Expr>,
    pub(super) cache_if: Option<Expr>,
    pub(super) negative_ttl: Option<(Ident, Lifetime)>,
    pub(super) jitter: Option<Expr>,
    pub(super) refresh_ahead: Option<Expr>,
    pub(super) stale_if_error: Option<Lifetime>,
    pub(super) l1: Option<L1>,
    pub(super) pin: Option<()>,
    pub(super) version: Option<Expr>,
    pub(super) verify: Option<Expr>,
}

impl Options {
    pub(super) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        let settings = args::settings(tokens, errors);
        // Misspelt is not missing.
        let ttl_is_broken =
            settings.iter().any(|setting| nearest(&setting.name.to_string(), NAMES.iter().copied()) == Some("ttl"));
        let names_entries =
            settings.iter().any(|setting| setting.name == "batch" && !matches!(setting.value, Value::Flag));
        for setting in settings {
            if !["batch", "key", "skip", "cache", "crate"].iter().any(|name| setting.name == name) {
                options.of_entries.push(setting.name.clone());
            }
            let name = setting.name.clone();
            options.set(setting, errors);
            if options.pin.is_some() && matches!(options.l1, Some(L1::Off)) && (name == "pin" || name == "l1") {
                errors.on(
                    name,
                    "`pin` keeps copies in memory, and with `l1 = \"off\"` there are none; leave one of the two out",
                );
            }
        }
        if options.ttl.is_none() && !ttl_is_broken && !names_entries {
            errors.push(syn::Error::new(
                proc_macro2::Span::call_site(),
                "`ttl` is missing: how long may a value be kept? Write `#[cached(ttl = \"15m\")]`",
            ));
        }
        options
    }

    fn set(&mut self, mut setting: Setting, errors: &mut Errors) {
        let name = setting.name.clone();
        let n = &name;
        match name.to_string().as_str() {
            "crate" => {
                let path = setting.path(errors);
                set_once(&mut self.krate, n, path, errors);
            }
            "ttl" => {
                let value = setting.expr("ttl = \"15m\"", errors);
                if let Some(value) = &value
                    && self.ttl.is_none()
                {
                    self.ttl_text = written(value);
                }
                set_once(&mut self.ttl, n, lifetime(n, value, errors), errors);
            }
            "batch" => {
                let value = batch(setting, errors);
                set_once(&mut self.batch, n, value, errors);
            }
            "key_prefix" => set_once(&mut self.key_prefix, n, key_prefix(setting, errors), errors),
            "key" => set_once(&mut self.key, n, setting.list("key(id, filter.page)", errors), errors),
            "skip" => set_once(&mut self.skip, n, setting.list("skip(pool)", errors), errors),
            "tags" => {
                let list = setting.list("tags(\"owner:{owner_id}\")", errors);
                let tags = list.map(|list| Template::parse_list(list, errors));
                set_once(&mut self.tags, n, tags, errors);
            }
            "cache" => set_once(&mut self.cache, n, setting.expr("cache = self.cache", errors), errors),
            "cache_if" => {
                let value = setting.expr("cache_if = |value| !value.is_empty()", errors);
                set_once(&mut self.cache_if, n, value, errors);
            }
            "negative_ttl" => {
                let value = setting.expr("negative_ttl = \"1m\"", errors);
                let value = lifetime(n, value, errors).map(|lifetime| (name.clone(), lifetime));
                set_once(&mut self.negative_ttl, n, value, errors);
            }
            "jitter" => {
                let meaning = "the share of the TTL that chance may take off";
                set_once(&mut self.jitter, n, share(setting, "jitter = 0.1", meaning, errors), errors);
            }
            "refresh_ahead" => set_once(&mut self.refresh_ahead, n, beta(setting, errors), errors),
            "stale_if_error" => {
                let value = setting.expr("stale_if_error = \"1h\"", errors);
                set_once(&mut self.stale_if_error, n, lifetime(n, value, errors), errors);
            }
            "l1" => set_once(&mut self.l1, n, l1(setting, errors), errors),
            "pin" => {
                let flag = setting.flag(errors);
                set_once(&mut self.pin, n, flag, errors);
            }
            "version" => set_once(&mut self.version, n, version(setting, errors), errors),
            "verify" => {
                let meaning = "the share of the hits that is loaded as well and compared";
                set_once(&mut self.verify, n, share(setting, "verify = 0.001", meaning, errors), errors);
            }
            _ => args::unknown(n, "cached", NAMES, errors),
        }
    }
}

fn l1(mut setting: Setting, errors: &mut Errors) -> Option<L1> {
    const MODES: &str = "`\"off\"`, `\"validated\"`, `\"leased\"`, or how long what others have invalidated may be served, such as `\"1s\"`";
    let value = setting.expr("l1 = \"leased\"", errors)?;
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &value else {
        if let Some(mode) = mode_by_path(&value) {
            errors.on(value, format!("`l1` takes its mode as text; write `l1 = {mode:?}`"));
            return None;
        }
        return lifetime(&setting.name, Some(value), errors).map(L1::For);
    };
    let text = text.value();
    Some(match text.as_str() {
        "off" => L1::Off,
        "validated" => L1::Validated,
        "leased" => L1::Leased,
        _ => match Lifetime::of("l1", value.clone()) {
            Ok(bound) => L1::For(bound),
            Err(error) => {
                let is_word = !text.starts_with(|c: char| c.is_ascii_digit());
                match nearest(&text, ["off", "validated", "leased"]).filter(|_| is_word) {
                    Some(mode) => errors.on(value, format!("`l1` is {MODES}; did you mean `{mode}`?")),
                    None if is_word => errors.on(value, format!("`l1` is {MODES}")),
                    None => errors.push(error),
                }
                return None;
            }
        },
    })
}

/// `leased` of `L1::Leased` and `leased`.
fn mode_by_path(value: &Expr) -> Option<String> {
    let path = match value {
        Expr::Path(path) => &path.path,
        Expr::Call(call) => match &*call.func {
            // `L1::For(bound)`: the bound by itself.
            Expr::Path(path) if path.path.segments.last()?.ident == "For" => return Some("1s".to_owned()),
            _ => return None,
        },
        _ => return None,
    };
    let name = path.segments.last()?.ident.to_string();
    let is_of_l1 = path.segments.len() > 1 && path.segments.iter().any(|segment| segment.ident == "L1");
    let mode = name.to_lowercase();
    let is_mode = ["off", "validated", "leased"].contains(&&*mode);
    (is_mode && (is_of_l1 || name == mode)).then_some(mode)
}

fn batch(mut setting: Setting, errors: &mut Errors) -> Option<Entries> {
    const EXAMPLE: &str = "batch = Self::user";
    if matches!(setting.value, Value::Flag) {
        return Some(Entries::Own);
    }
    match setting.expr(EXAMPLE, errors)? {
        Expr::Path(path) => Some(Entries::Of(path)),
        Expr::Call(ExprCall { func, .. }) if matches!(&*func, Expr::Path(_)) => {
            let written = quote::quote!(#func).to_string().replace(' ', "");
            errors.on(func, format!("`batch` names the function whose entries it shares; write `batch = {written}`"));
            None
        }
        other => {
            errors.on(
                other,
                format!("`batch` names the function whose entries it shares; write `{EXAMPLE}`, or `batch` alone"),
            );
            None
        }
    }
}

fn written(value: &Expr) -> String {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => text.value(),
        other => quote::quote!(#other).to_string(),
    }
}

fn lifetime(name: &Ident, value: Option<Expr>, errors: &mut Errors) -> Option<Lifetime> {
    errors.keep(Lifetime::of(&name.to_string(), value?))
}

fn key_prefix(mut setting: Setting, errors: &mut Errors) -> Option<LitStr> {
    let literal = match setting.expr("key_prefix = \"contract_page\"", errors)? {
        Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) => literal,
        other => {
            errors.on(other, "`key_prefix` is a string literal; write `key_prefix = \"contract_page\"`");
            return None;
        }
    };
    let text = literal.value();
    let stranger = text.chars().find(|&c| !(c.is_ascii_alphanumeric() || "_.@/+=-".contains(c)));
    let complaint = match stranger {
        Some(':') => {
            "`key_prefix` cannot contain `:`, which separates the segments of a key; write `_`, `.` or `/`".to_owned()
        }
        Some(c) => format!(
            "`key_prefix` cannot contain {c:?}: it stands in the key as it is; use letters, digits and `_.@/+=-`"
        ),
        None if text.is_empty() => {
            "`key_prefix` is empty; leave it out to use the module path and the function's name".to_owned()
        }
        None if text.len() > 128 => {
            format!(
                "`key_prefix` has {} bytes, and a segment of a key has at most 128; write a shorter one",
                text.len()
            )
        }
        None => return Some(literal),
    };
    errors.on(literal, complaint);
    None
}

/// The value of a numeric literal, minus sign included.
fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Lit(ExprLit { lit: Lit::Float(float), .. }) => float.base10_parse().ok(),
        Expr::Lit(ExprLit { lit: Lit::Int(int), .. }) => int.base10_parse().ok(),
        Expr::Unary(unary) => number(&unary.expr).map(|number| -number),
        _ => None,
    }
}

/// A literal integer as a float literal, so that `jitter = 0` has the right type.
fn as_float(expr: Expr) -> Expr {
    match expr {
        Expr::Lit(ExprLit { lit: Lit::Int(int), .. }) => {
            let float = syn::LitFloat::new(&format!("{}.0", int.base10_digits()), int.span());
            syn::parse_quote!(#float)
        }
        other => other,
    }
}

fn share(mut setting: Setting, example: &str, meaning: &str, errors: &mut Errors) -> Option<Expr> {
    let name = setting.name.to_string();
    let value = setting.expr(example, errors)?;
    let fits = match (&value, number(&value)) {
        (_, Some(share)) => (0.0..=1.0).contains(&share),
        (Expr::Lit(_), None) => false,
        _ => true,
    };
    if !fits {
        errors.on(value, format!("`{name}` is {meaning}, from 0 to 1; write `{example}`"));
        return None;
    }
    Some(as_float(value))
}

fn beta(mut setting: Setting, errors: &mut Errors) -> Option<Expr> {
    const EXAMPLE: &str = "refresh_ahead = 1.5";
    if matches!(setting.value, Value::Flag) {
        return Some(syn::parse_quote!(1.0));
    }
    let value = setting.expr(EXAMPLE, errors)?;
    let fits = match (&value, number(&value)) {
        (_, Some(beta)) => beta > 0.0,
        (Expr::Lit(_), None) => false,
        _ => true,
    };
    if !fits {
        errors.on(
            value,
            format!("`refresh_ahead` is a number over 0, and 1 by itself; more refreshes earlier; write `refresh_ahead` or `{EXAMPLE}`"),
        );
        return None;
    }
    Some(as_float(value))
}

fn version(mut setting: Setting, errors: &mut Errors) -> Option<Expr> {
    let value = setting.expr("version = 2", errors)?;
    let fits = match &value {
        Expr::Lit(ExprLit { lit: Lit::Int(int), .. }) => int.base10_parse::<u32>().is_ok(),
        Expr::Lit(_) | Expr::Unary(_) => false,
        _ => true,
    };
    if !fits {
        errors.on(value, "`version` is a whole number from 0; write `version = 2`");
        return None;
    }
    Some(value)
}
