//! Tag templates: `"owner:{owner_id}"`, in the syntax of `format!`, read at compile time.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Expr, LitStr, parse::Parser as _};

use crate::model::target::borrowed;

/// A template whose placeholders are expressions.
pub(crate) struct Template {
    literal: LitStr,
    /// Fixed text first, then each expression and the fixed text after it.
    text: String,
    rest: Vec<(Expr, String)>,
}

enum Piece {
    Text(String),
    Placeholder(String),
}

impl Template {
    /// Reads `literal`; `{}` takes the next of `positional`.
    pub(crate) fn parse(literal: LitStr, positional: &mut impl Iterator<Item = Expr>) -> syn::Result<Self> {
        let mut template = Self { text: String::new(), rest: Vec::new(), literal };
        let complain = |message: String| syn::Error::new(template.literal.span(), message);
        let source = template.literal.value();
        if source.is_empty() {
            return Err(complain("a tag needs a name, as in `\"owner:{owner_id}\"`".to_owned()));
        }
        for piece in pieces(&source).map_err(complain)? {
            match piece {
                Piece::Text(text) => {
                    template.rest.last_mut().map_or(&mut template.text, |(_, after)| after).push_str(&text);
                }
                Piece::Placeholder(inner) => {
                    if template.rest.last().is_some_and(|(_, between)| !between.contains(':')) {
                        return Err(complain(format!(
                            "`{{{inner}}}` must be set apart from the placeholder before it by a `:`, or different values \
                             could make one tag; write `\"{{a}}:{{b}}\"`"
                        )));
                    }
                    let expr = if inner.trim().is_empty() {
                        positional.next().ok_or_else(|| {
                            complain("`{}` has no argument: add it after the text, or write `{name}`".to_owned())
                        })?
                    } else {
                        place(&inner, &template.literal).map_err(complain)?
                    };
                    template.rest.push((expr, String::new()));
                }
            }
        }
        Ok(template)
    }

    /// Reads a list of templates, each followed by the arguments of its `{}`.
    pub(crate) fn parse_list(items: impl IntoIterator<Item = Expr>, errors: &mut crate::errors::Errors) -> Vec<Self> {
        let mut items = items.into_iter().peekable();
        let mut templates = Vec::new();
        while let Some(item) = items.next() {
            match item {
                Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(literal), .. }) => {
                    templates.extend(errors.keep(Self::parse(literal, &mut items)));
                }
                other => errors.on(other, "a tag is a string literal, as in `\"owner:{owner_id}\"`"),
            }
        }
        templates
    }

    /// How the template is written.
    pub(crate) fn source(&self) -> String {
        self.literal.value()
    }

    /// The expression that makes the tag.
    pub(crate) fn to_expr(&self, private: &TokenStream) -> TokenStream {
        let span = self.literal.span();
        let (text, arguments) = (&self.text, self.arguments());
        quote_spanned!(span=> #private::Tag::new(#text) #arguments)
    }

    /// The closure that writes the tag into the place that it is given as `tag`.
    pub(crate) fn to_writer(&self, tag: &Ident) -> TokenStream {
        let span = self.literal.span();
        let (text, arguments) = (&self.text, self.arguments());
        quote_spanned!(span=> |#tag| #tag.text(#text) #arguments)
    }

    fn arguments(&self) -> TokenStream {
        let span = self.literal.span();
        let each = self.rest.iter().map(|(expr, after)| {
            let after = (!after.is_empty()).then(|| quote_spanned!(span=> .text(#after)));
            let expr = borrowed(expr);
            quote_spanned!(span=> .arg(#expr) #after)
        });
        quote!(#(#each)*)
    }

    /// The fixed text it begins with, then each expression and the fixed text after it.
    pub(crate) fn pieces(&self) -> (&str, &[(Expr, String)]) {
        (&self.text, &self.rest)
    }

    /// Whether any placeholder mentions something.
    pub(crate) fn has_placeholders(&self) -> bool {
        !self.rest.is_empty()
    }
}

/// The expression in a placeholder: a variable, and fields of it.
fn place(inner: &str, literal: &LitStr) -> Result<Expr, String> {
    let refuse = || {
        format!("`{{{inner}}}` is not a variable or a field of one; for anything else, write `\"...{{}}\", expression`")
    };
    if let Some((name, _)) = inner.split_once(':') {
        return Err(format!("`{{{inner}}}` has a format after the `:`, which tags do not take; write `{{{name}}}`"));
    }
    let tokens: TokenStream = inner.parse().map_err(|_| refuse())?;
    let tokens = respan(tokens, literal);
    let expr = Expr::parse_without_eager_brace.parse2(tokens).map_err(|_| refuse())?;
    let mut current = &expr;
    loop {
        match current {
            Expr::Path(path) if path.qself.is_none() && path.path.get_ident().is_some() => {
                return Ok(expr);
            }
            Expr::Field(field) => current = &field.base,
            _ => return Err(refuse()),
        }
    }
}

fn respan(tokens: TokenStream, literal: &LitStr) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            token.set_span(literal.span());
            token
        })
        .collect()
}

fn pieces(source: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '{' if rest.next_if_eq(&'{').is_some() => text.push('{'),
            '}' if rest.next_if_eq(&'}').is_some() => text.push('}'),
            '{' => {
                let mut inner = String::new();
                loop {
                    match rest.next() {
                        Some('}') => break,
                        Some('{') | None => {
                            return Err("`{` without its `}`; a literal brace is `{{`".to_owned());
                        }
                        Some(c) => inner.push(c),
                    }
                }
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(Piece::Placeholder(inner));
            }
            '}' => return Err("`}` without its `{`; a literal brace is `}}`".to_owned()),
            c => text.push(c),
        }
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}
