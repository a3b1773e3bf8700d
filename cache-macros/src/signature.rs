//! A cached function's signature, seen from the key: its arguments, and the generics that its companion needs.
//!
//! The companion names the types of the arguments in its return type, so it has to declare what occurs in them:
//! lifetimes (elided ones get a name), type and const parameters. A type parameter that is the whole type of an
//! argument and occurs nowhere else (`id: K`, `id: impl KeyPart`) needs no declaration: such an argument encodes its
//! kind with its value. Every other type parameter becomes part of the segment after the prefix, so that two types
//! never share an entry.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::{
    FnArg, GenericArgument, GenericParam, Ident, Lifetime, Pat, PathArguments, Signature, Type, WherePredicate,
    visit_mut::{self, VisitMut},
};

/// An argument of the user's function, other than `self`.
pub(crate) struct Argument {
    /// Its name in the emitted signature.
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    /// The user's pattern, if it is not a plain name: to be bound in the body.
    pub(crate) pattern: Option<Pat>,
}

/// Reads the arguments, and replaces patterns by names in the signature.
pub(crate) fn arguments(sig: &mut Signature) -> Vec<Argument> {
    let typed = sig.inputs.iter_mut().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    });
    typed
        .enumerate()
        .map(|(index, typed)| {
            let ty = (*typed.ty).clone();
            match &*typed.pat {
                Pat::Ident(plain) if plain.by_ref.is_none() && plain.subpat.is_none() => {
                    Argument { name: plain.ident.clone(), ty, pattern: None }
                }
                _ => {
                    let name = format_ident!("__argument_{index}", span = Span::mixed_site());
                    let pattern = std::mem::replace(&mut *typed.pat, syn::parse_quote!(#name));
                    Argument { name, ty, pattern: Some(pattern) }
                }
            }
        })
        .collect()
}

/// What the companion declares, and which types its segment names.
pub(crate) struct Companion {
    /// `<'a, T, const N: usize>`
    pub(crate) generics: TokenStream,
    pub(crate) conditions: TokenStream,
    /// `::<T, N>`, for the call in the body.
    pub(crate) turbofish: TokenStream,
    /// `&type_name::<T>(), &N`
    pub(crate) types: TokenStream,
    /// The function's type and const parameters that it does not declare.
    pub(crate) removed: Vec<Ident>,
}

/// The types of a key's parameters, and what follows for the companion.
pub(crate) struct Heads<'a> {
    sig: &'a Signature,
    private: &'a TokenStream,
    /// Inside `#[cached_impl]`: the trait, for `Self::Item`.
    of_trait: Option<&'a syn::Path>,
    elided: bool,
    dissolved: Vec<Ident>,
}

impl<'a> Heads<'a> {
    /// `kept` says which arguments are part of the key as they are.
    pub(crate) fn new(
        sig: &'a Signature,
        private: &'a TokenStream,
        of_trait: Option<&'a syn::Path>,
        arguments: &[Argument],
        kept: impl Fn(&Argument) -> bool,
    ) -> Self {
        let dissolved = sig
            .generics
            .type_params()
            .map(|parameter| &parameter.ident)
            .filter(|name| {
                arguments.iter().any(|argument| kept(argument) && is_bare(&argument.ty, name))
                    && arguments.iter().all(|argument| is_bare(&argument.ty, name) || !mentions(&argument.ty, name))
                    && !mentions(&sig.output, name)
                    && !mentioned_by_others(sig, name)
            })
            .cloned()
            .collect();
        Self { sig, private, of_trait, elided: false, dissolved }
    }

