//! `#[cached]`: the function with its new body, and its companion.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Ident;

use super::batch;
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
    match &cached.batch {
        None => (cached.function.with_body(body(cached)), companion(cached, &site_of_function(cached))),
        Some(batch) => batch::function(cached, batch),
    }
}

fn body(cached: &Cached) -> TokenStream {
    let Cached { private, output, .. } = cached;
    let [key, cache, load, call] = ["key", "cache", "load", "call"].map(local);
    let (settings, policy) = policy(cached);
    let cache_expr = cached.cache.borrowed(private);
    let patterns = cached.arguments.iter().filter_map(|argument| {
        let name = &argument.name;
        argument.pattern.as_ref().map(|pattern| quote!(let #pattern = #name;))
    });
    let statements = cached.function.statements();
    let span = output_span(output);
    let negative = cached.negative.map(|span| quote_spanned!(span=> .negative()));
    // All of this has the span of the return type: one complaint about it is reported once, and there.
    let here = |tokens: TokenStream| located_at(&tokens, span);
    let (shape, this, known_key) = (here(private.clone()), here(quote!(#call)), here(quote!(&#key)));
    let run = if let Some(keep) = &cached.keep {
        quote_spanned!(span=> #this.run_if(#known_key, #keep, #load).await)
    } else {
        quote_spanned!(span=> #this.run(#known_key, #load).await)
    };
    let begin = quote_spanned!(span=> #shape::shape!(#output) #negative .with(#cache, #policy));
    let address = address(cached);
    let hit = with_patterns(cached, quote_spanned!(span=> #this.hit(&#address)));
    let found = quote_spanned!(span=> #shape::return_ok!(#hit));
    quote! {
        let #cache: &#private::Cache = #cache_expr;
        #settings
        let mut #call = #begin;
        let #key = #found;
        let #load = async move {
            #private::returns!(#output);
            #(#patterns)*
            #statements
        };
        #run
    }
}

/// The policy, as a reference, and the statement before it that makes it. One of literals is a constant of the program: calls refer
/// to it and write nothing.
fn policy(cached: &Cached) -> (Option<TokenStream>, TokenStream) {
    let policy = policy_expr(cached);
    if cached.policy.is_known {
        return (None, quote!(&const { #policy }));
    }
    let name = local("policy");
    (Some(quote!(let #name = #policy;)), quote!(&#name))
}

/// The expression of type `Policy`.
pub(super) fn policy_expr(cached: &Cached) -> TokenStream {
    let (private, call) = (&cached.private, &cached.policy.call);
    quote!(#private::#call)
}

/// Where the return type is written. Its first token: on stable, the span of several is that of the attribute.
pub(super) fn output_span(output: &syn::Type) -> Span {
    quote!(#output).into_iter().next().map_or_else(Span::call_site, |token| token.span())
}

/// The same tokens, reported elsewhere.
pub(super) fn located_at(tokens: &TokenStream, span: Span) -> TokenStream {
    let relocate = |mut token: proc_macro2::TokenTree| {
        token.set_span(span.resolved_at(token.span()));
        token
    };
    tokens.clone().into_iter().map(relocate).collect()
}

/// The address of this call: the function with the arguments that make the key.
pub(super) fn address(cached: &Cached) -> TokenStream {
    let address = if cached.through_self {
        let name = companion_name(&cached.function.sig.ident);
        let turbofish = &cached.companion.turbofish;
        quote!(Self::#name #turbofish ())
    } else {
        let site = site(cached, "address");
        let ty = infer_elided(function_type(cached));
        quote!(<#ty>::from(#site))
    };
    let arguments = cached.parameters.iter().map(|parameter| {
        let value = &parameter.value;
        let span = value.clone().into_iter().next().map_or_else(Span::call_site, |token| token.span());
        let own = Ident::new(if parameter.of_any_type { "own_of_any_type" } else { "own" }, span);
        quote_spanned!(span=> .#own(#value))
    });
    let tags = cached.tags.iter().map(|tag| {
        let write = tag.to_writer(&local("tag"));
        quote!(.tag(#write))
    });
    if cached.share.is_some() && cached.through_self && !cached.tags.is_empty() {
        // The companion knows how the tags are made.
        return quote!(#address #(#arguments)* .own_tags());
    }
    quote!(#address #(#arguments)* #(#tags)*)
}

/// An expression that may use the names that argument patterns bind.
pub(super) fn with_patterns(cached: &Cached, expr: TokenStream) -> TokenStream {
    if !cached.binds_patterns {
        return expr;
    }
    let patterns = cached.arguments.iter().filter_map(|argument| {
        let name = &argument.name;
        let pattern = by_reference(argument.pattern.as_ref()?);
        Some(quote!(#[allow(unused_variables)] let #pattern = &#name;))
    });
    quote!({ #(#patterns)* #expr })
}

fn site(cached: &Cached, verb: &str) -> TokenStream {
    let Cached { private, ttl_text, .. } = cached;
    let verb = Ident::new(verb, Span::call_site());
    let prefix = cached.key_prefix.as_ref().map_or_else(|| quote!(_), |prefix| quote!(#prefix));
    let tags = cached.tags.iter().map(Template::source);
    let owner = cached.names_self.then(|| quote!(Self));
    let types = &cached.companion.types;
    let terms = cached.share.as_ref().filter(|_| verb == "share").map(|share| {
        let (policy, tags) = (&cached.policy.call, &share.tags);
        quote!((#policy; [#(#tags),*]),)
    });
    quote!(#private::site!(#verb #prefix, #ttl_text, [#(#tags),*], #terms #owner #types))
}

/// The site of the function, in its companion.
pub(super) fn site_of_function(cached: &Cached) -> TokenStream {
    site(cached, if cached.share.is_some() { "share" } else { "register" })
}

/// The address of the function, as its type.
fn function_type(cached: &Cached) -> TokenStream {
    let private = &cached.private;
    let heads = cached.parameters.iter().map(|parameter| &parameter.head);
    quote!(#private::Function![#(#heads),*])
}

/// The companion, which answers `address`.
pub(super) fn companion(cached: &Cached, address: &TokenStream) -> TokenStream {
    let private = &cached.private;
    let vis = &cached.function.vis;
    let name = companion_name(&cached.function.sig.ident);
    let (generics, conditions) = (&cached.companion.generics, &cached.companion.conditions);
    let heads = cached.parameters.iter().map(|parameter| &parameter.head);
    let output = cached.share.as_ref().map(|share| &share.output).map(|output| quote!(=> #output));
    quote! {
        #[doc(hidden)]
        #[allow(dead_code, private_interfaces, clippy::all, clippy::pedantic)]
        #vis fn #name #generics () -> #private::Function![#(#heads),* #output] #conditions {
            #address
        }
    }
}
