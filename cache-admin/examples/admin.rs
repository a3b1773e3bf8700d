//! A service with some load, and the admin page of its cache.
//!
//! ```sh
//! cargo run -p cache-admin --example admin               # in memory
//! REDIS_URL=redis://127.0.0.1/0 cargo run -p cache-admin --example admin
//! ```
//!
//! Then open the address that it prints. The browser asks for a name, which may be any, and a password, which it prints as well.

use std::{collections::BTreeMap, time::Duration};

use axum::{Router, response::Redirect, routing::get};
use cache_admin::{Admin, token};
use serde::{Deserialize, Serialize};
use staleproof::{Cache, cached, codec::Json, invalidates};
use tokio::net::TcpListener;

const TOKEN: &str = "look-around";

#[derive(Clone, Serialize, Deserialize)]
struct Product {
    id: u32,
    name: String,
    cents: u32,
}

/// A shop whose database is made up.
#[derive(Clone)]
struct Shop {
    cache: Cache,
}

impl Shop {
    #[cached(ttl = "15m", key_prefix = "product")]
    async fn product(&self, id: u32) -> Product {
        asked(12).await;
        Product { id, name: format!("Product <b>{id}</b> & co."), cents: 100 + id }
    }

    #[cached(ttl = "10m", key_prefix = "catalogue_page", tags("topic:{topic}"))]
    async fn page(&self, topic: String, page: u32) -> Vec<Product> {
        asked(35).await;
        let product = |at| Product { id: at, name: format!("{topic} {at}"), cents: 199 };
        (10 * page..10 * page + 10).map(product).collect()
    }

    #[cached(ttl = "5m", key_prefix = "search")]
    async fn search(&self, words: String) -> Vec<u32> {
        asked(80).await;
        (1..9).filter(|id| words.contains(&id.to_string())).collect()
    }

    #[cached(ttl = "1h", key_prefix = "basket", tags("customer:{customer}"))]
    async fn basket(&self, customer: u32) -> BTreeMap<String, u32> {
        asked(8).await;
        (0..customer % 5).map(|number| (format!("product {number}"), number)).collect()
    }

    #[cached(ttl = "30m", key_prefix = "orders", tags("customer:{customer}"))]
    async fn orders(&self, customer: u32, year: u16) -> Result<Vec<u32>, String> {
        asked(50).await;
        if customer.is_multiple_of(29) { Err("no such customer".to_owned()) } else { Ok(vec![customer, year.into()]) }
    }

    #[cached(ttl = "1d", key_prefix = "exchange_rates")]
    async fn rates(&self, currency: &str) -> f64 {
        asked(120).await;
        if currency == "EUR" { 1.0 } else { 0.93 }
    }

    #[invalidates(Self::product(id), Self::page(..), "search:*")]
    async fn rename_product(&self, id: u32) {
        asked(5).await;
    }

    #[invalidates(tag("topic:{topic}"))]
    async fn restock(&self, topic: String) {
        asked(5).await;
    }

    #[invalidates(Self::basket(customer), Self::orders(customer, ..))]
    async fn order(&self, customer: u32) {
        asked(9).await;
    }

    #[invalidates(tag("customer:{customer}"))]
    async fn forget_customer(&self, customer: u32) {
        asked(9).await;
    }
}

async fn asked(millis: u64) {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(millis / 2..2 * millis))).await;
}

const TOPICS: [&str; 4] = ["books", "garden", "kitchen", "toys & games"];

async fn visit(shop: &Shop) {
    let (customer, id) = (fastrand::u32(1..40), fastrand::u32(1..60));
    let topic = || TOPICS[fastrand::usize(..TOPICS.len())].to_owned();
    match fastrand::u32(..1_000) {
        0..4 => shop.rename_product(id).await,
        4..8 => shop.restock(topic()).await,
        8..20 => shop.order(customer).await,
        20..22 => shop.forget_customer(customer).await,
        22..400 => drop(shop.product(id).await),
        400..700 => drop(shop.page(topic(), fastrand::u32(0..6)).await),
        700..780 => drop(shop.search(format!("word {}", fastrand::u32(..30))).await),
        780..880 => drop(shop.basket(customer).await),
        880..960 => drop(shop.orders(customer, 2020 + fastrand::u16(..5)).await),
        _ => drop(shop.rates(["EUR", "USD", "CHF"][fastrand::usize(..3)]).await),
    }
    tokio::time::sleep(Duration::from_millis(fastrand::u64(5..40))).await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::builder().from_env().namespace("shop").codec(Json).connect().await?;
    let shop = Shop { cache: cache.clone() };
    for _ in 0..8 {
        let shop = shop.clone();
        tokio::spawn(async move {
            loop {
                visit(&shop).await;
            }
        });
    }
    let admin = Admin::new(cache).title("shop").authorize_reads(token(TOKEN)).authorize_writes(token(TOKEN)).build()?;
    let app = Router::new().nest("/admin/cache", admin).route("/", get(|| async { Redirect::to("/admin/cache") }));
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}/admin/cache – any name, password {TOKEN}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
