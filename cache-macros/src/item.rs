//! What an attribute stands on: a function whose body is left unparsed, or an impl block of such functions.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, TokenStreamExt as _, quote};
use syn::{
    Attribute, Generics, ImplItem, Path, Signature, Token, Type, Visibility,
    parse::{Parse, ParseStream, Parser as _},
    spanned::Spanned as _,
};

/// A function.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    defaultness: Option<Token![default]>,
    pub(crate) sig: Signature,
    pub(crate) body: Body,
}

/// What follows a signature.
pub(crate) enum Body {
    Block(Group),
    /// A declaration in a trait.
    Semicolon(Token![;]),
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let defaultness = if input.peek(Token![default]) && !input.peek2(Token![!]) { input.parse()? } else { None };
        let sig = input.parse()?;
        let body = if input.peek(Token![;]) {
            Body::Semicolon(input.parse()?)
        } else {
            match input.parse()? {
                TokenTree::Group(group) if group.delimiter() == proc_macro2::Delimiter::Brace => {
                    Body::Block(inner_to_outer(group, &mut attrs))
                }
                other => {
                    return Err(syn::Error::new(other.span(), "expected the function's body"));
                }
            }
        };
        Ok(Self { attrs, vis, defaultness, sig, body })
    }
}

/// Moves `#![...]` at the beginning of a body to the function: the body moves to a place where they are not allowed.
fn inner_to_outer(body: Group, attrs: &mut Vec<Attribute>) -> Group {
    let split = |input: ParseStream<'_>| -> syn::Result<(Vec<Attribute>, TokenStream)> {
        Ok((input.call(Attribute::parse_inner)?, input.parse()?))
    };
    let Ok((inner, statements)) = split.parse2(body.stream()) else {
        return body;
    };
    if inner.is_empty() {
        return body;
    }
    attrs.extend(inner.into_iter().map(|attribute| Attribute { style: syn::AttrStyle::Outer, ..attribute }));
    let mut moved = Group::new(body.delimiter(), statements);
    moved.set_span(body.span());
    moved
}

impl Function {
    /// The tokens of the body, without its braces.
    pub(crate) fn statements(&self) -> TokenStream {
        match &self.body {
            Body::Block(group) => group.stream(),
            Body::Semicolon(_) => TokenStream::new(),
        }
    }

    /// The braces of the body, for a new one in its place.
    pub(crate) fn body_span(&self) -> Span {
        match &self.body {
            Body::Block(group) => group.span(),
            Body::Semicolon(semicolon) => semicolon.span(),
        }
    }

    /// The function with another body.
    pub(crate) fn with_body(&self, statements: TokenStream) -> TokenStream {
        let Self { attrs, vis, defaultness, sig, .. } = self;
        let mut body = Group::new(proc_macro2::Delimiter::Brace, statements);
        body.set_span(self.body_span());
        quote!(#(#attrs)* #vis #defaultness #sig #body)
    }

    /// Takes the attributes of one name away.
    pub(crate) fn take_attributes(&mut self, name: &str) -> Vec<Attribute> {
        let (taken, left) = std::mem::take(&mut self.attrs).into_iter().partition(|attribute| is(attribute, name));
        self.attrs = left;
        taken
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { attrs, vis, defaultness, sig, body } = self;
        tokens.append_all(quote!(#(#attrs)* #vis #defaultness #sig));
        match body {
            Body::Block(group) => group.to_tokens(tokens),
            Body::Semicolon(semicolon) => semicolon.to_tokens(tokens),
        }
    }
}

/// Whether an attribute's path ends in `name`.
pub(crate) fn is(attribute: &Attribute, name: &str) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == name)
}

/// The arguments of an attribute: what is between its parentheses.
pub(crate) fn arguments(attribute: &Attribute) -> syn::Result<TokenStream> {
    match &attribute.meta {
        syn::Meta::Path(_) => Ok(TokenStream::new()),
        syn::Meta::List(list) => Ok(list.tokens.clone()),
        syn::Meta::NameValue(_) => Err(syn::Error::new_spanned(attribute, "expected `(...)`")),
    }
}

/// An impl block.
pub(crate) struct Block {
    pub(crate) attrs: Vec<Attribute>,
    unsafety: Option<Token![unsafe]>,
    impl_token: Token![impl],
    pub(crate) generics: Generics,
    pub(crate) of_trait: Option<Path>,
    for_token: Option<Token![for]>,
    pub(crate) self_ty: Type,
    brace: Span,
    pub(crate) members: Vec<Member>,
}

/// What is in an impl block.
pub(crate) enum Member {
    Function(Box<Function>),
    Other(Box<ImplItem>),
}

impl Parse for Block {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let unsafety = input.parse()?;
        let impl_token = input.parse()?;
        let mut generics: Generics = input.parse()?;
        let first: Type = input.parse()?;
        let for_token: Option<Token![for]> = input.parse()?;
        let (of_trait, self_ty) = match (&for_token, first) {
            (Some(_), Type::Path(path)) if path.qself.is_none() => (Some(path.path), input.parse()?),
            (Some(_), other) => return Err(syn::Error::new_spanned(other, "expected a trait")),
            (None, first) => (None, first),
        };
        generics.where_clause = input.parse()?;
        let content;
        let brace = syn::braced!(content in input);
        let mut members = Vec::new();
        while !content.is_empty() {
            let ahead = content.fork();
            if ahead.parse::<Function>().is_ok() {
                members.push(Member::Function(Box::new(content.parse()?)));
            } else {
                members.push(Member::Other(Box::new(content.parse()?)));
            }
        }
        Ok(Self {
            attrs,
            unsafety,
            impl_token,
            generics,
            of_trait,
            for_token,
            self_ty,
            brace: brace.span.join(),
            members,
        })
    }
}

impl Block {
    /// The block with other members.
    pub(crate) fn with_members(&self, members: TokenStream) -> TokenStream {
        let Self { attrs, unsafety, impl_token, generics, of_trait, for_token, self_ty, .. } = self;
        let (parameters, _, conditions) = generics.split_for_impl();
        let mut body = Group::new(proc_macro2::Delimiter::Brace, members);
        body.set_span(self.brace);
        quote!(#(#attrs)* #unsafety #impl_token #parameters #of_trait #for_token #self_ty #conditions #body)
    }
}
