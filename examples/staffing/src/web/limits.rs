//! How often anybody may ask: by role, and before that is known by address.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

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
    Some(subscriber(address.ip()))
}

/// Whose address it is: a subscriber has 2^64 of IPv6 at least.
fn subscriber(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

fn is_attempt(request: &Request<Body>) -> bool {
    request.method() == Method::POST && matches!(request.uri().path(), "/api/login" | "/login")
}

fn is_payment(request: &Request<Body>) -> bool {
    request.method() == Method::POST && matches!(request.uri().path(), "/api/payments" | "/payments")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_many_addresses_has_one_limit() {
        let of = |address: &str| subscriber(address.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
