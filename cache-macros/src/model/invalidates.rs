//! The rules of `#[invalidates]`.

use proc_macro2::{Span, TokenStream};
use syn::{Expr, ExprLit, Ident, Lit, Pat, Path, Signature, spanned::Spanned as _};

use super::{
    CacheExpr,
    target::{EXAMPLES, Target},
};
use crate::{
    args::{self, Arg, Setting, set_once},
    duration::Span as Lifetime,
    errors::Errors,
};

const NAMES: &[&str] = &["cache", "on", "hold", "linger", "unreachable", "crate"];

/// One `#[invalidates(...)]`, understood.
pub(crate) struct Invalidates {
    pub(crate) private: TokenStream,
    pub(crate) cache: CacheExpr,
    /// Whether also after an `Err`.
    pub(crate) always: bool,
    pub(crate) before: Vec<Target>,
    pub(crate) after: Option<After>,
    pub(crate) guard: Option<Guard>,
}

/// What happens before the body.
pub(crate) struct Guard {
    /// How long a quarantine lasts if the process dies, and how much longer than the body otherwise.
    pub(crate) hold: Option<(TokenStream, Option<TokenStream>)>,
    /// Where it is written that the body does not run without the store.
    pub(crate) refuse: Option<Span>,
}

/// Targets that are computed from the `Ok` value.
pub(crate) struct After {
    pub(crate) pattern: Pat,
    pub(crate) targets: Vec<Target>,
}

#[derive(Default)]
struct Options {
    krate: Option<Path>,
    cache: Option<Expr>,
    on: Option<bool>,
    hold: Option<(Ident, Lifetime)>,
    linger: Option<(Ident, Lifetime)>,
    unreachable: Option<Unreachable>,
}

/// What `unreachable` says.
#[derive(Clone, Copy)]
enum Unreachable {
    Journal,
    Refuse(Span),
}

impl Invalidates {
    /// Understands an attribute, or says everything that is wrong with it.
    pub(crate) fn new(tokens: TokenStream, sig: &Signature, errors: &mut Errors) -> Self {
        let mut options = Options::default();
        let mut before = Vec::new();
        let mut after: Option<After> = None;
        let mut empty = true;
        let was_fine = errors.is_empty();
        for arg in args::targets(tokens, errors) {
            match arg {
                Arg::Setting(setting) => options.set(setting, errors),
                Arg::Target(Expr::Closure(closure)) => {
                    empty = false;
                    read_closure(closure, &mut after, errors);
                }
                Arg::Target(expr) => {
                    empty = false;
                    let target = Target::new(expr, errors);
                    after.as_mut().map_or(&mut before, |after| &mut after.targets).extend(target);
                }
            }
        }
        if empty && was_fine && errors.is_empty() {
            let message = format!("`#[invalidates]` has no target; write {EXAMPLES}");
            errors.push(syn::Error::new(Span::call_site(), message));
        }
        let private = args::private(options.krate.as_ref());
        let always = options.on.unwrap_or(false);
        if let (true, Some(after)) = (always, &after) {
            errors.on(
                &after.pattern,
                "with `on = \"always\"` there may be no `Ok` value; move these targets to an attribute of their own",
            );
        }
        let guard = options.guard(&before, &private, errors);
        Self { cache: CacheExpr::new(options.cache.as_ref(), sig, &private), private, always, before, after, guard }
    }
}

fn read_closure(closure: syn::ExprClosure, after: &mut Option<After>, errors: &mut Errors) {
    if after.is_some() {
        errors.on(&closure.inputs, "one `|ok|` is enough: all targets after it may use the `Ok` value");
        return;
    }
    if closure.inputs.len() != 1 {
        let message = "the closure takes the `Ok` value and nothing else; write `|ok| Self::page(ok.owner_id, ..)`";
        errors.push(syn::Error::new(closure.inputs_begin.spans[0], message));
        return;
    }
    let Some(pattern) = closure.inputs.into_iter().next() else {
        return;
    };
    let targets = Target::new(*closure.body, errors).into_iter().collect();
    *after = Some(After { pattern, targets });
}

impl Options {
    fn guard(&self, before: &[Target], private: &TokenStream, errors: &mut Errors) -> Option<Guard> {
        if let (Some((name, _)), None) = (&self.linger, &self.hold) {
            errors.on(name, "`linger` keeps up a hold after the body; write `hold = \"10s\"` as well");
        }
        if let Some((name, _)) = &self.hold {
            if before.is_empty() {
                errors.on(name, "`hold` needs targets that are known before the body; those after `|ok|` are not");
            }
            for target in before {
                if let Target::Glob(glob) = target {
                    errors.on(glob, "a glob cannot be held; name a node, `Self::method(..)`, or a tag");
                }
            }
        }
        let lasts = |(_, lifetime): &(Ident, Lifetime)| lifetime.to_expr(private);
        let hold = self.hold.as_ref().map(|hold| (lasts(hold), self.linger.as_ref().map(lasts)));
        let refuse = match self.unreachable {
            Some(Unreachable::Refuse(span)) => Some(span),
            Some(Unreachable::Journal) | None => None,
        };
        (hold.is_some() || refuse.is_some()).then_some(Guard { hold, refuse })
    }

    fn set(&mut self, mut setting: Setting, errors: &mut Errors) {
        let name = setting.name.clone();
        match name.to_string().as_str() {
            "crate" => {
                let path = setting.path(errors);
                set_once(&mut self.krate, &name, path, errors);
            }
            "cache" => set_once(&mut self.cache, &name, setting.expr("cache = self.cache", errors), errors),
            "on" => set_once(&mut self.on, &name, on(setting, errors), errors),
            "hold" => set_once(&mut self.hold, &name, lifetime(setting, "hold = \"10s\"", errors), errors),
            "linger" => set_once(&mut self.linger, &name, lifetime(setting, "linger = \"2s\"", errors), errors),
            "unreachable" => set_once(&mut self.unreachable, &name, unreachable(setting, errors), errors),
            _ => args::unknown(&name, "invalidates", NAMES, errors),
        }
    }
}

fn lifetime(mut setting: Setting, example: &str, errors: &mut Errors) -> Option<(Ident, Lifetime)> {
    let value = setting.expr(example, errors)?;
    let lifetime = errors.keep(Lifetime::of(&setting.name.to_string(), value))?;
    Some((setting.name, lifetime))
}

fn unreachable(mut setting: Setting, errors: &mut Errors) -> Option<Unreachable> {
    let value = setting.expr("unreachable = \"refuse\"", errors)?;
    let text = match &value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => text.value(),
        _ => String::new(),
    };
    match text.as_str() {
        "journal" => Some(Unreachable::Journal),
        "refuse" => Some(Unreachable::Refuse(value.span())),
        _ => {
            let message = "`unreachable` is `\"journal\"` (the default: write, and invalidate when the store is back) or \
                           `\"refuse\"` (do not write without the store)";
            errors.on(value, message);
            None
        }
    }
}

fn on(mut setting: Setting, errors: &mut Errors) -> Option<bool> {
    const EXAMPLE: &str = "on = \"always\"";
    let value = setting.expr(EXAMPLE, errors)?;
    let known = match &value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => match text.value().as_str() {
            "ok" => Some(false),
            "always" => Some(true),
            _ => None,
        },
        _ => None,
    };
    if known.is_none() {
        errors.on(value, "`on` is `\"ok\"` (the default: after an `Ok`) or `\"always\"` (after an `Err`, too)");
    }
    known
}
