//! `#[cached(batch)]`: the method with its new body, and its companion.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{ExprPath, Ident, spanned::Spanned as _};

use super::cached::{address, companion, local, located_at, output_span, policy_expr, site_of_function, with_patterns};
use crate::model::{batch::Batch, cached::Cached};

/// The method, and the companion that belongs beside it.
pub(super) fn function(cached: &Cached, batch: &Batch) -> (TokenStream, TokenStream) {
    let address = match &batch.shared {
        None => site_of_function(cached),
        Some(shared) => quote_spanned!(shared.span()=> #shared().alias()),
    };
    (cached.function.with_body(body(cached, batch)), companion(cached, &address))
}

fn body(cached: &Cached, batch: &Batch) -> TokenStream {
    let Cached { private, output, .. } = cached;
    let (keys, cache, settings) = (local("keys"), local("cache"), local("policy"));
    let ids = &batch.ids;
    let cache_expr = cached.cache.borrowed(private);
    let entries = local("entries");
    let (shared, key, policy) = match &batch.shared {
        None => (None, key(cached), policy_expr(cached)),
        Some(shared) => {
            let private = located_at(private, shared.span());
            let of = quote_spanned!(shared.span()=> #private::entries_of(#shared()));
            (Some(quote!(let #entries = #of;)), shared_key(cached, shared, &entries), quote!(#entries.policy()))
        }
    };
    let span = output_span(output);
    let sharing = batch.shared.as_ref().map(|shared| {
        let private = located_at(private, shared.span());
        quote_spanned!(shared.span()=> .sharing(#private::shape_of!(#entries)))
    });
    let (load, body) = (local("load"), load(cached, batch));
    let run = if let Some(keep) = &cached.keep {
        quote_spanned!(span=> .run_if(#cache, #keys, #ids, &#settings, #keep, #load))
    } else {
        quote_spanned!(span=> .run(#cache, #keys, #ids, &#settings, #load))
    };
    let of_output = located_at(private, span);
    let call = quote_spanned!(span=> #of_output::batch!(#output) #sharing #run.await);
    quote! {
        #shared
        let #keys = #private::keys(#ids, |#ids| #key);
        let #cache: &#private::Cache = #cache_expr;
        let #settings = #policy;
        let #load = #private::load(#ids, move |#ids| #body);
        #call
    }
}

/// The key of one id.
fn key(cached: &Cached) -> TokenStream {
    let address = address(cached);
    with_patterns(cached, quote!(#address.key()))
}

/// The key of one id among the entries of another function.
fn shared_key(cached: &Cached, shared: &ExprPath, entries: &Ident) -> TokenStream {
    let arguments = cached.parameters.iter().map(|parameter| {
        let value = &parameter.value;
        let span = value.clone().into_iter().next().map_or_else(Span::call_site, |token| token.span());
        quote_spanned!(span=> .arg(#value))
    });
    let end = quote_spanned!(shared.span()=> .key());
    with_patterns(cached, quote!(#entries.at() #(#arguments)* #end))
}

/// The body for some of the ids: it may run more than once, each time with arguments of its own.
fn load(cached: &Cached, batch: &Batch) -> TokenStream {
    let Cached { private, output, .. } = cached;
    let ids = &batch.ids;
    let mutability = |name: &Ident| batch.changed.contains(name).then(|| quote!(mut));
    let others: Vec<_> = cached.arguments.iter().filter(|argument| argument.name != *ids).collect();
    let patterns = cached.arguments.iter().filter_map(|argument| {
        let name = &argument.name;
        argument.pattern.as_ref().map(|pattern| quote!(let #pattern = #name;))
    });
    let (ids_mutability, statements) = (mutability(ids), cached.function.statements());
    let body = quote! {
        async move {
            #private::returns!(#output);
            let #ids_mutability #ids = &*#ids;
            #(#patterns)*
            #statements
        }
    };
    if others.is_empty() {
        return body;
    }
    let others = others.into_iter().map(|argument| {
        // A complaint about the argument's type belongs where that is written.
        let name = argument.name.clone();
        let span = argument.ty.span().resolved_at(name.span());
        let mutability = mutability(&name).map(|mutability| quote!(#mutability));
        (name, span, mutability)
    });
    let others = others.map(|(name, span, mutability)| {
        let copied = Ident::new(&name.to_string(), span);
        let copied = quote_spanned!(span=> &#copied);
        quote!(#mutability #name = #copied)
    });
    quote!({ #private::again!(#(#others),*); #body })
}
