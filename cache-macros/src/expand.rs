//! The code that the attributes write.

mod batch;
mod cached;
mod invalidates;

use proc_macro2::TokenStream;
use quote::quote;

use crate::{
    args::{self, Arg},
    errors::Errors,
    fallback,
    item::{self, Block, Function, Member, is},
    model::{self, Site, cached::Cached, invalidates::Invalidates, target::Target},
};

const TWICE: &str = "`#[cached]` is given twice; remove one of them";

/// `#[cached(args)] item`
pub(crate) fn cached(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut function = match parse_function("cached", item) {
        Ok(function) => function,
        Err(fallback) => return fallback,
    };
    if let Some(second) = function.take_attributes("cached").first() {
        let mut errors = Errors::default();
        errors.on(second, TWICE);
        return fallback::plain(&quote!(#function), errors);
    }
    // An invalidation belongs to the body: it is written into it first.
    let invalidates = function.take_attributes("invalidates");
    if !invalidates.is_empty() {
        let krate = model::cached::krate(args.clone()).map_or_else(|| quote!(::staleproof), |path| quote!(#path));
        function.attrs.splice(0..0, invalidates);
        function.attrs.push(syn::parse_quote!(#[#krate::cached(#args)]));
        return quote!(#function);
    }
    let (function, companion) = match cached_parts(args, function, Site::ALONE) {
        Ok(parts) => parts,
        Err(fallback) => return fallback,
    };
    quote!(#function #companion)
}

/// `#[invalidates(args)] item`
pub(crate) fn invalidates(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut function = match parse_function("invalidates", item) {
        Ok(function) => function,
        Err(fallback) => return fallback,
    };
    let mut all = vec![Ok(args)];
    all.extend(function.take_attributes("invalidates").iter().map(item::arguments));
    invalidating(all, &function).unwrap_or_else(|fallback| fallback)
}

/// `#[cached_impl] item`
pub(crate) fn cached_impl(args: TokenStream, item: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    if !args.is_empty() {
        errors.on(args, "`#[cached_impl]` takes no options; they belong to `#[cached(...)]` on the methods");
    }
    let block = match syn::parse2::<Block>(item.clone()) {
        Ok(block) => block,
        Err(error) => {
            if looks_like_impl(item) {
                errors.push(error);
            } else {
                errors.push(syn::Error::new(
                    proc_macro2::Span::call_site(),
                    "`#[cached_impl]` belongs on `impl Trait for Type { ... }`",
                ));
            }
            return fallback::plain(item, errors);
        }
    };
    if let syn::Type::Path(path) = &block.self_ty
        && block.generics.type_params().any(|parameter| path.path.is_ident(&parameter.ident))
    {
        errors.on(
            &block.self_ty,
            "`#[cached_impl]` needs a type of this crate: an impl for every type has no place for keys",
        );
    }
    if !errors.is_empty() {
        return fallback::plain(item, errors);
    }
    impl_block(block)
}

fn impl_block(mut block: Block) -> TokenStream {
    let mut members = TokenStream::new();
    let mut companions = TokenStream::new();
    let mut imports = Vec::new();
    for member in std::mem::take(&mut block.members) {
        let function = match member {
            Member::Other(item) => {
                members.extend(quote!(#item));
                continue;
            }
            Member::Function(function) => *function,
        };
        let ours = function.attrs.iter().filter(|attribute| is(attribute, "cached") || is(attribute, "invalidates"));
        imports.extend(ours.map(|attribute| attribute.path().clone()));
        let (function, companion) = method(function, &block);
        members.extend(function);
        companions.extend(companion);
    }
    let emitted = block.with_members(members);
    let (parameters, _, conditions) = block.generics.split_for_impl();
    let self_ty = &block.self_ty;
    // The attributes are gone from the output; their imports are still in use.
    quote! {
        #emitted
        const _: () = { #(#[allow(unused_imports)] use #imports as _;)* };
        impl #parameters #self_ty #conditions { #companions }
    }
}

/// A method of a `#[cached_impl]` block, with its attributes expanded at once: `#[async_trait]` rewrites it afterwards.
fn method(mut function: Function, block: &Block) -> (TokenStream, TokenStream) {
    let cached = function.take_attributes("cached");
    let invalidates = function.take_attributes("invalidates");
    if !invalidates.is_empty() {
        let all = invalidates.iter().map(item::arguments).collect();
        match invalidating(all, &function).map(syn::parse2) {
            Ok(Ok(rewritten)) => function = rewritten,
            Ok(Err(error)) => return (TokenStream::new(), error.into_compile_error()),
            Err(fallback) => return split_fallback(fallback),
        }
    }
    let Some(attribute) = cached.first() else {
        return (quote!(#function), TokenStream::new());
    };
    let mut errors = Errors::default();
    if let Some(second) = cached.get(1) {
        errors.on(second, TWICE);
        return (quote!(#function), errors.into_compile_error());
    }
    let args = match item::arguments(attribute) {
        Ok(args) => args,
        Err(error) => return (quote!(#function), error.into_compile_error()),
    };
    let site = Site { of_trait: block.of_trait.as_ref(), in_impl: true };
    cached_parts(args, function, site).unwrap_or_else(split_fallback)
}

/// A fallback's item stays in the trait impl; what it says beside it does not belong there.
fn split_fallback(fallback: TokenStream) -> (TokenStream, TokenStream) {
    let parse = |input: syn::parse::ParseStream<'_>| -> syn::Result<(Function, TokenStream)> {
        Ok((input.parse()?, input.parse()?))
    };
    match syn::parse::Parser::parse2(parse, fallback) {
        Ok((function, beside)) => (quote!(#function), beside),
        Err(error) => (TokenStream::new(), error.into_compile_error()),
    }
}

/// `keys![targets]`
pub(crate) fn keys(tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut targets = Vec::new();
    let mut krate = None;
    for arg in args::targets(tokens, &mut errors) {
        match arg {
            Arg::Setting(mut setting) if setting.name == "crate" => {
                let path = setting.path(&mut errors);
                args::set_once(&mut krate, &setting.name, path, &mut errors);
            }
            Arg::Setting(setting) => errors.on(setting.name, "`keys!` takes targets only"),
            Arg::Target(syn::Expr::Closure(closure)) => {
                errors.on(closure.inputs, "`keys!` has no `Ok` value to take: write the target without `|...|`");
            }
            Arg::Target(expr) => targets.extend(Target::new(expr, &mut errors)),
        }
    }
    let private = args::private(krate.as_ref());
    let targets = targets.iter().map(|target| target.to_expr(&private));
    let errors = (!errors.is_empty()).then(|| errors.into_compile_error());
    quote!({ #errors ::std::vec::Vec::<#private::Target>::from([#(#targets),*]) })
}

fn cached_parts(
    args: TokenStream,
    function: Function,
    site: Site<'_>,
) -> Result<(TokenStream, TokenStream), TokenStream> {
    let mut errors = Errors::default();
    let untouched = quote!(#function);
    let krate = model::cached::krate(args.clone());
    match Cached::new(args, function, site, &mut errors) {
        Some(cached) if errors.is_empty() => Ok(cached::function(&cached)),
        _ => {
            let private = args::private(krate.as_ref());
            Err(match syn::parse2::<Function>(untouched.clone()) {
                Ok(function) if matches!(function.body, item::Body::Block(_)) => {
                    fallback::cached(&function, &private, errors)
                }
                _ => fallback::plain(&untouched, errors),
            })
        }
    }
}

fn invalidating(all: Vec<syn::Result<TokenStream>>, function: &Function) -> Result<TokenStream, TokenStream> {
    let mut errors = Errors::default();
    model::check_function("invalidates", function, &mut errors);
    let mut attributes = Vec::new();
    for args in all {
        if let Some(args) = errors.keep(args) {
            attributes.push(Invalidates::new(args, &function.sig, &mut errors));
        }
    }
    if errors.is_empty() {
        Ok(invalidates::function(&attributes, function))
    } else {
        Err(fallback::plain(&quote!(#function), errors))
    }
}

/// Reads a function, or says what else this is.
fn parse_function(attribute: &str, item: &TokenStream) -> Result<Function, TokenStream> {
    syn::parse2::<Function>(item.clone()).map_err(|error| {
        let mut errors = Errors::default();
        if looks_like_impl(item) {
            let message = if attribute == "cached" {
                "`#[cached]` belongs on a method; on the impl block of a trait, write `#[cached_impl]`".to_owned()
            } else {
                format!("`#[{attribute}]` belongs on a method, not on the impl block")
            };
            errors.push(syn::Error::new(proc_macro2::Span::call_site(), message));
        } else if looks_like_function(item) {
            errors.push(error);
        } else {
            let message = format!("`#[{attribute}]` belongs on an `async fn`");
            errors.push(syn::Error::new(proc_macro2::Span::call_site(), message));
        }
        fallback::plain(item, errors)
    })
}

fn looks_like_impl(item: &TokenStream) -> bool {
    top_level_word(item, &["impl", "fn", "struct", "enum", "trait", "mod"]) == Some("impl")
}

fn looks_like_function(item: &TokenStream) -> bool {
    top_level_word(item, &["fn", "struct", "enum", "trait", "mod", "impl"]) == Some("fn")
}

fn top_level_word<'a>(item: &TokenStream, words: &[&'a str]) -> Option<&'a str> {
    item.clone().into_iter().find_map(|token| match token {
        proc_macro2::TokenTree::Ident(ident) => words.iter().find(|word| ident == **word).copied(),
        _ => None,
    })
}
