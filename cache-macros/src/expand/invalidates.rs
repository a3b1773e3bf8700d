//! `#[invalidates]`: the function with its invalidations after the body.

use proc_macro2::TokenStream;
use quote::quote;

use super::cached::local;
use crate::{
    item::Function,
    model::{invalidates::Invalidates, target::Target},
    signature::mentions_word,
};

/// The function with what all its attributes ask for.
///
/// They go into one body: were each wrapped around the next, a future dropped in the inner invalidation would lose the
/// outer one.
pub(super) fn function(attributes: &[Invalidates], function: Function) -> TokenStream {
    let Some(first) = attributes.first() else { return quote!(#function) };
    let private = &first.private;
    let (invalidations, body, result) = (local("invalidations"), local("body"), local("result"));
    let prepared = attributes.iter().map(|attribute| {
        let cache = attribute.cache.owned(private);
        let targets = list(&attribute.before, private);
        quote!(#private::Invalidation { cache: #cache, targets: #targets })
    });
    let decisions = attributes.iter().enumerate().map(|(index, attribute)| decision(index, attribute, private));
    let statements = function.statements();
    let typed = match &function.sig.output {
        syn::ReturnType::Type(_, ty) if !mentions_word(&quote!(#ty), "impl") => Some(quote!(#private::returns!(#ty);)),
        _ => None,
    };
    function.with_body(quote! {
        let mut #invalidations = ::std::vec::Vec::from([#(#prepared),*]);
        let #body = async move { #typed #statements };
        let #result = #body.await;
        #(#decisions)*
        #private::run_all(#invalidations).await;
        #result
    })
}

/// Completes or withdraws one attribute's targets, by the body's result.
fn decision(index: usize, attribute: &Invalidates, private: &TokenStream) -> Option<TokenStream> {
    if attribute.always {
        return None;
    }
    let (invalidations, result) = (local("invalidations"), local("result"));
    let index = syn::Index::from(index);
    let withdraw = quote!(#invalidations[#index].targets.clear());
    Some(match &attribute.after {
        None => quote!(if #private::ok!(#result).is_none() { #withdraw; }),
        Some(after) => {
            let pattern = &after.pattern;
            let targets = list(&after.targets, private);
            let ok = local("ok");
            quote! {
                match #private::ok!(#result) {
                    ::core::option::Option::Some(#ok) => {
                        let #pattern = #ok;
                        #invalidations[#index].targets.extend(#targets);
                    }
                    ::core::option::Option::None => #withdraw,
                }
            }
        }
    })
}

fn list(targets: &[Target], private: &TokenStream) -> TokenStream {
    let targets = targets.iter().map(|target| target.to_expr(private));
    quote!(::std::vec::Vec::<#private::Target>::from([#(#targets),*]))
}