    /// The parameter that stands for an argument of type `ty`, and whether the caller chooses its type.
    pub(crate) fn of(&mut self, ty: &Type) -> (TokenStream, bool) {
        let private = self.private;
        let ty = referent(ty);
        if self.dissolved.iter().any(|name| is_bare(ty, name)) || mentions_word(&ty.to_token_stream(), "impl") {
            return (quote!(#private::Anything), true);
        }
        (self.stated(ty), false)
    }

    /// A type of the signature, as the companion states it.
    pub(crate) fn stated(&mut self, ty: &Type) -> TokenStream {
        let mut ty = ty.clone();
        self.visit_type_mut(&mut ty);
        ty.into_token_stream()
    }

    /// What the companion declares. `skipped` are parameters without a say in the segment.
    pub(crate) fn companion(&self, heads: &[TokenStream], skipped: &[Ident]) -> Companion {
        let mut generics = Vec::new();
        let mut turbofish = Vec::new();
        let mut types = Vec::new();
        let mut removed = self.dissolved.clone();
        if self.elided {
            let elided = elided(Span::call_site());
            generics.push(quote!(#elided));
        }
        for parameter in &self.sig.generics.params {
            let name = match parameter {
                GenericParam::Lifetime(_) => {
                    generics.push(parameter.to_token_stream());
                    continue;
                }
                GenericParam::Type(ty) => &ty.ident,
                GenericParam::Const(konst) => &konst.ident,
            };
            let skipped = skipped.contains(name);
            let needed = heads.iter().any(|head| mentions(head, name));
            if self.dissolved.contains(name) || (skipped && !needed) {
                removed.push(name.clone());
                continue;
            }
            generics.push(parameter.to_token_stream());
            turbofish.push(name.to_token_stream());
            match parameter {
                _ if skipped => {}
                GenericParam::Const(_) => types.push(quote!(&#name)),
                _ => types.push(quote!(&::core::any::type_name::<#name>())),
            }
        }
        let conditions = self.sig.generics.where_clause.iter().flat_map(|clause| &clause.predicates);
        let conditions: Vec<_> =
            conditions.filter(|condition| !removed.iter().any(|name| mentions(condition, name))).collect();
        Companion {
            generics: unless_empty(&generics, quote!(<#(#generics),*>)),
            conditions: unless_empty(&conditions, quote!(where #(#conditions),*)),
            turbofish: unless_empty(&turbofish, quote!(::<#(#turbofish),*>)),
            types: quote!(#(#types),*),
            removed,
        }
    }
}

/// Names what is elided, and spells out `Self::Item` for the inherent impl that the companion stands in.
impl VisitMut for Heads<'_> {
    fn visit_type_reference_mut(&mut self, reference: &mut syn::TypeReference) {
        if reference.lifetime.is_none() {
            self.elided = true;
            reference.lifetime = Some(elided(reference.and_token.span));
        }
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident == "_" {
            self.elided = true;
            *lifetime = elided(lifetime.span());
        }
    }

    fn visit_type_path_mut(&mut self, path: &mut syn::TypePath) {
        if let Some(of_trait) = self.of_trait
            && path.qself.is_none()
            && path.path.segments.len() > 1
            && path.path.segments[0].ident == "Self"
        {
            let rest = path.path.segments.iter().skip(1);
            *path = syn::parse_quote!(<Self as #of_trait>::#(#rest)::*);
        }
        visit_mut::visit_type_path_mut(self, path);
    }

    fn visit_type_fn_ptr_mut(&mut self, _: &mut syn::TypeFnPtr) {}

    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut syn::ParenthesizedGenericArguments) {}
}

fn unless_empty<T>(list: &[T], tokens: TokenStream) -> TokenStream {
    if list.is_empty() { TokenStream::new() } else { tokens }
}

fn elided(span: Span) -> Lifetime {
    Lifetime::new("'elided", span)
}

/// The same tokens where the lifetime that [`Heads`] gave a name is inferred: in the function's own body.
pub(crate) fn infer_elided(tokens: TokenStream) -> TokenStream {
    let mut after_quote = false;
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Ident(name) if after_quote && name == "elided" => {
                after_quote = false;
                TokenTree::Ident(Ident::new("_", name.span()))
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), infer_elided(group.stream()));
                inner.set_span(group.span());
                TokenTree::Group(inner)
            }
            token => {
                after_quote = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '\'');
                token
            }
        })
        .collect()
}

/// What a reference refers to: it encodes the same.
fn referent(ty: &Type) -> &Type {
    match ty {
        Type::Reference(reference) => referent(&reference.elem),
        Type::Paren(paren) => referent(&paren.elem),
        Type::Group(group) => referent(&group.elem),
        other => other,
    }
}

fn is_bare(ty: &Type, name: &Ident) -> bool {
    matches!(referent(ty), Type::Path(path) if path.qself.is_none() && path.path.is_ident(name))
}

fn mentioned_by_others(sig: &Signature, name: &Ident) -> bool {
    let by_parameter = sig.generics.params.iter().any(|parameter| match parameter {
        GenericParam::Type(ty) => mentions(&ty.bounds, name),
        _ => false,
    });
    let by_condition =
        sig.generics.where_clause.iter().flat_map(|clause| &clause.predicates).any(|condition| match condition {
            WherePredicate::Type(condition) => {
                mentions(&condition.bounds, name)
                    || (mentions(&condition.bounded_ty, name) && !is_bare(&condition.bounded_ty, name))
            }
            _ => false,
        });
    by_parameter || by_condition
}

fn mentions(tokens: &impl ToTokens, name: &Ident) -> bool {
    mentions_word(&tokens.to_token_stream(), &name.to_string())
}

/// Whether a word occurs in tokens, at any depth.
pub(crate) fn mentions_word(tokens: &TokenStream, word: &str) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Group(group) => mentions_word(&group.stream(), word),
        _ => false,
    })
}

/// The last segment of a type's path.
pub(crate) fn last_name(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    }
}

/// The type `R` of `Pin<Box<dyn Future<Output = R> + ...>>`.
pub(crate) fn is_boxed_future(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    let Some(last) = path.path.segments.last() else {
        return false;
    };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return false;
    };
    last.ident == "Pin"
        && arguments.args.iter().any(|argument| {
            matches!(argument, GenericArgument::Type(boxed) if last_name(boxed).is_some_and(|name| name == "Box"))
        })
}

/// The pattern without `mut` and `ref`, to be matched against a reference.
pub(crate) fn by_reference(pattern: &Pat) -> Pat {
    struct Plain;
    impl VisitMut for Plain {
        fn visit_pat_ident_mut(&mut self, plain: &mut syn::PatIdent) {
            plain.by_ref = None;
            plain.mutability = None;
            visit_mut::visit_pat_ident_mut(self, plain);
        }
    }
    let mut pattern = pattern.clone();
    Plain.visit_pat_mut(&mut pattern);
    pattern
}

/// The names that a pattern binds.
pub(crate) fn bindings(pattern: &Pat) -> Vec<Ident> {
    struct Bound(Vec<Ident>);
    impl<'ast> syn::visit::Visit<'ast> for Bound {
        fn visit_pat_ident(&mut self, plain: &'ast syn::PatIdent) {
            self.0.push(plain.ident.clone());
            syn::visit::visit_pat_ident(self, plain);
        }
    }
    let mut bound = Bound(Vec::new());
    syn::visit::Visit::visit_pat(&mut bound, pattern);
    bound.0
}
