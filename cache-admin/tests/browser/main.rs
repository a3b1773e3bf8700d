//! The admin page in a real browser.

#[path = "../support/mod.rs"]
mod support;

mod pages;
mod safety;

use std::net::SocketAddr;

use axum::{Router, http::header::SET_COOKIE, response::AppendHeaders, routing::get};
use support::{MARKUP, MOUNT, Service};
use test_support::browser::{Browser, Device};
use tokio::{net::TcpListener, task::JoinHandle};

/// Something that listens, until it is dropped.
struct Listening {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn listen(router: Router) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
    Listening { address, serving }
}

impl Listening {
    /// Where a page of the admin is.
    fn admin(&self, page: &str) -> String {
        format!("http://{}{MOUNT}/{page}", self.address)
    }
}

/// The service with its admin page, and a login that believes everybody.
async fn serve(service: &Service) -> Listening {
    let login = get(async |axum::extract::Path(who): axum::extract::Path<String>| {
        (AppendHeaders([(SET_COOKIE, format!("who={who}; Path=/; HttpOnly"))]), "welcome")
    });
    listen(service.router().route("/login/{who}", login)).await
}

/// A browser whose user has logged in.
async fn browser_of(who: &str, listening: &Listening, device: Device) -> Browser {
    let browser = Browser::open(device).await;
    browser.goto(&format!("http://{}/login/{who}", listening.address)).await;
    browser
}
