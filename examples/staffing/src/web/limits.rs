//! How often anybody may ask: by role, and before that is known by address.

use std::{net::SocketAddr, time::Duration};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request},
};
use staffing::Role;
use staleproof::kit::{Quota, layer::LimitLayer};

use super::{app::App, session::Who};

/// The limits of all requests but for assets, metrics and health.
pub(crate) fn layer(app: &App) -> LimitLayer<Body> {
    let limiter = |name, quota| app.kit.limiter(name, quota);
    let owners = limiter("owner", Quota::per_minute(200));
    let employees = limiter("employee", Quota::per_minute(100));
    let managers = limiter("manager", Quota::per_minute(600));
    let payments = limiter("payment", Quota::new(3, Duration::from_mins(5)));
    let strangers = limiter("address", Quota::per_minute(app.serve.strangers));
    let is_off = app.serve.no_limits;
    LimitLayer::new(move |request: &Request<Body>| {
        if is_off {
            return None;
        }
        let Some(who) = request.extensions().get::<Who>() else {
            return Some((strangers.clone(), address(request)?));
        };
        let by_role = match who.role {
            _ if is_payment(request) => &payments,
            Role::Owner => &owners,
            Role::Employee => &employees,
            Role::Manager => &managers,
        };
        Some((by_role.clone(), who.login()))
    })
}

/// The limit of attempts to log in, beside the others: codes are guessed at by whoever has a login of their own as well, and at one user's after another's.
pub(crate) fn attempts(app: &App) -> LimitLayer<Body> {
    let attempts = app.kit.limiter("attempt", Quota::new(app.serve.attempts, Duration::from_mins(10)));
    let is_off = app.serve.no_limits;
    LimitLayer::new(move |request: &Request<Body>| {
        if is_off || !is_attempt(request) {
            return None;
        }
        Some((attempts.clone(), address(request)?))
    })
}

fn address(request: &Request<Body>) -> Option<String> {
    let ConnectInfo(address) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    Some(address.ip().to_string())
}

fn is_attempt(request: &Request<Body>) -> bool {
    request.method() == Method::POST && matches!(request.uri().path(), "/api/login" | "/login")
}

fn is_payment(request: &Request<Body>) -> bool {
    request.method() == Method::POST && matches!(request.uri().path(), "/api/payments" | "/payments")
}
