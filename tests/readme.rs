//! The example at the top of the README compiles as it stands there, and does what the README says.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// What the README's example takes for granted.
#[allow(clippy::unused_async, reason = "a database would be awaited")]
mod world {
    use super::{Arc, AtomicI64, Ordering};

    #[derive(Clone, Default)]
    pub(crate) struct Db(pub(crate) Arc<AtomicI64>);
    #[derive(Debug)]
    pub(crate) struct DbError;
    pub(crate) type Employee = i64;
    pub(crate) type Page = Vec<i64>;
    pub(crate) struct NewContract {
        pub(crate) owner_id: i64,
    }
    pub(crate) struct Contract {
        pub(crate) owner_id: i64,
    }

    impl Db {
        pub(crate) async fn employees_of(&self, _owner_id: i64) -> Result<Vec<Employee>, DbError> {
            Ok(vec![self.0.load(Ordering::SeqCst)])
        }

        pub(crate) async fn page(&self, owner_id: i64, page: u32) -> Result<Arc<Page>, DbError> {
            Ok(Arc::new(vec![owner_id, page.into(), self.0.load(Ordering::SeqCst)]))
        }

        pub(crate) async fn insert(&self, new: NewContract) -> Result<Contract, DbError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(Contract { owner_id: new.owner_id })
        }
    }
}

#[allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "as the README writes it")]
mod example {
    use std::sync::Arc;

    use super::world::{Contract, Db, DbError, Employee, NewContract, Page};

    // README begins
    use staleproof::{Cache, cached, invalidates};

    #[derive(Clone)]
    pub struct ContractService {
        pub(crate) db: Db,
        pub(crate) cache: Cache,
    }

    impl ContractService {
        #[cached(ttl = "15m", key_prefix = "contract_employees")]
        pub async fn employees(&self, owner_id: i64) -> Result<Vec<Employee>, DbError> {
            self.db.employees_of(owner_id).await
        }

        #[cached(ttl = "10m", key_prefix = "contract_page", tags("owner:{owner_id}"))]
        pub async fn page(&self, owner_id: i64, page: u32) -> Result<Arc<Page>, DbError> {
            self.db.page(owner_id, page).await
        }

        #[invalidates(Self::employees(new.owner_id), Self::page(new.owner_id, ..))]
        pub async fn create(&self, new: NewContract) -> Result<Contract, DbError> {
            self.db.insert(new).await
        }
    }
    // README ends
}

/// Rust without what formatting and visibility add.
fn bare(code: &str) -> String {
    code.replace("pub(crate) ", "").split_whitespace().collect::<String>().replace(",}", "}")
}

#[test]
fn the_readme_shows_this_very_code() {
    let readme = include_str!("../README.md");
    let shown = readme.split("```rust").nth(1).and_then(|rest| rest.split("```").next()).expect("a Rust block");
    let here = include_str!("readme.rs");
    let begins = here.find("// README begins").expect("a mark") + "// README begins".len();
    let ends = here.find("// README ends").expect("a mark");
    assert_eq!(bare(shown), bare(&here[begins..ends]));
}

#[tokio::test]
async fn and_it_does_what_it_says() {
    use staleproof::Cache;

    let service = example::ContractService { db: world::Db::default(), cache: Cache::memory() };
    assert_eq!(service.employees(7).await.expect("reads"), [0]);
    assert_eq!(*service.page(7, 1).await.expect("reads"), [7, 1, 0]);
    service.page(8, 1).await.expect("reads");
    assert_eq!(service.create(world::NewContract { owner_id: 7 }).await.expect("writes").owner_id, 7);
    assert_eq!(service.employees(7).await.expect("reads"), [1]);
    assert_eq!(*service.page(7, 1).await.expect("reads"), [7, 1, 1]);
    assert_eq!(*service.page(8, 1).await.expect("reads"), [8, 1, 0], "another owner's page stays");
}
