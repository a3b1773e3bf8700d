//! `#[invalidates]`: the function with its invalidations after the body.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};

use super::cached::local;
use crate::{
    item::Function,
    model::invalidates::{After, Invalidates},
    signature::mentions_word,
};

/// The function with what all its attributes ask for.
///
/// They go into one body: were each wrapped around the next, a future dropped in the inner invalidation would lose the
/// outer one.
pub(super) fn function(attributes: &[Invalidates], function: &Function) -> TokenStream {
    let Some(first) = attributes.first() else {
        return quote!(#function);
    };
    let private = &first.private;
    let (invalidations, body, result) = (local("invalidations"), local("body"), local("result"));
    let prepared = attributes.iter().map(|attribute| {
        let cache = attribute.cache.reference();
        let targets = attribute.before.iter().map(|target| target.to_expr(private));
        quote!(#private::Invalidation::new(#cache, [#(#targets),*]))
    });
    let decisions =
        attributes.iter().enumerate().filter(|(_, attribute)| !attribute.always).map(|(index, attribute)| {
            let index = syn::Index::from(index);
            let (pattern, targets) = match &attribute.after {
                None => (quote!(_), Vec::new()),
                Some(After { pattern, targets }) => {
                    (quote!(#pattern), targets.iter().map(|target| target.to_expr(private)).collect())
                }
            };
            quote!(#invalidations[#index].settle(#private::ok!(#result).map(|#pattern| [#(#targets),*]));)
        });
    let guards = attributes.iter().enumerate().filter_map(|(index, attribute)| {
        let guard = attribute.guard.as_ref()?;
        let index = syn::Index::from(index);
        let step = guard.hold.as_ref().map_or_else(
            || quote!(#invalidations[#index].reach()),
            |(lasts, linger)| {
                let linger = linger.as_ref().map_or_else(
                    || quote!(::core::option::Option::None),
                    |linger| quote!(::core::option::Option::Some(#linger)),
                );
                quote!(#invalidations[#index].hold(#lasts, #linger).await)
            },
        );
        let Some(span) = guard.refuse else { return Some(quote!(let _ = #step;)) };
        let private = respanned(private, span);
        let unavailable = local("unavailable");
        let refuse = quote_spanned!(span=> #private::refuse(#unavailable));
        Some(quote!(if let ::core::result::Result::Err(#unavailable) = #step { return #refuse; }))
    });
    let changes = |attribute: &Invalidates| !attribute.always || attribute.guard.is_some();
    let mutability = attributes.iter().any(changes).then(|| quote!(mut));
    let statements = function.statements();
    let typed = match &function.sig.output {
        syn::ReturnType::Type(_, ty) if !mentions_word(&quote!(#ty), "impl") => Some(quote!(#private::returns!(#ty);)),
        _ => None,
    };
    let aims = attributes.iter().flat_map(|attribute| {
        let after = attribute.after.iter().flat_map(|after| &after.targets);
        attribute.before.iter().chain(after).map(crate::model::target::Target::to_aim)
    });
    function.with_body(quote! {
        #private::invalidator!(#(#aims)*);
        let #mutability #invalidations = [#(#prepared),*];
        #(#guards)*
        let #body = async move { #typed #statements };
        let #result = #body.await;
        #(#decisions)*
        #private::run_all(#invalidations).await;
        #result
    })
}

/// The tokens as if they stood at `span`, where an error about them is to be shown.
fn respanned(tokens: &TokenStream, span: Span) -> TokenStream {
    let at_span = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    tokens.clone().into_iter().map(at_span).collect()
}
