//! The rules of `#[cached]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Expr, Ident, Path, ReturnType, spanned::Spanned as _};

use super::{
    CacheExpr, Site,
    batch::Batch,
    check_function, is_method,
    options::{L1, Options},
    share::Share,
    target::borrowed,
};
use crate::{
    args,
    errors::Errors,
    item::Function,
    nearest::{did_you_mean, list},
    signature::{self, Argument, Companion, Heads, mentions_word},
    template::Template,
};

/// A cached function, understood.
pub(crate) struct Cached {
    pub(crate) private: TokenStream,
    pub(crate) function: Function,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) output: syn::Type,
    pub(crate) cache: CacheExpr,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) companion: Companion,
    /// `Self::` where the companion can be called by it.
    pub(crate) through_self: bool,
    pub(crate) names_self: bool,
    pub(crate) key_prefix: Option<syn::LitStr>,
    pub(crate) ttl_text: String,
    pub(crate) tags: Vec<Template>,
    pub(crate) policy: Settings,
    /// `cache_if`.
    pub(crate) keep: Option<Expr>,
    /// Where `negative_ttl` is written.
    pub(crate) negative: Option<proc_macro2::Span>,
    /// Many calls at once.
    pub(crate) batch: Option<Batch>,
    /// What a batch must know to share the entries.
    pub(crate) share: Option<Share>,
    /// Whether expressions in the attribute may use the names that argument patterns bind.
    pub(crate) binds_patterns: bool,
}

/// How the entries live.
pub(crate) struct Settings {
    /// The call that makes the policy, without the path to its function. Empty without a TTL: it is another function's then.
    pub(crate) call: TokenStream,
    /// Whether it is made of literals.
    pub(crate) is_known: bool,
}

/// A part of the key.
pub(crate) struct Parameter {
    /// The argument that it is, as it is.
    pub(crate) argument: Option<Ident>,
    /// Its type, as the companion states it.
    pub(crate) head: TokenStream,
    /// What the function itself gives for it.
    pub(crate) value: TokenStream,
    /// Whether its type is the caller's choice.
    pub(crate) of_any_type: bool,
}

