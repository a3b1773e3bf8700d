//! The rules of `#[invalidates]`.

use proc_macro2::TokenStream;
use syn::{Expr, ExprLit, Lit, Pat, Path, Signature};

use super::{
    CacheExpr,
    target::{EXAMPLES, Target},
};
use crate::{
    args::{self, Arg, Setting, set_once},
    errors::Errors,
};

const NAMES: &[&str] = &["cache", "on", "crate"];

/// One `#[invalidates(...)]`, understood.
pub(crate) struct Invalidates {
    pub(crate) private: TokenStream,
    pub(crate) cache: CacheExpr,
    /// Whether also after an `Err`.
    pub(crate) always: bool,
    pub(crate) before: Vec<Target>,
    pub(crate) after: Option<After>,
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
            errors.push(syn::Error::new(proc_macro2::Span::call_site(), message));
        }
        let private = args::private(options.krate.as_ref());
        let always = options.on.unwrap_or(false);
        if let (true, Some(after)) = (always, &after) {
            errors.on(
                &after.pattern,
                "with `on = \"always\"` there may be no `Ok` value; move these targets to an attribute of their own",
            );
        }
        Self { cache: CacheExpr::new(options.cache.as_ref(), sig, &private), private, always, before, after }
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
    let Some(pattern) = closure.inputs.into_iter().next() else { return };
    let targets = Target::new(*closure.body, errors).into_iter().collect();
    *after = Some(After { pattern, targets });
}

impl Options {
    fn set(&mut self, mut setting: Setting, errors: &mut Errors) {
        let name = setting.name.clone();
        match name.to_string().as_str() {
            "crate" => {
                let path = setting.path(errors);
                set_once(&mut self.krate, &name, path, errors);
            }
            "cache" => set_once(&mut self.cache, &name, setting.expr("cache = self.cache", errors), errors),
            "on" => set_once(&mut self.on, &name, on(setting, errors), errors),
            _ => args::unknown(&name, "invalidates", NAMES, errors),
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
