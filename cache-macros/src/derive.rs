//! `#[derive(KeyPart)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, Data, DeriveInput, Fields, Ident, Path, ext::IdentExt as _, spanned::Spanned as _};

use crate::{args, errors::Errors, item::is};

/// The implementation, or what is wrong.
pub(crate) fn expand(input: TokenStream) -> TokenStream {
    let input = match syn::parse2::<DeriveInput>(input) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::default();
    let private = args::private(krate(&input.attrs, &mut errors).as_ref());
    refuse_attributes_inside(&input.data, &mut errors);
    let body = match &input.data {
        Data::Struct(data) => whole(&data.fields, &private),
        Data::Enum(data) if data.variants.is_empty() => quote!(match *self {}),
        Data::Enum(data) => {
            let arms = data.variants.iter().map(|variant| arm(&variant.ident, &variant.fields));
            quote!(match self { #(#arms)* })
        }
        Data::Union(data) => {
            errors.on(
                data.union_token,
                "a union cannot be part of a key: nothing says which of its fields is valid; use an enum",
            );
            TokenStream::new()
        }
    };
    if !errors.is_empty() {
        return errors.into_compile_error();
    }
    implementation(&input, &private, &body)
}

fn implementation(input: &DeriveInput, private: &TokenStream, body: &TokenStream) -> TokenStream {
    let name = &input.ident;
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(syn::parse_quote!(#private::KeyPart));
    }
    let (parameters, arguments, conditions) = generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #parameters #private::KeyPart for #name #arguments #conditions {
            fn encode(&self, segment: &mut #private::Segment<'_>) {
                segment.of_type(::core::any::type_name::<Self>(), |segment| #body);
            }
        }
    }
}

/// A struct: a newtype encodes as what it wraps, anything else as a tuple.
fn whole(fields: &Fields, private: &TokenStream) -> TokenStream {
    let members: Vec<_> = fields.members().collect();
    if let (Fields::Unnamed(unnamed), [only]) = (fields, members.as_slice()) {
        let span = unnamed.span();
        return quote_spanned!(span=> #private::KeyPart::encode(&self.#only, segment));
    }
    let items = fields.iter().zip(&members).map(|(field, member)| {
        let span = field.ty.span();
        quote_spanned!(span=> items.item(&self.#member);)
    });
    quote!(segment.sequence(|items| { let _ = &items; #(#items)* }))
}

fn arm(variant: &Ident, fields: &Fields) -> TokenStream {
    let name = variant.unraw().to_string();
    if fields.is_empty() {
        return quote!(Self::#variant { .. } => segment.unit_variant(#name),);
    }
    let bound: Vec<_> = (0..fields.len()).map(|index| format_ident!("field_{index}")).collect();
    let members = fields.members();
    let items = fields.iter().zip(&bound).map(|(field, name)| {
        let span = field.ty.span();
        quote_spanned!(span=> items.item(#name);)
    });
    quote!(Self::#variant { #(#members: #bound),* } => segment.variant(#name, |items| { #(#items)* }),)
}

fn krate(attrs: &[Attribute], errors: &mut Errors) -> Option<Path> {
    let mut path = None;
    for attribute in attrs.iter().filter(|attribute| is(attribute, "key")) {
        let Some(tokens) = errors.keep(crate::item::arguments(attribute)) else {
            continue;
        };
        for mut setting in args::settings(tokens, errors) {
            if setting.name == "crate" {
                let value = setting.path(errors);
                args::set_once(&mut path, &setting.name, value, errors);
            } else {
                args::unknown(&setting.name, "key", &["crate"], errors);
            }
        }
    }
    path
}

/// Every field is part of the key: two values that differ in a field left out would share an entry.
fn refuse_attributes_inside(data: &Data, errors: &mut Errors) {
    let (variants, fields): (Vec<&Attribute>, Vec<&syn::Field>) = match data {
        Data::Struct(data) => (Vec::new(), data.fields.iter().collect()),
        Data::Enum(data) => (
            data.variants.iter().flat_map(|variant| &variant.attrs).collect(),
            data.variants.iter().flat_map(|variant| &variant.fields).collect(),
        ),
        Data::Union(_) => return,
    };
    let inside = variants.into_iter().chain(fields.iter().flat_map(|field| &field.attrs));
    for attribute in inside.filter(|attribute| is(attribute, "key")) {
        errors.on(
            attribute,
            "every field is part of the key; to take a part of a value, write `key(value.field)` in `#[cached(...)]`",
        );
    }
}
