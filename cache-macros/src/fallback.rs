//! What is emitted when an attribute cannot be understood: the user's item as it is, and the complaints.

use proc_macro2::TokenStream;
use quote::quote;

use crate::{errors::Errors, item::Function, model::target::companion_name};

/// The item and the complaints.
pub(crate) fn plain(item: &TokenStream, errors: Errors) -> TokenStream {
    let errors = errors.into_compile_error();
    quote!(#item #errors)
}

/// As [`plain`], with a companion that takes any arguments, so that targets which name the function do not complain, too.
pub(crate) fn cached(function: &Function, private: &TokenStream, errors: Errors) -> TokenStream {
    let errors = errors.into_compile_error();
    let companion = unchecked(function, private);
    quote!(#function #errors #companion)
}

/// A companion that takes any arguments.
pub(crate) fn unchecked(function: &Function, private: &TokenStream) -> TokenStream {
    let vis = &function.vis;
    let name = companion_name(&function.sig.ident);
    quote! {
        #[doc(hidden)]
        #[allow(dead_code, missing_docs)]
        #vis fn #name() -> #private::Function<#private::Unchecked> {
            ::core::unreachable!()
        }
    }
}
