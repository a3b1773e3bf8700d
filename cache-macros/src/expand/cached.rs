//! `#[cached]`: the function with its new body, and its companion.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Ident, spanned::Spanned as _};

use crate::{
    model::{cached::Cached, target::companion_name},
    signature::{by_reference, infer_elided},
    template::Template,
};

/// A name that user code neither sees nor hides.
pub(super) fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// The function, and the companion that belongs beside it.
pub(super) fn function(cached: &Cached) -> (TokenStream, TokenStream) {
    (cached.function.with_body(body(cached)), companion(cached))
}

fn body(cached: &Cached) -> TokenStream {
    let Cached { private, output, policy, keep, .. } = cached;
    let (key, cache, load) = (local("key"), local("cache"), local("load"));
    let key_of_call = key_expr(cached);
    let cache_expr = cached.cache.borrowed(private);
    let patterns = cached.arguments.iter().filter_map(|argument| {
        let name = &argument.name;
        argument.pattern.as_ref().map(|pattern| quote!(let #pattern = #name;))
    });
    let statements = cached.function.statements();
    let negative = cached.negative.map(|span| quote_spanned!(span=> .negative()));
    let span = output.span();
    let run = quote_spanned!(span=> .run(#cache, #key, &#policy, #keep, #load));
    quote! {
        let #key = #key_of_call;
        let #cache: &#private::Cache = #cache_expr;
        let #load = async move {
            #private::returns!(#output);
            #(#patterns)*
            #statements
        };
        #private::shape!(#output) #negative #run.await
    }
}

/// The key of this call.
fn key_expr(cached: &Cached) -> TokenStream {
    let private = &cached.private;
    let address = if cached.through_self {
        let name = companion_name(&cached.function.sig.ident);
        let turbofish = &cached.companion.turbofish;
        quote!(Self::#name #turbofish ())
    } else {
        let site = site(cached, "address");
        let parameters = infer_elided(parameter_list(cached));
        quote!(#private::Function::<#parameters>::from(#site))
    };
    let arguments = cached.parameters.iter().map(|parameter| {
        let value = &parameter.value;
        let span = value.clone().into_iter().next().map_or_else(Span::call_site, |token| token.span());
        quote_spanned!(span=> .arg(#value))
    });
    let tags = cached.tags.iter().map(|tag| {
        let tag = tag.to_expr(private);
        quote!(.tag(#tag))
    });
    let key = quote!(#address #(#arguments)* .key() #(#tags)*);
    if !cached.binds_patterns {
        return key;
    }
    let patterns = cached.arguments.iter().filter_map(|argument| {
        let name = &argument.name;
        let pattern = by_reference(argument.pattern.as_ref()?);
        Some(quote!(#[allow(unused_variables)] let #pattern = &#name;))
    });
    quote!({ #(#patterns)* #key })
}

/// The parameters of the key as a type.
fn parameter_list(cached: &Cached) -> TokenStream {
    let private = &cached.private;
    cached.parameters.iter().rev().fold(quote!(#private::Nothing), |rest, parameter| {
        let head = &parameter.head;
        quote!(#private::Needs<#head, #rest>)
    })
}

fn site(cached: &Cached, verb: &str) -> TokenStream {
    let Cached { private, ttl_text, .. } = cached;
    let verb = Ident::new(verb, Span::call_site());
    let prefix = match &cached.key_prefix {
        Some(prefix) => quote!(::core::option::Option::Some(#prefix)),
        None => quote!(::core::option::Option::None),
    };
    let tags = cached.tags.iter().map(Template::source);
    let owner = cached.names_self.then(|| quote!(Self));
    let types = &cached.companion.types;
    quote!(#private::site!(#verb #prefix, #ttl_text, [#(#tags),*], #owner #types))
}

fn companion(cached: &Cached) -> TokenStream {
    let private = &cached.private;
    let vis = &cached.function.vis;
    let name = companion_name(&cached.function.sig.ident);
    let (generics, conditions) = (&cached.companion.generics, &cached.companion.conditions);
    let parameters = parameter_list(cached);
    let site = site(cached, "register");
    quote! {
        #[doc(hidden)]
        #[allow(dead_code, missing_docs, private_interfaces, clippy::all, clippy::pedantic)]
        #vis fn #name #generics () -> #private::Function<#parameters> #conditions {
            #site
        }
    }
}
