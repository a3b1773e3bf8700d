//! What the attributes mean: every rule is here, and each complaint says what to write instead.

pub(crate) mod batch;
pub(crate) mod cached;
pub(crate) mod invalidates;
mod options;
pub(crate) mod share;
pub(crate) mod target;

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Expr, FnArg, Ident, Signature};

use crate::{
    errors::Errors,
    item::{Body, Function},
    signature::is_boxed_future,
};

/// Where an attribute stands.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    /// The impl block's trait, when `#[cached_impl]` expands a method of it.
    pub(crate) of_trait: Option<&'a syn::Path>,
    /// Whether `Self` is known to exist.
    pub(crate) in_impl: bool,
}

impl Site<'_> {
    /// An attribute that sees its function only.
    pub(crate) const ALONE: Self = Self { of_trait: None, in_impl: false };
}

/// Whether an attribute can do anything with this function.
pub(crate) fn check_function(attribute: &str, function: &Function, errors: &mut Errors) {
    let sig = &function.sig;
    if let Body::Semicolon(_) = &function.body {
        let example = format!(
            "`#[{attribute}]` belongs to a function with a body: put it on the method in `impl Trait for Type`, and \
             `#[cached_impl]` on that impl block"
        );
        errors.on(&sig.ident, example);
        return;
    }
    if let Some(constness) = &sig.constness {
        errors.on(
            constness,
            format!("`#[{attribute}]` works on `async fn`, and a `const fn` cannot be one; remove `const`"),
        );
    } else if sig.asyncness.is_none() {
        let boxed = matches!(&sig.output, syn::ReturnType::Type(_, ty) if is_boxed_future(ty));
        if boxed {
            errors.on(
                &sig.ident,
                format!(
                    "`#[{attribute}]` came after `#[async_trait]` had rewritten this method; \
                     put `#[cached_impl]` on the impl block, above `#[async_trait]`"
                ),
            );
        } else {
            errors
                .on(sig.fn_token, format!("`#[{attribute}]` works on async functions; write `async fn {}`", sig.ident));
        }
    }
}

/// Which cache a function uses.
pub(crate) struct CacheExpr {
    expr: TokenStream,
    /// It borrows from `&self`, which the body may copy, or from nothing.
    borrows: bool,
}

impl CacheExpr {
    /// `given`, or `self.cache` in methods and the global cache in functions.
    pub(crate) fn new(given: Option<&Expr>, sig: &Signature, private: &TokenStream) -> Self {
        let receiver = sig.receiver();
        let by_shared_reference =
            receiver.is_some_and(|receiver| matches!(&receiver.kind, syn::ReceiverKind::Reference(_, _, None)));
        let Some(given) = given else {
            return match receiver {
                Some(receiver) => {
                    let this = receiver.self_token;
                    let field = Ident::new("cache", Span::call_site());
                    Self { expr: quote!(#this.#field), borrows: by_shared_reference }
                }
                None => Self { expr: quote!(#private::Cache::global()), borrows: true },
            };
        };
        Self { expr: quote!(#given), borrows: by_shared_reference && is_field_of_self(given) }
    }

    /// An expression of type `&Cache` that outlives what the body does to the arguments.
    pub(crate) fn borrowed(&self, private: &TokenStream) -> TokenStream {
        let expr = &self.expr;
        let span = first_span(expr);
        if self.borrows {
            quote_spanned!(span=> &#expr)
        } else {
            quote_spanned!(span=> &#private::Cache::clone(&#expr))
        }
    }

    /// An expression of type `&Cache` for a moment.
    pub(crate) fn reference(&self) -> TokenStream {
        let expr = &self.expr;
        let span = first_span(expr);
        quote_spanned!(span=> &#expr)
    }
}

fn first_span(tokens: &TokenStream) -> Span {
    tokens.clone().into_iter().next().map_or_else(Span::call_site, |token| token.span().resolved_at(Span::call_site()))
}

fn is_field_of_self(expr: &Expr) -> bool {
    match expr {
        Expr::Field(field) => is_field_of_self(&field.base),
        Expr::Path(path) => path.path.is_ident("self"),
        Expr::Reference(reference) => is_field_of_self(&reference.expr),
        Expr::Paren(paren) => is_field_of_self(&paren.expr),
        _ => false,
    }
}

/// Whether a signature has a receiver.
pub(crate) fn is_method(sig: &Signature) -> bool {
    sig.inputs.iter().any(|input| matches!(input, FnArg::Receiver(_)))
}
