//! Requests that somebody else's page makes in an operator's browser are not the operator's.
//!
//! A form carries a token: a proof, by a secret of this router, for a random cookie of the browser. Another site can neither read the
//! cookie nor the form, and `SameSite=Strict` keeps the cookie from what it sends. On top of that the browser says where a request
//! comes from, by `Sec-Fetch-Site` or else `Origin`: what says of itself that it comes from elsewhere is refused, token or not. What a
//! program sends as JSON needs no token: no other site can send that content type without asking first, which is never granted.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::secret::{self, Secret};

const COOKIE: &str = "staleproof-admin";

/// The token of this browser's forms, and the cookie that goes with it where it has none yet.
pub(crate) struct Ticket {
    pub(crate) token: String,
    pub(crate) cookie: Option<HeaderValue>,
}

pub(crate) fn issue(secret: &Secret, headers: &HeaderMap) -> Option<Ticket> {
    if let Some(known) = cookies(headers).next() {
        return Some(Ticket { token: secret.proof(known.as_bytes()), cookie: None });
    }
    let nonce = secret::nonce().ok()?;
    // Without a path it is for the folder that the browser sees, wherever the router is mounted.
    let cookie = HeaderValue::from_str(&format!("{COOKIE}={nonce}; HttpOnly; SameSite=Strict")).ok()?;
    Some(Ticket { token: secret.proof(nonce.as_bytes()), cookie: Some(cookie) })
}

pub(crate) fn is_genuine(secret: &Secret, headers: &HeaderMap, token: &str) -> bool {
    cookies(headers).any(|nonce| secret.proves(nonce.as_bytes(), token))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    all.flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
        .filter(|nonce| nonce.len() == 32 && nonce.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether the request may have come from a page of this very origin, or from no browser at all.
pub(crate) fn is_from_here(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    match (authority, headers.get(header::HOST).and_then(|host| host.to_str().ok())) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// Whether a page of another origin makes the browser fetch this, as an image, a frame or by a script. It could not read the answer, but make
/// this service work for it. Following a link is something else.
pub(crate) fn is_embedded_elsewhere(headers: &HeaderMap) -> bool {
    let says = |name: &str, value: &str| headers.get(name).is_some_and(|said| said == value);
    let from_elsewhere = says("sec-fetch-site", "cross-site") || says("sec-fetch-site", "same-site");
    from_elsewhere && !(says("sec-fetch-mode", "navigate") && says("sec-fetch-dest", "document"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn a_token_goes_with_the_cookie_that_it_was_issued_with() {
        let secret = Secret::random().unwrap();
        let ticket = issue(&secret, &HeaderMap::new()).unwrap();
        let cookie = ticket.cookie.unwrap();
        let text = cookie.to_str().unwrap();
        assert!(text.ends_with("; HttpOnly; SameSite=Strict"), "{text}");
        let sent = headers(&[("cookie", &format!("a=b; {}", text.split(';').next().unwrap()))]);
        assert!(is_genuine(&secret, &sent, &ticket.token));
        assert!(issue(&secret, &sent).unwrap().cookie.is_none(), "it has one");
        assert_eq!(issue(&secret, &sent).unwrap().token, ticket.token);

        let other = issue(&secret, &HeaderMap::new()).unwrap();
        assert!(!is_genuine(&secret, &sent, &other.token), "of another browser");
        assert!(!is_genuine(&secret, &HeaderMap::new(), &ticket.token), "without the cookie");
        assert!(!is_genuine(&Secret::random().unwrap(), &sent, &ticket.token), "of another router");
        assert!(!is_genuine(&secret, &headers(&[("cookie", "staleproof-admin=")]), &secret.proof(b"")));
    }

    #[test]
    fn what_comes_from_elsewhere_is_not_from_here() {
        for (pairs, is_here) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://behind.proxy"), ("host", "inner:8080")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://a:1"), ("host", "a:1")], false),
            (&[("origin", "http://a:1"), ("host", "a:1")], true),
            (&[("origin", "http://b:1"), ("host", "a:1")], false),
            (&[("origin", "http://a:2"), ("host", "a:1")], false),
            (&[("origin", "null"), ("host", "a:1")], false),
            (&[("origin", "http://a:1")], false),
        ] {
            assert_eq!(is_from_here(&headers(pairs)), is_here, "{pairs:?}");
        }
    }

    #[test]
    fn a_link_may_lead_here_and_nothing_else_from_elsewhere() {
        let from = |site: &str, mode: &str, dest: &str| {
            is_embedded_elsewhere(&headers(&[
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
            ]))
        };
        assert!(!from("cross-site", "navigate", "document"));
        assert!(!from("same-origin", "cors", "empty"));
        assert!(!from("none", "navigate", "document"));
        assert!(from("cross-site", "navigate", "iframe"));
        assert!(from("cross-site", "no-cors", "image"));
        assert!(from("same-site", "cors", "empty"));
        assert!(!is_embedded_elsewhere(&HeaderMap::new()), "no browser, or an old one");
    }
}
