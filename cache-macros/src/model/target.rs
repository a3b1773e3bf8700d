//! The rules of invalidation targets.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Expr, ExprCall, ExprLit, ExprPath, Lit, LitStr, RangeLimits, ext::IdentExt as _, spanned::Spanned as _};

use crate::{errors::Errors, template::Template};

/// What a target looks like, for messages.
pub(crate) const EXAMPLES: &str = "`Self::page(owner_id, 1)` for one entry, `Self::page(owner_id, ..)` for all that begin so, \
                                   `tag(\"owner:{owner_id}\")` or a glob `\"contract_*\"`";

/// One target.
pub(crate) enum Target {
    Call { companion: ExprPath, arguments: Vec<Expr>, rest: Option<Span>, span: Span, written: Written },
    Tag(Template),
    Glob(LitStr),
}

/// A target as it stands in the source, for the map.
pub(crate) struct Written {
    /// The path, without types.
    path: String,
    text: String,
}

impl Target {
    /// What the program's list says of it.
    pub(crate) fn to_aim(&self) -> TokenStream {
        match self {
            Self::Glob(glob) => quote!(Glob #glob;),
            Self::Tag(template) => {
                let source = template.source();
                quote!(Tag #source;)
            }
            Self::Call { rest, written: Written { path, text }, .. } => {
                let kind = if rest.is_some() { quote!(Node) } else { quote!(Entry) };
                quote!(#kind #path #text;)
            }
        }
    }

    /// Understands `expr`, or says what is wrong with it.
    pub(crate) fn new(expr: Expr, errors: &mut Errors) -> Option<Self> {
        match expr {
            Expr::Lit(ExprLit { lit: Lit::Str(glob), .. }) => Self::glob(glob, errors),
            Expr::Call(call) => match &*call.func {
                Expr::Path(path) if path.path.is_ident("tag") => Self::tag(call, errors),
                Expr::Path(path) if path.path.is_ident("tags") && is_text(call.args.first()) => {
                    errors.on(path, "a target is one tag; write `tag(\"owner:{owner_id}\")`, once for each");
                    None
                }
                Expr::Path(_) => Self::call(call, errors),
                other => {
                    errors.on(other, format!("a target names a cached function by its path; write {EXAMPLES}"));
                    None
                }
            },
            Expr::MethodCall(call) => {
                let method = &call.method;
                let message =
                    format!("a target names the cached function, it does not call it; write `Self::{method}(...)`");
                errors.push(syn::Error::new(call.receiver.span(), message));
                None
            }
            Expr::Path(path) => {
                let written = quote!(#path).to_string().replace(' ', "");
                let message = format!("a target says which entries: write `{written}(..)` for all of this function");
                errors.on(path, message);
                None
            }
            other => {
                errors.on(other, format!("not a target; write {EXAMPLES}"));
                None
            }
        }
    }

    fn glob(glob: LitStr, errors: &mut Errors) -> Option<Self> {
        if glob.value().is_empty() {
            errors.on(glob, "an empty glob matches nothing; write `\"contract_*\"`");
            return None;
        }
        if let Some(stranger) = outside_of_keys(&glob.value()) {
            let message = if stranger == '{' {
                "a glob is taken as it is written, so `{` never matches; for a tag, write `tag(\"owner:{owner_id}\")`; \
                 for a function's entries, `Self::page(owner_id, ..)`"
                    .to_owned()
            } else {
                format!("this glob matches nothing: no encoded key contains {stranger:?}, where it is written `%XX`")
            };
            errors.on(glob, message);
            return None;
        }
        Some(Self::Glob(glob))
    }

    fn tag(call: ExprCall, errors: &mut Errors) -> Option<Self> {
        let span = call.span();
        let mut arguments = call.args.into_iter();
        let Some(Expr::Lit(ExprLit { lit: Lit::Str(literal), .. })) = arguments.next() else {
            errors.push(syn::Error::new(span, "`tag` takes a string literal; write `tag(\"owner:{owner_id}\")`"));
            return None;
        };
        let template = errors.keep(Template::parse(literal, &mut arguments));
        for extra in arguments {
            errors.on(extra, "no `{}` in the tag takes this");
        }
        template.map(Self::Tag)
    }

    fn call(call: ExprCall, errors: &mut Errors) -> Option<Self> {
        let span = call.func.span();
        let text = as_written(&quote!(#call));
        let Expr::Path(path) = *call.func else {
            return None;
        };
        let written = Written { path: plain_path(&path), text };
        let path = companion_path(path)?;
        let mut arguments = Vec::new();
        let mut rest = None;
        let last = call.args.len().saturating_sub(1);
        for (index, argument) in call.args.into_iter().enumerate() {
            match argument {
                Expr::Range(range)
                    if range.start.is_none()
                        && range.end.is_none()
                        && matches!(range.limits, RangeLimits::HalfOpen(_)) =>
                {
                    if index == last {
                        rest = Some(range.span());
                    } else {
                        let message = "`..` stands for all further arguments, so it comes last; \
                                       keys are paths, and only a leading part of one can be invalidated";
                        errors.on(range, message);
                    }
                }
                Expr::Range(range) => {
                    let message = "a range is no argument of a key; write `..` after a comma for all further arguments";
                    errors.on(range, message);
                }
                argument => arguments.push(argument),
            }
        }
        Some(Self::Call { companion: path, arguments, rest, span, written })
    }

    /// The expression of type `Target`. Each part has the span of what the user wrote for it.
    pub(crate) fn to_expr(&self, private: &TokenStream) -> TokenStream {
        match self {
            Self::Glob(glob) => {
                quote_spanned!(glob.span()=> #private::Target::Glob(::std::string::String::from(#glob)))
            }
            Self::Tag(template) => {
                let tag = template.to_expr(private);
                quote!(#private::Target::Tag(#tag))
            }
            Self::Call { companion, arguments, rest, span, .. } => {
                let arguments = arguments.iter().map(|argument| {
                    let span = argument.span();
                    let value = if is_place(argument) { borrowed(argument) } else { quote!(#argument) };
                    quote_spanned!(span=> .arg(#value))
                });
                let end = if let Some(rest) = rest {
                    quote_spanned!(*rest=> .rest())
                } else {
                    quote_spanned!(*span=> .entry())
                };
                quote_spanned!(*span=> #companion() #(#arguments)* #end)
            }
        }
    }
}

/// The names of a path; of `<Service as Directory>::find`, those of the type and the function.
fn plain_path(path: &ExprPath) -> String {
    let names = |path: &syn::Path| path.segments.iter().map(|name| name.ident.unraw().to_string()).collect::<Vec<_>>();
    let all = match &path.qself {
        Some(syn::QSelf { ty, position, .. }) => {
            let mut all = if let syn::Type::Path(ty) = &**ty { names(&ty.path) } else { Vec::new() };
            all.extend(names(&path.path).split_off(*position));
            all
        }
        None => names(&path.path),
    };
    all.join("::")
}

/// Tokens with the spaces that people write.
fn as_written(tokens: &TokenStream) -> String {
    let mut text = tokens.to_string();
    for (from, to) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        (" . ", "."),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" ,", ","),
        ("& ", "&"),
        ("* ", "*"),
        (" [", "["),
        (" ?", "?"),
        ("::< ", "::<"),
        (" >::", ">::"),
        (" >(", ">("),
    ] {
        text = text.replace(from, to);
    }
    if let Some(qualified) = text.strip_prefix("< ") { format!("<{qualified}") } else { text }
}

fn is_text(argument: Option<&Expr>) -> bool {
    matches!(argument, Some(Expr::Lit(ExprLit { lit: Lit::Str(_), .. })))
}

/// What a glob asks for, outside of classes, that the encoding of keys always escapes.
fn outside_of_keys(glob: &str) -> Option<char> {
    let readable = |c: char| c.is_ascii_alphanumeric() || "-_.@/+=:%~'(),!*?\\".contains(c) || c >= '\u{a0}';
    glob.split('[').next()?.chars().find(|&c| !readable(c))
}

/// The path of a cached function's companion.
pub(crate) fn companion_path(mut path: ExprPath) -> Option<ExprPath> {
    // `<Service as Directory>::find`: the companion is in an inherent impl of `Service`.
    if let Some(qself) = &mut path.qself
        && qself.position > 0
    {
        let rest: syn::punctuated::Punctuated<_, _> = path.path.segments.iter().skip(qself.position).cloned().collect();
        qself.as_token = None;
        qself.position = 0;
        path.path = syn::Path { leading_colon: Some(syn::Token![::](path.path.span())), segments: rest };
    }
    let name = path.path.segments.last_mut()?;
    name.ident = companion_name(&name.ident);
    Some(path)
}

/// The name of a cached function's companion.
pub(crate) fn companion_name(function: &syn::Ident) -> syn::Ident {
    format_ident!("__cached_{}", function.unraw(), span = function.span())
}

/// A reference to what an expression gives.
pub(crate) fn borrowed(expr: &Expr) -> TokenStream {
    let span = expr.span();
    match expr {
        Expr::Path(_)
        | Expr::Field(_)
        | Expr::Index(_)
        | Expr::Lit(_)
        | Expr::Call(_)
        | Expr::MethodCall(_)
        | Expr::Paren(_) => {
            quote_spanned!(span=> &#expr)
        }
        _ => quote_spanned!(span=> &(#expr)),
    }
}

/// Whether an expression names a place, which is then borrowed rather than moved.
fn is_place(expr: &Expr) -> bool {
    match expr {
        Expr::Path(_) | Expr::Field(_) | Expr::Index(_) => true,
        Expr::Unary(unary) => matches!(unary.op, syn::UnOp::Deref(_)),
        Expr::Paren(paren) => is_place(&paren.expr),
        Expr::Group(group) => is_place(&group.expr),
        _ => false,
    }
}
