//! The expansion as text: short enough to read, and the user's item always there.

use proc_macro2::TokenStream;
use quote::quote;

use crate::expand;

fn pretty(tokens: TokenStream) -> String {
    prettyplease::unparse(&syn::parse2(tokens).expect("the expansion is a file of items"))
}

/// The methods of the README's example, each with what it may expand to.
fn examples() -> [(&'static str, TokenStream); 6] {
    [
        (
            "cached",
            expand::cached(
                quote!(ttl = "15m", key_prefix = "contract_employees"),
                &quote! {
                    pub async fn employees(&self, owner_id: i64) -> Result<Vec<Employee>, DbError> { self.db.employees(owner_id).await }
                },
            ),
        ),
        (
            "cached with tags",
            expand::cached(
                quote!(ttl = "10m", key_prefix = "contract_page", tags("owner:{owner_id}")),
                &quote! {
                    pub async fn page(&self, owner_id: i64, page: u32) -> Result<Arc<Page>, DbError> { self.db.page(owner_id, page).await }
                },
            ),
        ),
        (
            "batch",
            expand::cached(
                quote!(batch, ttl = "10m", key_prefix = "contract"),
                &quote! {
                    pub async fn contracts(&self, ids: &[i64]) -> Result<Contracts, DbError> { self.db.contracts(ids).await }
                },
            ),
        ),
        (
            "batch that shares entries",
            expand::cached(
                quote!(batch = Self::contract),
                &quote! {
                    pub async fn contracts(&self, ids: &[i64]) -> Result<Contracts, DbError> { self.db.contracts(ids).await }
                },
            ),
        ),
        (
            "invalidates",
            expand::invalidates(
                quote!(
                    Self::employees(new.owner_id),
                    Self::page(new.owner_id, ..),
                    ObjectService::accessible(new.employee_id)
                ),
                &quote! {
                    pub async fn create(&self, new: NewContract) -> Result<Contract, DbError> { self.db.create(new).await }
                },
            ),
        ),
        (
            "invalidates by the value",
            expand::invalidates(
                quote!(|contract| Self::employees(contract.owner_id), Self::page(contract.owner_id, ..)),
                &quote! {
                    pub async fn terminate(&self, id: i64) -> Result<Contract, DbError> { self.db.terminate(id).await }
                },
            ),
        ),
    ]
}

fn in_impl(tokens: &TokenStream) -> String {
    let file = pretty(quote!(impl ContractService { #tokens }));
    let lines: Vec<_> = file.lines().collect();
    lines[1..lines.len() - 1].join("\n")
}

#[test]
fn a_method_expands_to_few_lines() {
    for (name, tokens) in examples() {
        let text = in_impl(&tokens);
        // A batch has two closures, for the key of an id and for some of the ids.
        let limit = if name.starts_with("batch") { 30 } else { 25 };
        assert!(text.lines().count() <= limit, "{name}: {} lines\n{text}", text.lines().count());
    }
}

#[test]
fn the_expansion_is_as_reviewed() {
    let all: Vec<_> = examples().iter().map(|(name, tokens)| format!("// {name}\n{}\n", in_impl(tokens))).collect();
    let now = all.join("\n");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/expansion.txt");
    if std::env::var_os("UPDATE_EXPANSION").is_some() {
        std::fs::write(path, &now).expect("the snapshot can be written");
    }
    let reviewed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(now == reviewed, "the expansion changed; review it and run with UPDATE_EXPANSION=1:\n{now}");
}

#[test]
fn a_body_that_does_not_parse_yet_is_kept() {
    let body = quote!(async fn find(&self, id: i64) -> i64 { self.db. });
    let tokens = expand::cached(quote!(ttl = "1m"), &body).to_string();
    assert!(tokens.contains("self . db ."), "{tokens}");
    assert!(!tokens.contains("compile_error"), "{tokens}");
    let tokens = expand::invalidates(quote!("x*"), &body).to_string();
    assert!(tokens.contains("self . db .") && !tokens.contains("compile_error"), "{tokens}");
}

#[test]
fn a_mistake_keeps_the_item() {
    let item = quote!(
        #[doc = "Finds."]
        #[must_use]
        pub(crate) async fn find<T: Clone>(&self, (a, b): (i64, i64)) -> i64
        where
            T: Send,
        {
            a + b
        }
    );
    for args in [quote!(), quote!(ttl), quote!(ttl = ), quote!(ttl = "1m", = 3), quote!(,,), quote!(tags("{"))] {
        let tokens = expand::cached(args.clone(), &item).to_string();
        assert!(tokens.starts_with(&item.to_string()), "{args}: {tokens}");
        assert!(tokens.contains("compile_error"), "{args}: {tokens}");
    }
    for args in [quote!(), quote!(7), quote!(Self::x(.., 1)), quote!(|), quote!(on = )] {
        let tokens = expand::invalidates(args.clone(), &item).to_string();
        assert!(tokens.starts_with(&item.to_string()), "{args}: {tokens}");
    }
}

#[test]
fn half_a_signature_is_kept() {
    let item = quote!(async fn find(&self, id: ) -> i64 { id });
    let tokens = expand::cached(quote!(ttl = "1m"), &item).to_string();
    assert!(tokens.starts_with(&item.to_string()) && tokens.contains("compile_error"), "{tokens}");
}

#[test]
fn signature_attributes_and_documentation_are_kept() {
    let tokens = expand::cached(
        quote!(ttl = "1m"),
        &quote! {
            /// Finds.
            #[allow(unused)]
            #[tracing::instrument(skip(self))]
            pub(crate) async fn find<'a, T>(&self, name: &'a str, mut page: u32) -> Result<T, E> where T: Entity + 'a { todo!() }
        },
    );
    let text = in_impl(&tokens);
    let expected = "    /// Finds.\n    #[allow(unused)]\n    #[tracing::instrument(skip(self))]\n    \
                    pub(crate) async fn find<'a, T>(&self, name: &'a str, mut page: u32) -> Result<T, E>\n    \
                    where\n        T: Entity + 'a,\n    {";
    assert!(text.starts_with(expected), "{text}");
}
