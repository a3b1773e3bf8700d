//! Invalidating: by the form, by JSON, and not by forgery.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};

use crate::{
    client::{Answer, get, send},
    support::{MOUNT, READER, Service, WRITER},
};

/// Names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// What a browser has after it has opened the form.
struct Form {
    cookie: String,
    token: String,
}

async fn open_form(router: &Router, who: &str) -> Form {
    let page = get(router, "/invalidate?kind=node&target=page:7", who).await;
    let cookie = page.headers[header::SET_COOKIE].to_str().expect("text");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let (_, token) = page.body.split_once("name=\"csrf\" value=\"").expect("the form has a token");
    Form { cookie, token: token.split('"').next().expect("in quotes").to_owned() }
}

async fn post(router: &Router, cookies: &str, body: &str, headers: Headers<'_>) -> Answer {
    let mut request = Request::post(format!("{MOUNT}/invalidate"))
        .header(header::COOKIE, cookies)
        .header(header::HOST, "service")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router, request.body(Body::from(body.to_owned())).expect("a request")).await
}

#[tokio::test]
async fn a_form_of_this_page_invalidates_once_it_is_confirmed() {
    let service = Service::in_memory();
    let router = service.router();
    for (owner, page) in [(7, 1), (7, 2), (8, 1)] {
        service.page(owner, page).await;
    }
    let preview = get(&router, "/invalidate?kind=node&target=page:7", WRITER).await.body;
    assert!(preview.contains("It would hit 2 entries."), "{preview}");
    service.page(7, 1).await;
    assert_eq!(service.asked(), 3, "a preview changes nothing");

    let form = open_form(&router, WRITER).await;
    let cookies = format!("{WRITER}; {}", form.cookie);
    let body = format!("kind=node&target=page:7&csrf={}", form.token);
    let answer = post(&router, &cookies, &body, &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(answer.body.contains("id=\"done\""), "{}", answer.body);
    service.page(7, 1).await;
    service.page(8, 1).await;
    assert_eq!(service.asked(), 4, "only what is below the node is gone");

    let body = format!("kind=function&target=page&csrf={}", form.token);
    let answer = post(&router, &cookies, &body, &[("origin", "http://service")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "without the tick");
    assert!(answer.body.contains("Nothing was invalidated"), "{}", answer.body);
    service.page(8, 1).await;
    assert_eq!(service.asked(), 4);
    let answer = post(&router, &cookies, &format!("{body}&sure=yes"), &[("origin", "http://service")]).await;
    assert_eq!(answer.status, StatusCode::OK);
    service.page(8, 1).await;
    assert_eq!(service.asked(), 5);
}

#[tokio::test]
async fn every_kind_of_target_is_dropped() {
    let service = Service::in_memory();
    let router = service.router();
    for target in [
        r#"{"kind":"entry","target":"page:7:1"}"#,
        r#"{"kind":"node","target":"page:7"}"#,
        r#"{"kind":"tag","target":"owner:7"}"#,
        r#"{"kind":"glob","target":"page:7:*"}"#,
        r#"{"kind":"function","target":"page"}"#,
        r#"{"kind":"all"}"#,
    ] {
        service.page(7, 1).await;
        let before = service.asked();
        let answer = json(&router, &format!(r#"{{"targets":[{target}]}}"#), WRITER, &[]).await;
        assert_eq!((answer.status, &answer.json()["outcome"]), (StatusCode::OK, &"applied".into()), "{answer:?}");
        service.page(7, 1).await;
        assert_eq!(service.asked(), before + 1, "{target}");
    }
}

#[tokio::test]
async fn a_forged_form_is_refused() {
    let service = Service::in_memory();
    let router = service.router();
    service.page(7, 1).await;
    let (form, other) = (open_form(&router, WRITER).await, open_form(&router, WRITER).await);
    let own = format!("{WRITER}; {}", form.cookie);
    let body = |token: &str| format!("kind=node&target=page:7&csrf={token}");
    let right = body(&form.token);
    let cases: [(&str, &str, String, Headers<'_>); 9] = [
        ("no token", &own, "kind=node&target=page:7".to_owned(), &[]),
        ("an empty token", &own, body(""), &[]),
        ("another browser's token", &own, body(&other.token), &[]),
        ("no cookie", WRITER, right.clone(), &[]),
        ("another site", &own, right.clone(), &[("sec-fetch-site", "cross-site")]),
        ("another port of the host", &own, right.clone(), &[("sec-fetch-site", "same-site")]),
        ("another origin", &own, right.clone(), &[("origin", "http://evil")]),
        ("an opaque origin", &own, right.clone(), &[("origin", "null")]),
        ("a reader", &format!("{READER}; {}", form.cookie), right.clone(), &[("origin", "http://service")]),
    ];
    for (case, cookies, body, headers) in cases {
        assert_eq!(post(&router, cookies, &body, headers).await.status, StatusCode::FORBIDDEN, "{case}");
        service.page(7, 1).await;
        assert_eq!(service.asked(), 1, "{case}: nothing was invalidated");
    }
    let restarted = service.router();
    assert_eq!(post(&restarted, &own, &right, &[]).await.status, StatusCode::FORBIDDEN, "another router's token");
    assert_eq!(post(&router, &own, &right, &[]).await.status, StatusCode::OK, "the right one is right");
}

async fn json(router: &Router, body: &str, who: &str, headers: Headers<'_>) -> Answer {
    let mut request = Request::post(format!("{MOUNT}/api/invalidate")).header(header::COOKIE, who);
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router, request.body(Body::from(body.to_owned())).expect("a request")).await
}

#[tokio::test]
async fn json_of_another_site_is_refused() {
    let service = Service::in_memory();
    let router = service.router();
    service.page(7, 1).await;
    let body = r#"{"targets":[{"kind":"all"}]}"#;
    let cases: [(&str, StatusCode, Headers<'_>); 6] = [
        (READER, StatusCode::FORBIDDEN, &[]),
        (WRITER, StatusCode::UNSUPPORTED_MEDIA_TYPE, &[("content-type", "text/plain")]),
        (WRITER, StatusCode::UNSUPPORTED_MEDIA_TYPE, &[("content-type", "application/x-www-form-urlencoded")]),
        (WRITER, StatusCode::UNSUPPORTED_MEDIA_TYPE, &[("content-type", "text/plain; application/json")]),
        (WRITER, StatusCode::FORBIDDEN, &[("sec-fetch-site", "cross-site")]),
        (WRITER, StatusCode::FORBIDDEN, &[("origin", "https://evil.example"), ("host", "service")]),
    ];
    for (who, status, headers) in cases {
        assert_eq!(json(&router, body, who, headers).await.status, status, "{who} {headers:?}");
    }
    for wrong in ["", "{}", r#"{"targets":[{"kind":"entry"}]}"#, r#"{"targets":[{"kind":"entry","target":"a b"}]}"#] {
        let answer = json(&router, wrong, WRITER, &[]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
        assert!(answer.json()["error"].is_string(), "{wrong}");
    }
    let preflight = Request::options(format!("{MOUNT}/api/invalidate")).header(header::COOKIE, WRITER);
    let answer = send(&router, preflight.body(Body::empty()).expect("a request")).await;
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{answer:?}");
    let huge = format!(r#"{{"targets":[{{"kind":"entry","target":"{}"}}]}}"#, "x".repeat(100_000));
    assert_eq!(json(&router, &huge, WRITER, &[]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    service.page(7, 1).await;
    assert_eq!(service.asked(), 1, "nothing was invalidated");
}