impl Cached {
    /// Understands an attribute, or says everything that is wrong with it.
    pub(crate) fn new(args: TokenStream, mut function: Function, site: Site<'_>, errors: &mut Errors) -> Option<Self> {
        check_function("cached", &function, errors);
        let output = output(&function, errors);
        let options = Options::parse(args, errors);
        let private = args::private(options.krate.as_ref());
        let mut arguments = signature::arguments(&mut function.sig);
        let batch = Batch::new(&options, &mut arguments, &mut function, errors);
        let choice = Choice::new(&options, &arguments, &function, errors);
        if !errors.is_empty() {
            return None;
        }
        let mut heads =
            Heads::new(&function.sig, &private, site.of_trait, &arguments, |argument| choice.keeps(argument));
        let mut parameters = choice.parameters(&arguments, &mut heads, &private);
        if let Some(batch) = &batch {
            let ids = &batch.ids;
            for id in parameters.iter_mut().filter(|parameter| parameter.argument.as_ref() == Some(ids)) {
                // One of them, and a reference already.
                id.value = quote!(#ids);
            }
        }
        let stated: Vec<_> = parameters.iter().map(|parameter| parameter.head.clone()).collect();
        let stated_output = output.as_ref().map(|output| heads.stated(output));
        let companion = heads.companion(&stated, &choice.skipped_types);
        let policy = Settings::new(&private, &options);
        let share = stated_output.filter(|_| batch.is_none());
        let share = share.and_then(|output| Share::new(&options, &policy, &parameters, output, &companion.removed));
        let tags = options.tags.unwrap_or_default();
        let binds_patterns = arguments.iter().any(|argument| argument.pattern.is_some())
            && (choice.key.is_some() || tags.iter().any(Template::has_placeholders));
        Some(Self {
            cache: CacheExpr::new(options.cache.as_ref(), &function.sig, &private),
            policy,
            keep: options.cache_if,
            negative: options.negative_ttl.map(|(name, _)| name.span()),
            through_self: site.in_impl || is_method(&function.sig),
            names_self: !choice.skips_self,
            output: output?,
            key_prefix: options.key_prefix,
            ttl_text: options.ttl_text,
            private,
            function,
            arguments,
            parameters,
            companion,
            tags,
            batch,
            share,
            binds_patterns,
        })
    }
}

/// The return type, if it can be cached.
fn output(function: &Function, errors: &mut Errors) -> Option<syn::Type> {
    match &function.sig.output {
        ReturnType::Default => {
            errors.on(&function.sig.ident, "`#[cached]` needs something to keep: this function returns nothing");
            None
        }
        ReturnType::Type(_, ty) if mentions_word(&quote!(#ty), "impl") => {
            errors.on(ty, "`#[cached]` needs a type that can be stored and read back; name it instead of `impl Trait`");
            None
        }
        ReturnType::Type(_, ty) => {
            if let Some(reference) = borrowed_value(ty) {
                errors.on(
                    reference,
                    "`#[cached]` keeps values, and a reference is not one; return an owned value, or an `Arc` of it",
                );
            }
            Some((**ty).clone())
        }
    }
}

/// A reference in the place of the value. In the place of the error it is none of the cache's business.
fn borrowed_value(ty: &syn::Type) -> Option<&syn::TypeReference> {
    match ty {
        syn::Type::Reference(reference) => Some(reference),
        syn::Type::Path(path) => {
            let last = path.path.segments.last()?;
            let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return None;
            };
            let wraps = ["Result", "Option", "Arc"].iter().any(|name| last.ident == name);
            match arguments.args.first()? {
                syn::GenericArgument::Type(value) if wraps => borrowed_value(value),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Which arguments make the key.
struct Choice {
    key: Option<Vec<Expr>>,
    skipped: Vec<Ident>,
    skipped_types: Vec<Ident>,
    skips_self: bool,
}

impl Choice {
    fn new(options: &Options, arguments: &[Argument], function: &Function, errors: &mut Errors) -> Self {
        let mut choice =
            Self { key: options.key.clone(), skipped: Vec::new(), skipped_types: Vec::new(), skips_self: false };
        let generics = &function.sig.generics;
        let types: Vec<&Ident> = generics
            .type_params()
            .map(|parameter| &parameter.ident)
            .chain(generics.const_params().map(|parameter| &parameter.ident))
            .collect();
        for expr in options.skip.iter().flatten() {
            let name = match expr {
                Expr::Path(path) if path.path.get_ident().is_some() => path.path.get_ident(),
                _ => None,
            };
            match name {
                Some(name) if name == "Self" => choice.skips_self = true,
                Some(name) if name == "self" => {
                    errors.on(expr, "`self` is never part of the key; remove it from `skip(...)`");
                }
                Some(name) if types.contains(&name) => choice.skipped_types.push(name.clone()),
                Some(name) if arguments.iter().any(|argument| argument.is_called(name)) => {
                    if options.key.is_some() {
                        errors.on(expr, "`key(...)` already says which arguments make the key; remove this `skip`");
                    }
                    choice.skipped.push(name.clone());
                }
                _ => errors.on(expr, no_such_argument(expr, arguments, &types)),
            }
        }
        choice
    }

    /// Whether an argument, as it is, is part of the key.
    fn keeps(&self, argument: &Argument) -> bool {
        match &self.key {
            Some(key) => key.iter().any(|expr| is_name(expr, &argument.name)),
            None => !self.skipped.iter().any(|name| argument.is_called(name)),
        }
    }

    fn parameters(&self, arguments: &[Argument], heads: &mut Heads<'_>, private: &TokenStream) -> Vec<Parameter> {
        let mut plain = |argument: &Argument, value| {
            let (head, of_any_type) = heads.of(&argument.ty);
            let name = argument.pattern.is_none().then(|| argument.name.clone());
            Parameter { argument: name, head, value, of_any_type }
        };
        let Some(key) = &self.key else {
            let kept = arguments.iter().filter(|argument| self.keeps(argument));
            return kept.map(|argument| plain(argument, argument.borrowed())).collect();
        };
        key.iter()
            .map(|expr| {
                let argument = arguments.iter().find(|argument| is_name(expr, &argument.name));
                argument.map_or_else(|| computed(expr, private), |argument| plain(argument, borrowed(expr)))
            })
            .collect()
    }
}

/// A parameter that the function computes from its arguments.
fn computed(expr: &Expr, private: &TokenStream) -> Parameter {
    Parameter { argument: None, head: quote!(#private::Computed), value: borrowed(expr), of_any_type: false }
}

impl Argument {
    /// Whether `name` means this argument: its own name, or one that its pattern binds and nothing else.
    fn is_called(&self, name: &Ident) -> bool {
        match &self.pattern {
            None => self.name == *name,
            Some(pattern) => signature::bindings(pattern) == [name.clone()],
        }
    }

    fn borrowed(&self) -> TokenStream {
        let name = &self.name;
        let span = self.ty.span().resolved_at(name.span());
        quote_spanned!(span=> &#name)
    }
}

fn is_name(expr: &Expr, name: &Ident) -> bool {
    matches!(expr, Expr::Path(path) if path.path.is_ident(name))
}

fn no_such_argument(expr: &Expr, arguments: &[Argument], types: &[&Ident]) -> String {
    let written = quote!(#expr).to_string();
    let names: Vec<String> = arguments
        .iter()
        .filter(|argument| argument.pattern.is_none())
        .map(|argument| argument.name.to_string())
        .chain(types.iter().map(ToString::to_string))
        .collect();
    if names.is_empty() {
        return format!("`{written}` is not an argument: this function has none to skip");
    }
    let names = names.iter().map(String::as_str);
    format!(
        "`{written}` is not an argument{}\nthe arguments are {}",
        did_you_mean(&written, names.clone()),
        list(names)
    )
}

impl Settings {
    fn new(private: &TokenStream, options: &Options) -> Self {
        let Some(ttl) = &options.ttl else { return Self { call: TokenStream::new(), is_known: false } };
        let mut call = if let Some(secs) = ttl.whole_seconds() {
            quote!(policy_of_secs(#secs))
        } else {
            let ttl = ttl.to_expr(private);
            quote!(policy(#ttl))
        };
        let mut is_known = ttl.is_known();
        let lifetimes = [
            ("negative_ttl", options.negative_ttl.as_ref().map(|(_, lifetime)| lifetime)),
            ("stale_if_error", options.stale_if_error.as_ref()),
        ];
        for (name, value) in lifetimes {
            let Some(value) = value else { continue };
            is_known &= value.is_known();
            call.extend(setting(name, &value.to_expr(private)));
        }
        if let Some(l1) = &options.l1 {
            let mode = match l1 {
                L1::Off => quote!(Off),
                L1::Validated => quote!(Validated),
                L1::Leased => quote!(Leased),
                L1::For(bound) => {
                    is_known &= bound.is_known();
                    let bound = bound.to_expr(private);
                    quote!(For(#bound))
                }
            };
            call.extend(setting("l1", &quote!(#private::L1::#mode)));
        }
        if options.pin.is_some() {
            call.extend(quote!(.pin()));
        }
        let numbers = [
            ("jitter", &options.jitter),
            ("refresh_ahead", &options.refresh_ahead),
            ("version", &options.version),
            ("verify", &options.verify),
        ];
        for (name, value) in numbers {
            let Some(value) = value else { continue };
            is_known &= matches!(value, Expr::Lit(_));
            call.extend(setting(name, &quote!(#value)));
        }
        Self { call, is_known }
    }
}

fn setting(name: &str, value: &TokenStream) -> TokenStream {
    let name = Ident::new(name, proc_macro2::Span::call_site());
    quote!(.#name(#value))
}

/// The path of `crate = path`, read on its own for a fallback.
pub(crate) fn krate(args: TokenStream) -> Option<Path> {
    Options::parse(args, &mut Errors::default()).krate
}
