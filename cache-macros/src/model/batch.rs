//! The rules of `batch`.

use syn::{Expr, ExprPath, FnArg, Ident, Pat, ReceiverKind, Signature, Token, Type, spanned::Spanned as _};

use super::{
    options::{Entries, Options},
    target::companion_path,
};
use crate::{
    errors::Errors,
    item::Function,
    nearest::list,
    signature::{Argument, last_name, mentions_word},
};

/// A batch, understood.
pub(crate) struct Batch {
    /// The argument that the ids come in.
    pub(crate) ids: Ident,
    /// The arguments that the body changes: `mut page: u32`.
    pub(crate) changed: Vec<Ident>,
    /// The companion of the function whose entries are shared.
    pub(crate) shared: Option<ExprPath>,
}

impl Batch {
    /// Understands `batch`, where it is given. From then on the argument with the ids has the type of one.
    pub(super) fn new(
        options: &Options,
        arguments: &mut [Argument],
        function: &mut Function,
        errors: &mut Errors,
    ) -> Option<Self> {
        let entries = options.batch.as_ref()?;
        check_receiver(&function.sig, errors);
        if let Entries::Of(path) = entries {
            if let (Some(name), true) = (path.path.get_ident(), function.sig.receiver().is_some()) {
                let message = format!("`batch` of a method names a method by its type; write `batch = Self::{name}`");
                errors.on(path, message);
            }
            for name in &options.of_entries {
                let path = quote::quote!(#path).to_string().replace(' ', "");
                let message = format!("`{name}` comes from `{path}`, whose entries this batch shares; remove it here");
                errors.push(syn::Error::new(name.span(), message));
            }
        }
        let at = slice(options, arguments, &function.sig, errors)?;
        let ids = arguments[at].name.clone();
        if let Some(key) = &options.key
            && !key.iter().any(|expr| mentions_word(&quote::quote!(#expr), &ids.to_string()))
        {
            let message =
                format!("`key(...)` leaves out the ids, and each of them is an entry of its own; add `{ids}`");
            errors.on(&key[0], message);
        }
        let id = element(&arguments[at].ty).map(|(ty, _)| ty.clone())?;
        arguments[at].ty = id;
        let changed = take_mutability(&mut function.sig);
        let shared = match entries {
            Entries::Own => None,
            Entries::Of(path) => companion_path(path.clone()),
        };
        Some(Self { ids, changed, shared })
    }
}

/// The body may run more than once, side by side with nothing else of the call.
fn check_receiver(sig: &Signature, errors: &mut Errors) {
    let Some(receiver) = sig.receiver() else { return };
    let is_shared = match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => mutability.is_none(),
        ReceiverKind::Typed(_, ty) => matches!(&**ty, Type::Reference(reference) if reference.mutability.is_none()),
        _ => false,
    };
    if !is_shared {
        errors.on(receiver, "the body of a batch may run more than once; take `&self`");
    }
}

/// Which argument the ids come in.
fn slice(options: &Options, arguments: &[Argument], sig: &Signature, errors: &mut Errors) -> Option<usize> {
    let is_skipped = |argument: &Argument| {
        options.skip.iter().flatten().any(|expr| matches!(expr, Expr::Path(path) if path.path.is_ident(&argument.name)))
    };
    let slices: Vec<usize> = (0..arguments.len()).filter(|&at| element(&arguments[at].ty).is_some()).collect();
    let kept: Vec<usize> = slices.iter().copied().filter(|&at| !is_skipped(&arguments[at])).collect();
    match (kept.as_slice(), slices.first()) {
        ([at], _) => {
            let argument = &arguments[*at];
            if let Some((_, Some(mutability))) = element(&argument.ty) {
                errors.on(mutability, "the ids of a batch are only read; write `&[...]`");
            }
            return Some(*at);
        }
        ([], Some(skipped)) => {
            let name = &arguments[*skipped].name;
            errors.on(
                name,
                format!("`skip({name})` leaves out the ids, and each of them is an entry of its own; remove it"),
            );
        }
        ([], None) => errors.push(without_slice(arguments, sig)),
        (several, _) => {
            let names: Vec<String> = several.iter().map(|&at| arguments[at].name.to_string()).collect();
            let names = list(names.iter().map(String::as_str));
            let message = format!(
                "a batch has the ids in one slice, and {names} are slices; take what is no list of ids as a `Vec`, or leave \
                 it out of the key: `skip(...)`"
            );
            errors.on(&arguments[several[1]].ty, message);
        }
    }
    None
}

fn without_slice(arguments: &[Argument], sig: &Signature) -> syn::Error {
    let listed = arguments.iter().find(|argument| {
        let mut ty = &argument.ty;
        while let Type::Reference(reference) = ty {
            ty = &reference.elem;
        }
        matches!(ty, Type::Array(_)) || last_name(ty).is_some_and(|name| name == "Vec" || name == "HashSet")
    });
    match listed {
        Some(argument) => {
            let name = &argument.name;
            let message = format!(
                "a batch takes its ids as a slice, from which the cache picks the missing ones; write `{name}: &[...]`"
            );
            syn::Error::new(argument.ty.span(), message)
        }
        None => syn::Error::new(
            sig.ident.span(),
            "`batch` is for a method that takes its ids as a slice; add an argument such as `ids: &[u64]`",
        ),
    }
}

/// The type of a slice's elements, and its `mut`.
fn element(ty: &Type) -> Option<(&Type, Option<&Token![mut]>)> {
    match ty {
        Type::Paren(paren) => element(&paren.elem),
        Type::Group(group) => element(&group.elem),
        Type::Reference(reference) => match &*reference.elem {
            Type::Slice(slice) => Some((&slice.elem, reference.mutability.as_ref())),
            _ => None,
        },
        _ => None,
    }
}

/// Takes the `mut` of arguments away, which belongs to the body's own.
fn take_mutability(sig: &mut Signature) -> Vec<Ident> {
    let mut changed = Vec::new();
    for input in &mut sig.inputs {
        if let FnArg::Typed(typed) = input
            && let Pat::Ident(plain) = &mut *typed.pat
            && plain.mutability.take().is_some()
        {
            changed.push(plain.ident.clone());
        }
    }
    changed
}
