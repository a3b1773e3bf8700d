//! The syntax inside an attribute: settings (`name`, `name = value`, `name(list)`) and targets.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{
    Expr, Ident, Path, Token,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
    punctuated::Punctuated,
};

use crate::{
    errors::Errors,
    nearest::{did_you_mean, list},
};

/// One setting.
pub(crate) struct Setting {
    pub(crate) name: Ident,
    pub(crate) value: Value,
}

/// What a setting is set to.
pub(crate) enum Value {
    Flag,
    Expr(Expr),
    List(Vec<Expr>),
    /// The value could not be read, and that has been said.
    Broken,
}

/// What may stand in an attribute.
pub(crate) enum Arg {
    Setting(Setting),
    Target(Expr),
}

/// Reads settings.
pub(crate) fn settings(tokens: TokenStream, errors: &mut Errors) -> Vec<Setting> {
    let parse = |input: ParseStream<'_>| -> syn::Result<Vec<Setting>> { Ok(items(input, errors, setting)) };
    parse.parse2(tokens).unwrap_or_default()
}

/// Reads targets, and settings among them.
pub(crate) fn targets(tokens: TokenStream, errors: &mut Errors) -> Vec<Arg> {
    let parse = |input: ParseStream<'_>| -> syn::Result<Vec<Arg>> {
        Ok(items(input, errors, |input, errors| {
            if input.peek(Ident::peek_any) && input.peek2(Token![=]) && !input.peek2(Token![==]) {
                setting(input, errors).map(Arg::Setting)
            } else {
                input.parse().map(|target| Arg::Target(ungrouped(target)))
            }
        }))
    };
    parse.parse2(tokens).unwrap_or_default()
}

/// Items between commas; after an error, goes on behind the next comma.
fn items<T>(
    input: ParseStream<'_>,
    errors: &mut Errors,
    mut parse: impl FnMut(ParseStream<'_>, &mut Errors) -> syn::Result<T>,
) -> Vec<T> {
    let mut items = Vec::new();
    while !input.is_empty() {
        match parse(input, errors) {
            Ok(item) => {
                items.push(item);
                if !input.is_empty() && !input.peek(Token![,]) {
                    errors.push(input.error("expected `,`"));
                }
            }
            Err(error) => errors.push(error),
        }
        while !input.is_empty() && !input.peek(Token![,]) {
            let _ = input.parse::<TokenTree>();
        }
        let _ = input.parse::<Option<Token![,]>>();
    }
    items
}

fn setting(input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Setting> {
    let name = input
        .call(Ident::parse_any)
        .map_err(|error| syn::Error::new(error.span(), "expected an option, such as `ttl = \"15m\"`"))?;
    if input.peek(Token![:]) {
        return Err(input.error(format!("an option is set by `=`; write `{name} = ...`")));
    }
    let value = if input.parse::<Option<Token![=]>>()?.is_some() {
        if input.is_empty() || input.peek(Token![,]) {
            errors.push(syn::Error::new(name.span(), format!("`{name} =` has no value")));
            Value::Broken
        } else {
            errors.keep(input.parse()).map_or(Value::Broken, |expr| Value::Expr(ungrouped(expr)))
        }
    } else if let Some((Delimiter::Parenthesis, content)) = parenthesized(input)? {
        let list = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(content);
        errors.keep(list).map_or(Value::Broken, |list| Value::List(list.into_iter().map(ungrouped).collect()))
    } else {
        Value::Flag
    };
    Ok(Setting { name, value })
}

/// What a `macro_rules!` passed as `$prefix:literal` or `$ttl:expr` comes in a group that nobody wrote.
fn ungrouped(expr: Expr) -> Expr {
    match expr {
        Expr::Group(group) => ungrouped(*group.expr),
        expr => expr,
    }
}

fn parenthesized(input: ParseStream<'_>) -> syn::Result<Option<(Delimiter, TokenStream)>> {
    if !input.peek(syn::token::Paren) {
        return Ok(None);
    }
    let TokenTree::Group(group) = input.parse()? else {
        return Ok(None);
    };
    Ok(Some((group.delimiter(), group.stream())))
}

/// Puts a value where none was; complains about the second of one name.
pub(crate) fn set_once<T>(slot: &mut Option<T>, name: &Ident, value: Option<T>, errors: &mut Errors) {
    let Some(value) = value else { return };
    if slot.is_some() {
        errors.push(syn::Error::new(name.span(), format!("`{name}` is given twice; remove one of them")));
    } else {
        *slot = Some(value);
    }
}

/// Says that there is no such setting.
pub(crate) fn unknown(name: &Ident, attribute: &str, known: &[&str], errors: &mut Errors) {
    let hint = did_you_mean(&name.unraw().to_string(), known.iter().copied());
    let known = list(known.iter().copied());
    let message = format!("`#[{attribute}]` has no option `{name}`{hint}\nthe options are {known}");
    errors.push(syn::Error::new(name.span(), message));
}

impl Setting {
    /// The value of `name = value`.
    pub(crate) fn expr(&mut self, example: &str, errors: &mut Errors) -> Option<Expr> {
        match std::mem::replace(&mut self.value, Value::Broken) {
            Value::Expr(expr) => Some(expr),
            Value::Broken => None,
            Value::Flag | Value::List(_) => {
                errors.push(syn::Error::new(
                    self.name.span(),
                    format!("`{}` takes a value; write `{example}`", self.name),
                ));
                None
            }
        }
    }

    /// A name by itself.
    pub(crate) fn flag(&mut self, errors: &mut Errors) -> Option<()> {
        match &self.value {
            Value::Flag => Some(()),
            Value::Broken => None,
            Value::Expr(_) | Value::List(_) => {
                let name = &self.name;
                errors.push(syn::Error::new(name.span(), format!("`{name}` takes no value; write `{name}`")));
                None
            }
        }
    }

    /// The items of `name(items)`.
    pub(crate) fn list(&mut self, example: &str, errors: &mut Errors) -> Option<Vec<Expr>> {
        match std::mem::replace(&mut self.value, Value::Broken) {
            Value::List(list) if !list.is_empty() => Some(list),
            Value::Broken => None,
            _ => {
                errors.push(syn::Error::new(
                    self.name.span(),
                    format!("`{}` takes a list; write `{example}`", self.name),
                ));
                None
            }
        }
    }

    /// The path of `crate = path`.
    pub(crate) fn path(&mut self, errors: &mut Errors) -> Option<Path> {
        match self.expr("crate = ::staleproof", errors)? {
            Expr::Path(path) if path.qself.is_none() => Some(path.path),
            other => {
                errors.on(other, "`crate` is the path of the staleproof crate; write `crate = ::staleproof`");
                None
            }
        }
    }
}

/// The path of the hidden runtime in the crate that `crate = path` names.
pub(crate) fn private(krate: Option<&Path>) -> TokenStream {
    if let Some(path) = krate { quote::quote!(#path::__private) } else { quote::quote!(::staleproof::__private) }
}
